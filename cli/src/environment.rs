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

/// The cluster's id where `CLUSTER_ID` gives none (the image's `configureDefaults`).
pub const CLUSTER_ID: &str = "5L6g3nShT-eMCtK--X86sw";

/// What the image starts with where nobody says anything (its `server.properties`).
pub const IMAGE_DEFAULTS: &[(&str, &str)] = &[
    ("process.roles", "broker,controller"),
    ("node.id", "1"),
    ("listeners", "PLAINTEXT://:9092,CONTROLLER://:9093"),
    ("controller.listener.names", "CONTROLLER"),
    ("log.dirs", "/var/lib/gregor"),
];

/// Advertised listeners with every host replaced by all addresses: what a container listens on where it is not said (the
/// image's `configure`).
pub fn any_host(advertised: &str) -> String {
    let listener = |part: &str| match (part.split_once("://"), part.rsplit_once(':')) {
        (Some((name, _)), Some((_, port))) => format!("{name}://0.0.0.0:{port}"),
        _ => part.to_owned(),
    };
    advertised.split(',').map(str::trim).map(listener).collect::<Vec<_>>().join(",")
}

/// Java's packages, and what holds their work here.
const LOGGERS: &[(&str, &str)] = &[
    ("kafka.controller", "controller"),
    ("org.apache.kafka.controller", "controller"),
    ("kafka.log", "storage"),
    ("org.apache.kafka.storage", "storage"),
    ("kafka.network", "broker"),
    ("kafka.server", "broker"),
    ("kafka.cluster", "broker"),
    ("org.apache.kafka.clients", "client"),
];

/// The log filter that `KAFKA_LOG4J_ROOT_LOGLEVEL` and `KAFKA_LOG4J_LOGGERS` (`logger=LEVEL,..`) come to; `default` where
/// there is neither. What is no level and no logger of Kafka's is passed over.
pub fn log_filter(default: &str, root: Option<&str>, loggers: Option<&str>) -> String {
    let level = |text: &str| match text.trim().to_uppercase().as_str() {
        "OFF" => Some("off"),
        "FATAL" | "ERROR" => Some("error"),
        "WARN" => Some("warn"),
        "INFO" => Some("info"),
        "DEBUG" => Some("debug"),
        "TRACE" | "ALL" => Some("trace"),
        _ => None,
    };
    let logger = |pair: &str| {
        let (name, text) = pair.split_once('=')?;
        let is_in = |package: &str| name.trim() == package || name.trim().starts_with(&format!("{package}."));
        let (_, ours) = LOGGERS.iter().find(|(package, _)| is_in(package))?;
        Some(format!("{ours}={}", level(text)?))
    };
    let mut filter = vec![root.and_then(level).unwrap_or(default).to_owned()];
    filter.extend(loggers.unwrap_or_default().split(',').filter_map(logger));
    filter.join(",")
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

    #[test]
    fn a_container_listens_on_all_addresses_under_the_names_that_it_advertises() {
        assert_eq!(
            any_host("PLAINTEXT://host.example:9092, INTERNAL://broker:19092"),
            "PLAINTEXT://0.0.0.0:9092,INTERNAL://0.0.0.0:19092"
        );
    }

    #[test]
    fn javas_levels_and_loggers_become_a_filter() {
        let filter = |root, loggers| log_filter("warn", root, loggers);
        assert_eq!(filter(None, None), "warn");
        assert_eq!(filter(Some("DEBUG"), None), "debug");
        assert_eq!(filter(Some("LOUD"), Some("kafka.controller=TRACE,my.app=INFO")), "warn,controller=trace");
        assert_eq!(filter(Some("INFO"), Some("kafka.log.LogCleaner=FATAL")), "info,storage=error");
    }
}
