//! The lines that the program logs while it is simulated, with the virtual time and the node that logged them.
//!
//! Our own crates are heard from `debug` on, everybody else from `warn`.

use crate::recording::{Recorder, What};
use runtime::simulation::{here, now_ns};
use std::fmt;
use tracing::{
    Level, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span,
};

/// A line is cut after so many characters.
const LINE_LENGTH_MAX: usize = 400;
const OURS: [&str; 6] = ["broker", "client", "controller", "metadata", "sim", "storage"];

/// Adds what this thread logs to a recording, until the guard is dropped.
pub fn gather(into: Recorder) -> tracing::subscriber::DefaultGuard {
    tracing::subscriber::set_default(Listener(into))
}

struct Listener(Recorder);

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let head = metadata.target().split("::").next().unwrap_or_default();
        let most = if OURS.contains(&head) { Level::DEBUG } else { Level::WARN };
        *metadata.level() <= most
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::DEBUG)
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let Some(here) = here() else { return };
        let mut line = Line::default();
        event.record(&mut line);
        let metadata = event.metadata();
        let (level, target) = (metadata.level().as_str().to_ascii_lowercase(), metadata.target().to_owned());
        let what = What::Log { level, target, message: line.whole() };
        self.0.lock().log(now_ns(), here.node, what);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// The message, then the fields.
#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Line {
    fn whole(mut self) -> String {
        self.message.push_str(&self.fields);
        match self.message.char_indices().nth(LINE_LENGTH_MAX) {
            Some((end, _)) => format!("{}…", &self.message[..end]),
            None => self.message,
        }
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            name => self.fields.push_str(&format!(" {name}={value:?}")),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message = value.to_owned(),
            name => self.fields.push_str(&format!(" {name}={value}")),
        }
    }
}
