//! Java's properties files, as Kafka reads them: `key=value`, `key: value` or `key value`, comments by `#` or `!`, lines
//! continued by a backslash, escapes. (`java.util.Properties.load`.)

use crate::output::Failure;
use runtime::disk::Disk;
use std::path::Path;

/// The pairs of a file, in order, as [`parse`] finds them.
///
/// # Errors
/// A file that is not there or cannot be read.
pub fn read(path: &Path) -> Result<Vec<(String, String)>, Failure> {
    parse(&read_text(path)?).map_err(|what| Failure::new(format!("{}: {what}", path.display())))
}

/// A file that a user names, as text.
///
/// # Errors
/// A file that is not there or cannot be read.
pub fn read_text(path: &Path) -> Result<String, Failure> {
    let place = path.display().to_string();
    let unreadable = |error: std::io::Error| Failure::new(format!("{place}: {error}"));
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().ok_or_else(|| Failure::usage(format!("{place} is not a file")))?.to_string_lossy();
    if !path.is_file() {
        return Err(Failure::usage(format!("{place} is not there")));
    }
    let bytes = Disk::real(folder).and_then(|disk| disk.read(&name)).map_err(unreadable)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The pairs of a text, in order. A key that stands twice is there twice; the last one counts.
///
/// # Errors
/// An escape that is not one, with its line.
pub fn parse(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut pairs = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let mut logical = line.trim_start().to_string();
        if logical.is_empty() || logical.starts_with(['#', '!']) {
            continue;
        }
        while ends_open(&logical) {
            logical.pop();
            let Some((_, next)) = lines.next() else { break };
            logical.push_str(next.trim_start());
        }
        let (key, value) = split(&logical);
        let read = |part: &str| unescape(part).map_err(|what| format!("line {}: {what}", number + 1));
        pairs.push((read(key)?, read(value)?));
    }
    Ok(pairs)
}

/// Whether an odd number of backslashes ends the line.
fn ends_open(line: &str) -> bool {
    line.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    for (at, symbol) in line.char_indices() {
        match symbol {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '=' | ':' | ' ' | '\t' => {
                let rest = line[at..].trim_start_matches([' ', '\t']);
                let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
                return (&line[..at], rest.trim_start_matches([' ', '\t']));
            }
            _ => {}
        }
    }
    (line, "")
}

fn unescape(text: &str) -> Result<String, String> {
    let mut plain = String::with_capacity(text.len());
    let mut symbols = text.chars();
    while let Some(symbol) = symbols.next() {
        if symbol != '\\' {
            plain.push(symbol);
            continue;
        }
        match symbols.next() {
            Some('t') => plain.push('\t'),
            Some('n') => plain.push('\n'),
            Some('r') => plain.push('\r'),
            Some('f') => plain.push('\u{c}'),
            Some('u') => {
                let digits: String = symbols.by_ref().take(4).collect();
                let code = u32::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 4).and_then(char::from_u32);
                plain.push(code.ok_or_else(|| format!("'\\u{digits}' is not a character"))?);
            }
            Some(other) => plain.push(other),
            None => {}
        }
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        parse(text).expect("valid properties")
    }

    fn pair(key: &str, value: &str) -> Vec<(String, String)> {
        vec![(key.into(), value.into())]
    }

    #[test]
    fn keys_end_at_an_equals_sign_a_colon_or_a_blank() {
        for line in ["node.id=1", "node.id = 1", "node.id:1", "node.id : 1", "  node.id 1", "node.id\t=\t1"] {
            assert_eq!(pairs(line), pair("node.id", "1"), "{line}");
        }
    }

    #[test]
    fn values_keep_what_belongs_to_them() {
        assert_eq!(
            pairs("listeners=PLAINTEXT://:9092,CONTROLLER://:9093"),
            pair("listeners", "PLAINTEXT://:9092,CONTROLLER://:9093")
        );
        assert_eq!(pairs("a=b=c "), pair("a", "b=c "));
        assert_eq!(pairs("empty="), pair("empty", ""));
    }

    #[test]
    fn comments_and_empty_lines_are_skipped_and_lines_are_joined() {
        assert_eq!(pairs("# a=b\n\n! c=d\nvoters=1@a:1,\\\n   2@b:2\n"), pair("voters", "1@a:1,2@b:2"));
        assert_eq!(pairs("path=C\\\\"), pair("path", "C\\"));
    }

    #[test]
    fn escapes_are_read_or_refused() {
        assert_eq!(pairs("a\\=b=\\u0041\\t"), pair("a=b", "A\t"));
        assert!(parse("\na=\\u00zz").expect_err("not a character").contains("line 2"));
    }
}
