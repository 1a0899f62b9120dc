//! Where logs go, and in which form: lines for people, or a JSON object a line for those who collect them.
//!
//! It also says what a server says in any case (that it serves, why it does not), in the same form, so that whoever reads
//! JSON reads nothing else.

use runtime::time::{format_wall, wall_now};
use serde_json::{Map, Value};
use std::{fmt, panic, sync::OnceLock};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    EnvFilter,
    fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields, format::Writer, time::FormatTime},
    registry::LookupSpan,
};

/// The environment variable of the filter.
const FILTER_VARIABLE: &str = "GREGOR_LOG";
/// The environment variable of the format.
pub const FORMAT_VARIABLE: &str = "GREGOR_LOG_FORMAT";

/// The form of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object a line.
    Json,
}

impl LogFormat {
    /// Reads `text` or `json`.
    pub fn parse(text: &str) -> Option<Self> {
        clap::ValueEnum::from_str(text.trim(), true).ok()
    }
}

/// What the command line asks of the log.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// `--log`
    pub filter: Option<String>,
    /// `--log-format`, or else its variable.
    pub format: Option<LogFormat>,
}

impl Wish {
    /// What the environment asks, for a program that was called by another name.
    pub fn of_environment() -> Self {
        let format = std::env::var(FORMAT_VARIABLE).ok().and_then(|text| LogFormat::parse(&text));
        Self { filter: None, format }
    }

    /// Sends logs to standard error, filtered by the wish, else by GREGOR_LOG, else as `default` has it.
    pub fn start(self, default: &str) {
        let filter = match self.filter {
            Some(filter) => EnvFilter::new(filter),
            None => EnvFilter::try_from_env(FILTER_VARIABLE).unwrap_or_else(|_| EnvFilter::new(default)),
        };
        let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
        match self.format.unwrap_or(LogFormat::Text) {
            LogFormat::Text => logs.with_timer(WorldTime).init(),
            LogFormat::Json => {
                let _ = IS_JSON.set(());
                logs.event_format(JsonLines).init();
                panic::set_hook(Box::new(|panic| say(Level::ERROR, &panic.to_string())));
            }
        }
    }
}

/// Set where logs are JSON.
static IS_JSON: OnceLock<()> = OnceLock::new();

/// Says on standard error what no filter may hide.
pub fn say(level: Level, message: &str) {
    if IS_JSON.get().is_none() {
        eprintln!("gregor: {message}");
        return;
    }
    let mut line = head(level, "gregor");
    line.insert("message".into(), message.into());
    eprintln!("{}", Value::from(line));
}

/// The time of the world that the line was written in: a simulated node's own clock.
struct WorldTime;

impl FormatTime for WorldTime {
    fn format_time(&self, into: &mut Writer<'_>) -> fmt::Result {
        into.write_str(&format_wall(wall_now()))
    }
}

fn head(level: Level, target: &str) -> Map<String, Value> {
    let pairs = [("timestamp", format_wall(wall_now())), ("level", level.to_string()), ("target", target.to_owned())];
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect()
}

/// An event as a JSON object on one line: `timestamp`, `level`, `target`, `message`, its fields under their names, and the
/// spans that it happened in, the outermost first.
struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut into: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let metadata = event.metadata();
        let mut line = head(*metadata.level(), metadata.target());
        event.record(&mut Fields(&mut line));
        let spans = context.event_scope().into_iter().flat_map(|scope| scope.from_root());
        let spans: Vec<Value> = spans
            .map(|span| {
                let extensions = span.extensions();
                let fields = extensions.get::<FormattedFields<N>>().map(|fields| fields.fields.as_str());
                let mut object = Map::from_iter([("name".to_owned(), span.name().into())]);
                if let Some(fields) = fields.filter(|fields| !fields.is_empty()) {
                    object.insert("fields".into(), fields.into());
                }
                Value::from(object)
            })
            .collect();
        if !spans.is_empty() {
            line.insert("spans".into(), spans.into());
        }
        writeln!(into, "{}", Value::from(line))
    }
}

/// Writes the fields of an event into an object. What the head of a line holds is not written over.
struct Fields<'a>(&'a mut Map<String, Value>);

impl Fields<'_> {
    fn put(&mut self, field: &Field, value: Value) {
        let name =
            if self.0.contains_key(field.name()) { format!("field.{}", field.name()) } else { field.name().to_owned() };
        self.0.insert(name, value);
    }
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.put(field, value.to_string().into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::{self, Write},
        sync::{Arc, Mutex},
    };

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no test fails while it holds this").extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn each_line_is_an_object_whatever_is_in_it() {
        let kept = Kept::default();
        let into = kept.clone();
        let logs = tracing_subscriber::fmt().event_format(JsonLines).with_writer(move || into.clone());
        tracing::subscriber::with_default(logs.finish(), || {
            let span = tracing::info_span!("request", api = "Produce");
            let _inside = span.enter();
            tracing::info!(count = 3, is_late = true, "two\nlines \"quoted\"");
            tracing::warn!(level = "mine", topic = %"orders", "named as the head is");
        });
        let bytes = kept.0.lock().expect("no test fails while it holds this").clone();
        let text = String::from_utf8(bytes).expect("text");
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert_eq!(lines[0]["message"], "two\nlines \"quoted\"");
        assert_eq!((&lines[0]["count"], &lines[0]["is_late"]), (&Value::from(3), &Value::from(true)));
        assert_eq!((&lines[0]["level"], &lines[0]["spans"][0]["name"]), (&"INFO".into(), &"request".into()));
        assert_eq!((&lines[1]["level"], &lines[1]["field.level"]), (&"WARN".into(), &"mine".into()));
        assert_eq!(lines[1]["topic"], "orders");
    }
}
