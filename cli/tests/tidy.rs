//! Holds the walls of ARCHITECTURE.md: who may import whom, what pure files may not name, how long files and functions are.

#![allow(clippy::disallowed_methods, reason = "a test reads the source tree")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Who may import whom of ours. `cli` may import everybody.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("protocol", &[]),
    ("runtime", &[]),
    ("metadata", &["protocol"]),
    ("storage", &["protocol", "runtime"]),
    ("client", &["protocol", "runtime"]),
    ("controller", &["protocol", "metadata", "client", "runtime"]),
    ("groups", &["protocol", "runtime"]),
    ("broker", &["protocol", "metadata", "storage", "groups", "client", "runtime"]),
    ("sim", &["protocol", "metadata", "storage", "groups", "client", "controller", "broker", "runtime"]),
];

/// Crates that only some may name.
const RESERVED: &[(&str, &[&str])] = &[
    ("tokio", &["runtime"]),
    ("madsim", &["runtime"]),
    ("openraft", &["controller"]),
    ("openraft-rt", &["runtime"]),
    ("openraft-rt-tokio", &["runtime"]),
    ("kafka-protocol", &["protocol"]),
    ("clap", &["cli"]),
];

/// The floors of `broker`: a file may name modules of its own floor and of lower ones.
const BROKER_FLOORS: &[(&str, u32)] = &[
    ("lib", 6),
    ("server", 5),
    ("report", 5),
    ("handlers", 4),
    ("lifecycle", 3),
    ("replication", 3),
    ("coordinator", 3),
    ("partitions", 2),
    ("partition", 1),
    ("controller_link", 1),
    ("metadata_cache", 1),
    ("config", 1),
    ("fetch_sessions", 1),
    ("throttle", 0),
    ("event", 0),
    ("metrics", 0),
];

/// What a file that begins `//! Pure.` does without.
const IMPURE: &[&str] = &[
    "runtime::",
    "std::fs",
    "std::net::Tcp",
    "std::time::Instant",
    "SystemTime",
    "async fn",
    ".await",
    "HashMap",
    "HashSet",
];

/// Lines of a file without its tests, and of a function.
const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;

/// What is longer, with its length today. A number here goes down, never up.
const LONGER_FILES: &[(&str, usize)] = &[];
const LONGER_FUNCTIONS: &[(&str, usize)] = &[];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a crate lies in the workspace").to_path_buf()
}

fn crates() -> Vec<&'static str> {
    MAY_IMPORT.iter().map(|(name, _)| *name).chain(["cli"]).collect()
}

/// Every Rust file of the crates' `src` folders, by its path from the root.
fn sources() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for name in crates() {
        collect(&root().join(name).join("src"), &mut found);
    }
    found
}

fn collect(folder: &Path, into: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).expect("a source folder is readable") {
        let path = entry.expect("a source folder is readable").path();
        if path.is_dir() {
            collect(&path, into);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let name = path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
            into.insert(name, fs::read_to_string(&path).expect("a source file is UTF-8"));
        }
    }
}

/// The file without its tests at the foot.
fn without_tests(text: &str) -> &str {
    text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or(text)
}

/// Files that hold nothing but tests.
fn is_test(name: &str) -> bool {
    name.ends_with("tests.rs") || name.contains("/tests/") || name.ends_with("stories.rs")
}

/// The names in a manifest's `[dependencies]` tables, those for tests left out.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let mut inside = false;
    let mut names = BTreeSet::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.ends_with("dependencies]") && !line.contains("dev-") && !line.contains("build-");
        } else if inside && let Some((name, _)) = line.split_once(['.', '=', ' ']) {
            names.insert(name.trim().to_string());
        }
    }
    names
}

#[test]
fn no_arrow_between_crates_runs_up() {
    for (name, allowed) in MAY_IMPORT {
        let manifest = fs::read_to_string(root().join(name).join("Cargo.toml")).expect("a crate has a manifest");
        for dependency in dependencies(&manifest).iter().filter(|dependency| crates().contains(&dependency.as_str())) {
            assert!(allowed.contains(&dependency.as_str()), "{name} may not import {dependency}");
        }
    }
}

