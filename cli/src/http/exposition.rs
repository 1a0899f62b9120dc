//! Pure. Samples in Prometheus' text format, version 0.0.4.

use super::kind_name;
use broker::report::Sample;
use std::fmt::Write;

/// What the format is called on the wire.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Writes the samples, those of one metric together and under one heading, metrics in the order of their names.
pub fn encode(samples: &[Sample]) -> String {
    let mut sorted: Vec<&Sample> = samples.iter().collect();
    sorted.sort_by_key(|sample| sample.name);
    let mut text = String::new();
    let mut heading = "";
    for Sample { name, help, kind, labels, value } in sorted {
        if heading != *name {
            heading = name;
            text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {}\n", kind_name(*kind)));
        }
        text.push_str(name);
        for (at, (label, value)) in labels.iter().enumerate() {
            let opening = if at == 0 { '{' } else { ',' };
            write!(text, "{opening}{label}=\"{}\"", escaped(value)).expect("a string takes everything");
        }
        text.push_str(if labels.is_empty() { " " } else { "} " });
        writeln!(text, "{value}").expect("a string takes everything");
    }
    text
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_one_metric_stand_together() {
        let samples = [
            Sample::counter("b_total", "More", 3).with("topic", "one"),
            Sample::gauge("a", "Something", 0.5),
            Sample::counter("b_total", "More", 4).with("topic", "t\"w\\o").with("partition", 0),
        ];
        let expected = "# HELP a Something\n# TYPE a gauge\na 0.5\n\
            # HELP b_total More\n# TYPE b_total counter\nb_total{topic=\"one\"} 3\n\
            b_total{topic=\"t\\\"w\\\\o\",partition=\"0\"} 4\n";
        assert_eq!(encode(&samples), expected);
    }
}
