//! The golden files, read from the folder beside this file.

use bytes::Bytes;
use protocol::api::{API_VERSIONS, ApiKey, Plane, find};
use std::fs;
use std::path::Path;

/// Who sent it to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Request,
    Response,
}

/// One captured frame.
#[derive(Clone, Debug)]
pub struct Golden {
    pub path: String,
    pub key: i16,
    pub version: i16,
    pub direction: Direction,
    pub bytes: Bytes,
}

impl Golden {
    /// A listener where its API exists.
    pub fn plane(&self) -> Plane {
        find(ApiKey(self.key)).expect("golden files are of served APIs").planes[0]
    }

    pub fn is_unsupported_api_versions(&self) -> bool {
        self.key == API_VERSIONS.0 && !find(API_VERSIONS).expect("is in the table").serves(self.version)
    }
}

/// All of them, in the order of their names.
pub fn all() -> Vec<Golden> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../protocol/tests/golden");
    let mut found = Vec::new();
    for folder in fs::read_dir(&root).expect("the folder of golden files") {
        let folder = folder.expect("a readable folder").path();
        if !folder.is_dir() {
            continue;
        }
        let who = folder.file_name().expect("a name").to_string_lossy().into_owned();
        for file in fs::read_dir(&folder).expect("a readable folder") {
            let file = file.expect("a readable folder").path();
            let name = file.file_name().expect("a name").to_string_lossy().into_owned();
            found.push(golden(&who, &name, fs::read(&file).expect("a readable file")));
        }
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

fn golden(who: &str, name: &str, bytes: Vec<u8>) -> Golden {
    let parts: Vec<&str> = name.split(['-', '.']).collect();
    let [key, version, _, direction, "bin"] = parts[..] else {
        panic!("{who}/{name} is not KEY-vVERSION-N.DIRECTION.bin")
    };
    Golden {
        path: format!("{who}/{name}"),
        key: key.parse().expect("a key"),
        version: version.trim_start_matches('v').parse().expect("a version"),
        direction: if direction == "req" { Direction::Request } else { Direction::Response },
        bytes: bytes.into(),
    }
}
