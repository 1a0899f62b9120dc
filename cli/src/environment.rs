//! Pure. `KAFKA_*` variables as Kafka's own container image reads them (`KafkaDockerWrapper`).
//!
//! It reads no environment: whoever starts a node passes the names of variables in.

/// What all of them begin with.
const PREFIX: &str = "KAFKA_";
/// Variables of the image and of Java that are no settings.
const NO_SETTINGS: &[&str] = &[
    "KAFKA_GC_LOG_OPTS",
    "KAFKA_HEAP_OPTS",
    "KAFKA_JMX_HOSTNAME",
    "KAFKA_JMX_OPTS",
    "KAFKA_JVM_PERFORMANCE_OPTS",
    "KAFKA_LOG4J_LOGGERS",
    "KAFKA_LOG4J_OPTS",
    "KAFKA_LOG4J_ROOT_LOGLEVEL",
    "KAFKA_OPTS",
    "KAFKA_TOOLS_LOG4J_LOGLEVEL",
    "KAFKA_VERSION",
];

/// The property that a variable sets, if it sets one: without the prefix, in lower case, with `_` for a dot, `__` for an
/// underscore and `___` for a dash.
pub fn property(variable: &str) -> Option<String> {
    if NO_SETTINGS.contains(&variable) {
        return None;
    }
    let name = variable.strip_prefix(PREFIX)?;
    Some(name.to_lowercase().replace('_', ".").replace("...", "-").replace("..", "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Variables, and what Kafka 4.1.0's own wrapper makes of each when its value is `v`: variable, tab, `List(key=v)`.
    const VECTORS: &str = include_str!("environment/kafka-4.1.0-vectors.tsv");

    #[test]
    fn variables_become_the_properties_that_kafkas_image_makes_of_them() {
        let mut seen = 0;
        for line in VECTORS.lines() {
            let (variable, theirs) = line.split_once('\t').expect("two columns");
            let ours = property(variable).map_or_else(String::new, |name| format!("{name}=v"));
            assert_eq!(format!("List({ours})"), theirs, "{variable}");
            seen += 1;
        }
        assert_eq!(seen, 21);
    }
}
