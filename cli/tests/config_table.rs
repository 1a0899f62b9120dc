//! The table of configuration keys is true: what it calls honoured is read somewhere.

#![allow(clippy::disallowed_methods, reason = "a test reads the source tree")]

use metadata::config::keys::{self, Scope, Treatment};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Crates that do something with a setting, and parts of them that only list keys.
const READERS: &[&str] = &["broker", "controller", "storage", "cli", "metadata"];
const LISTS: &[&str] = &[
    "metadata/src/config/keys",
    "metadata/src/config/dynamic.rs",
    "metadata/src/config/topic.rs",
    // Clients' settings, some with the same names.
    "cli/src/kafka_tools",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a crate lies in the workspace").to_path_buf()
}

/// The sources of the readers without their tests, by path.
fn sources() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders: Vec<PathBuf> = READERS.iter().map(|name| root().join(name).join("src")).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a source folder is readable") {
            let path = entry.expect("a source folder is readable").path();
            let name = path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
            let is_test = name.ends_with("tests.rs") || name.contains("/tests/");
            if path.is_dir() {
                folders.push(path);
            } else if name.ends_with(".rs") && !is_test && !LISTS.iter().any(|list| name.starts_with(list)) {
                let text = fs::read_to_string(&path).expect("a source file is UTF-8");
                let code = text.split("\n#[cfg(test)]\nmod tests").next().unwrap_or_default().to_owned();
                found.insert(name, code);
            }
        }
    }
    found
}

fn is_word(symbol: char) -> bool {
    symbol.is_ascii_alphanumeric() || symbol == '_'
}

/// Whether the text has this word, and not only as a part of another.
fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

#[test]
fn every_honoured_key_is_read() {
    let sources = sources();
    assert!(sources.len() > 100, "{}", sources.len());
    let named = |name: &str| sources.values().any(|text| text.contains(&format!("\"{name}\"")));
    // What a topic's settings come to has a field for each key: somebody but the table has to ask for it.
    let field = |name: &str| {
        let field = name.trim_start_matches("internal.").replace('.', "_");
        let field = field.replace("_replication_throttled_", "_throttled_");
        sources.iter().any(|(path, text)| !path.starts_with("metadata/") && has_word(text, &field))
    };
    let honoured = |scope| keys::all(scope).filter(|key| key.treatment == Treatment::Honoured);
    let mut unread = Vec::new();
    for key in honoured(Scope::Topic) {
        if !named(key.name) && !field(key.name) {
            unread.push(key.name);
        }
    }
    for key in honoured(Scope::Broker) {
        let through_topics = keys::stands_in_for(key.name).any(|topic_key| {
            let key = keys::find(Scope::Topic, topic_key).expect("a stand-in is for a topic key");
            key.treatment == Treatment::Honoured && (named(topic_key) || field(topic_key))
        });
        if !named(key.name) && !field(key.name) && !through_topics {
            unread.push(key.name);
        }
    }
    unread.extend(honoured(Scope::Group).map(|key| key.name).filter(|name| !named(name)));
    assert!(unread.is_empty(), "called honoured, and nobody reads them: {unread:#?}");
}

#[test]
fn no_key_without_effect_is_read() {
    let sources = sources();
    let ignored = keys::all(Scope::Broker).filter(|key| key.treatment == Treatment::Ignored);
    let named = |name: &str| sources.iter().find(|(_, text)| text.contains(&format!("\"{name}\"")));
    let read: Vec<_> = ignored.filter_map(|key| Some((key.name, named(key.name)?.0))).collect();
    assert!(read.is_empty(), "called ignored, and read: {read:#?}");
}
