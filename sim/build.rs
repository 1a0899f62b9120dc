//! Puts two things into the crate: the scenarios, so that a name means the same everywhere, and a digest of the source,
//! which is the code version that a replay line names.

#![allow(clippy::disallowed_methods, reason = "a build script runs on the builder's machine")]

use std::{
    env, fs,
    path::{Path, PathBuf},
};

const CRATES: [&str; 9] =
    ["protocol", "runtime", "metadata", "storage", "client", "controller", "broker", "sim", "cli"];

fn main() {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("..");
    let mut sources = vec![root.join("Cargo.lock")];
    for name in CRATES {
        println!("cargo:rerun-if-changed=../{name}/src");
        files(&root.join(name).join("src"), "rs", &mut sources);
    }
    println!("cargo:rerun-if-changed=../Cargo.lock");
    println!("cargo:rerun-if-changed=../scenarios");
    let digest = sources.iter().filter_map(|path| fs::read(path).ok()).fold(0xcbf2_9ce4_8422_2325, |hash, bytes| {
        bytes.iter().fold(hash, |hash: u64, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
    });
    println!("cargo:rustc-env=GREGOR_CODE_VERSION={:08x}", digest >> 32);

    let mut scenarios = Vec::new();
    files(&root.join("scenarios"), "toml", &mut scenarios);
    let entries: String = scenarios
        .iter()
        .map(|path| {
            let relative = path.strip_prefix(root.join("scenarios")).expect("found below it");
            let name = relative.with_extension("").to_string_lossy().replace('\\', "/");
            format!("    ({name:?}, {:?}),\n", fs::read_to_string(path).expect("a scenario is readable"))
        })
        .collect();
    let target = Path::new(&env::var("OUT_DIR").expect("cargo sets it")).join("scenarios.rs");
    fs::write(target, format!("&[\n{entries}]")).expect("cargo's output folder is writable");
}

/// The files below a folder with this ending, in the order of their names.
fn files(folder: &Path, ending: &str, into: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            files(&path, ending, into);
        } else if path.extension().is_some_and(|found| found == ending) {
            into.push(path);
        }
    }
}
