//! Pure. What a broker itself says against an alteration of settings; the rest is the controller's to judge.
//!
//! As the broker's part of `ConfigAdminManager.preprocess`: one broker is altered through itself only, and a resource that
//! is named twice is altered neither time. Used by AlterConfigs and IncrementalAlterConfigs.

use protocol::{error_code::ErrorCode, ids::BrokerId};
use std::collections::BTreeMap;

/// `ConfigResource.Type.BROKER`
const BROKER: i8 = 4;

/// For each resource of a request, by its kind and name, why it is not passed on, if it is not.
pub(super) fn refusals(node_id: BrokerId, resources: &[(i8, &str)]) -> Vec<Option<(ErrorCode, String)>> {
    let mut times: BTreeMap<(i8, &str), usize> = BTreeMap::new();
    for resource in resources {
        *times.entry(*resource).or_default() += 1;
    }
    let refuse = |resource: &(i8, &str)| {
        let why = match *resource {
            _ if times[resource] > 1 => "Each resource must appear at most once.".to_owned(),
            (BROKER, name) if !name.is_empty() => match name.parse::<i32>() {
                Ok(id) if BrokerId(id) == node_id => return None,
                Ok(id) => format!("Unexpected broker id, expected {node_id}, but received {id}"),
                Err(_) => format!("Node id must be an integer, but it is: {name}"),
            },
            _ => return None,
        };
        Some((ErrorCode::InvalidRequest, why))
    };
    resources.iter().map(refuse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_is_altered_through_itself_and_nothing_twice() {
        let resources = [(2, "orders"), (2, "twice"), (2, "twice"), (4, ""), (4, "1"), (4, "2"), (4, "one")];
        let refused = refusals(BrokerId(1), &resources);
        let lines: Vec<String> = refused
            .into_iter()
            .zip(resources)
            .filter_map(|(refusal, (_, name))| refusal.map(|(code, why)| format!("{name} {code} {why}")))
            .collect();
        insta::assert_snapshot!(lines.join("\n"), @"
        twice INVALID_REQUEST Each resource must appear at most once.
        twice INVALID_REQUEST Each resource must appear at most once.
        2 INVALID_REQUEST Unexpected broker id, expected 1, but received 2
        one INVALID_REQUEST Node id must be an integer, but it is: one
        ");
    }
}
