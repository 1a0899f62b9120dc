//! What people see: tables, JSON, failures in one line.

use serde::Serialize;
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

/// Prints a value as one JSON document.
pub fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["orders".to_string(), "12".into()], vec!["a".into(), "3".into()]];
        insta::assert_snapshot!(table(&["TOPIC", "PARTITIONS"], &rows), @r"
        TOPIC   PARTITIONS
        orders  12
        a       3
        ");
    }
}
