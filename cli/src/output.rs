//! What people see: tables, JSON, failures in one line.

use serde::Serialize;
use serde_json::Value;
use std::fmt;

/// Why a command did not do what it was asked, in one line, and the exit code.
#[derive(Debug)]
pub struct Failure {
    /// The sentence.
    pub what: String,
    /// The process's exit code.
    pub code: u8,
}

impl Failure {
    /// The command could not do it: exit code 1.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), code: 1 }
    }

    /// The command was asked wrongly: exit code 2.
    pub fn usage(what: impl Into<String>) -> Self {
        Self { what: what.into(), code: 2 }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut what = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            let text = inner.to_string();
            if !what.contains(&text) {
                what = format!("{what}: {text}");
            }
            cause = inner.source();
        }
        Self::new(what)
    }
}

/// What a shell says of a program that wrote to nobody: 128 and the number of `SIGPIPE`.
const NOBODY_READS: i32 = 141;

/// From now on the process ends without a word where nobody reads its output any more, as in `gregor sim list | head -1`. Rust
/// ignores the signal for it, and makes a panic of the error.
pub fn end_when_nobody_reads() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let what = panic.payload().downcast_ref::<String>();
        if what.is_some_and(|what| what.starts_with("failed printing to stdout") && what.contains("os error 32")) {
            std::process::exit(NOBODY_READS);
        }
        before(panic);
    }));
}

/// How a command prints what it found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Columns for people.
    Table,
    /// One JSON document.
    Json,
}

/// Rows under headings, each column as wide as its widest cell.
pub fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = headings.iter().map(|heading| heading.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> = cells.zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        padded.join("  ").trim_end().to_string() + "\n"
    };
    let mut text = line(&mut headings.iter().copied());
    for row in rows {
        text += &line(&mut row.iter().map(String::as_str));
    }
    text
}

/// Prints rows as a table, or as a JSON list of objects with the headings in lower case.
pub fn print_rows(format: Format, headings: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
    match format {
        Format::Table => print!("{}", table(headings, rows)),
        Format::Json => {
            let key = |heading: &&str| heading.to_lowercase().replace(' ', "_");
            let object = |row: &Vec<String>| -> serde_json::Map<String, serde_json::Value> {
                headings.iter().map(key).zip(row.iter().map(|cell| serde_json::Value::from(cell.as_str()))).collect()
            };
            print_json(&rows.iter().map(object).collect::<Vec<_>>())?;
        }
    }
    Ok(())
}

/// Prints rows of values: as a table, in which what is not there is a dash, or as a JSON list of objects with the headings in
/// lower case, in which it is null and numbers are numbers.
pub fn print_values(format: Format, headings: &[&str], rows: &[Vec<Value>]) -> Result<(), Failure> {
    match format {
        Format::Table => {
            let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(cell).collect()).collect();
            print!("{}", table(headings, &rows));
            Ok(())
        }
        Format::Json => {
            let key = |heading: &&str| heading.to_lowercase().replace(['-', ' '], "_");
            let object = |row: &Vec<Value>| -> serde_json::Map<String, Value> {
                headings.iter().map(key).zip(row.iter().cloned()).collect()
            };
            print_json(&rows.iter().map(object).collect::<Vec<_>>())
        }
    }
}

/// A value in a table; a map of lists is `orders:0,1;payments:2`.
fn cell(value: &Value) -> String {
    let joined = |cells: Vec<String>, by: &str| if cells.is_empty() { "-".to_owned() } else { cells.join(by) };
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => joined(items.iter().map(cell).collect(), ","),
        Value::Object(fields) => {
            joined(fields.iter().map(|(key, inner)| format!("{key}:{}", cell(inner))).collect(), ";")
        }
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

/// Prints a value as one JSON document.
pub fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["orders".to_string(), "12".into()], vec!["a".into(), "3".into()]];
        insta::assert_snapshot!(table(&["TOPIC", "PARTITIONS"], &rows), @r"
        TOPIC   PARTITIONS
        orders  12
        a       3
        ");
    }

    #[test]
    fn what_is_not_there_is_a_dash() {
        let cells = [json!(null), json!(7), json!(0.5), json!("a"), json!({}), json!({"orders": [0, 1], "x": [2]})];
        assert_eq!(cells.map(|value| cell(&value)), ["-", "7", "0.5", "a", "-", "orders:0,1;x:2"]);
    }
}