#[test]
fn reserved_crates_are_named_by_their_owners_only() {
    for name in crates() {
        let manifest = fs::read_to_string(root().join(name).join("Cargo.toml")).expect("a crate has a manifest");
        let named = dependencies(&manifest);
        for (dependency, owners) in RESERVED {
            assert!(owners.contains(&name) || !named.contains(*dependency), "{name} may not name {dependency}");
        }
    }
}

#[test]
fn pure_files_know_no_world() {
    for (name, text) in sources().iter().filter(|(_, text)| text.starts_with("//! Pure.")) {
        for (number, line) in
            without_tests(text).lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"))
        {
            // Macros that mark a place are not the world; they are empty in what users deploy.
            let marks = [
                "runtime::mutant",
                "runtime::sometimes",
                "runtime::reachable",
                "runtime::buggify",
                "runtime::observe::Digest",
            ];
            if marks.iter().any(|mark| line.contains(mark)) || line.contains("use runtime::observe") {
                continue;
            }
            for impure in IMPURE {
                assert!(!line.contains(impure), "{name}:{} is pure and names {impure}", number + 1);
            }
        }
    }
}

#[test]
fn the_floors_of_the_broker_hold() {
    let floor = |module: &str| BROKER_FLOORS.iter().find(|(name, _)| *name == module).map(|(_, floor)| *floor);
    for (name, text) in sources().iter().filter(|(name, _)| name.starts_with("broker/src/") && !is_test(name)) {
        let inside = name.trim_start_matches("broker/src/").trim_end_matches(".rs");
        let module = inside.split('/').next().expect("a path has a first part");
        let own = floor(module).unwrap_or_else(|| panic!("{name}: the floor table does not know '{module}'"));
        for (number, line) in without_tests(text).lines().enumerate() {
            for named in line
                .match_indices("crate::")
                .filter_map(|(at, _)| line[at + 7..].split([':', ';', ' ', ',', '(']).next())
            {
                let Some(other) = floor(named) else { continue };
                assert!(other <= own, "{name}:{} is on floor {own} and names {named} on floor {other}", number + 1);
            }
        }
    }
}

#[test]
fn no_file_is_too_long() {
    for (name, text) in sources().iter().filter(|(name, _)| !is_test(name)) {
        let lines = without_tests(text).lines().count();
        let cap = LONGER_FILES.iter().find(|(known, _)| known == name).map_or(FILE_LINES_MAX, |(_, cap)| *cap);
        assert!(lines <= cap, "{name} has {lines} lines, {cap} are allowed: split it by noun");
    }
}

#[test]
fn no_function_is_too_long() {
    for (name, text) in sources().iter().filter(|(name, _)| !is_test(name)) {
        let mut open: Option<(usize, usize, String)> = None;
        for (number, line) in without_tests(text).lines().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let words = line.trim_start();
            let begins = [
                "fn ",
                "pub fn ",
                "pub(crate) fn ",
                "pub(super) fn ",
                "async fn ",
                "pub async fn ",
                "pub(crate) async fn ",
                "const fn ",
            ];
            if open.is_none() && begins.iter().any(|begin| words.starts_with(begin)) && !words.ends_with(';') {
                let title = words.split('(').next().unwrap_or(words).rsplit(' ').next().unwrap_or(words).to_string();
                open = Some((number, indent, title));
            }
            if let Some((since, own, title)) = &open
                && words == "}"
                && indent == *own
            {
                let (length, place) = (number - since + 1, format!("{name}:{title}"));
                let cap = LONGER_FUNCTIONS
                    .iter()
                    .find(|(known, _)| *known == place)
                    .map_or(FUNCTION_LINES_MAX, |(_, cap)| *cap);
                assert!(length <= cap, "{place} has {length} lines, {cap} are allowed");
                open = None;
            }
        }
    }
}

#[test]
fn nothing_is_left_unfinished() {
    for (name, text) in sources() {
        for mark in ["todo!(", "unimplemented!(", "dbg!(", "FIXME", "XXX", "for now", "#[ignore"] {
            assert!(!text.contains(mark), "{name} holds '{mark}'");
        }
    }
}
