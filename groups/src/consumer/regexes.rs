//! Pure. Which topics the regular expressions of a group's members stand for (KIP-848).
//!
//! Kafka resolves them on another thread and changes the group when that is done; here it is done within the heartbeat, so a
//! member that joins with a regular expression gets its partitions at once.

use super::Surroundings;
use super::draft::Draft;
use super::request::HeartbeatError;
use crate::record::{Record, RegularExpressionValue};
use std::collections::BTreeSet;
use std::time::Duration;

/// How long what was resolved stands, however many topics are created (`REGEX_BATCH_REFRESH_MIN_INTERVAL_MS`).
const REFRESH_INTERVAL_MIN: Duration = Duration::from_secs(10);

/// Resolves what has to be, and forgets what is no longer asked for; whether the group's topics changed by that
/// (`maybeUpdateRegularExpressions`, `handleRegularExpressionsResult`).
///
/// A regular expression that was never resolved is, at once. All are again, together, when topics were created since, or when
/// the last time is long ago.
///
/// # Errors
/// When a member gives one that is none.
pub(super) fn update(draft: &mut Draft<'_>, around: &Surroundings<'_>) -> Result<bool, HeartbeatError> {
    draft.forget_regexes();
    let all = is_refresh_due(draft, around);
    let due: Vec<String> =
        draft.subscribed_regexes().filter(|regex| all || !draft.regexes().contains_key(*regex)).cloned().collect();
    let mut changed = false;
    for regex in due {
        let topics = match around.topics.matching(&regex) {
            Ok(topics) => topics,
            // It was one when it was first resolved; what it was resolved to then stands.
            Err(_) if draft.regexes().contains_key(&regex) => continue,
            Err(invalid) => return Err(HeartbeatError::InvalidRegex { regex, reason: invalid.reason }),
        };
        let before = draft.regexes().get(&regex).map_or(&NONE, |resolved| &resolved.topics);
        changed |= topics != *before;
        let value = RegularExpressionValue { topics, version: around.topics.version().0, resolved_at: around.wall };
        draft.add(Record::RegularExpression { group: draft.id().clone(), regex, value: Some(value) });
    }
    Ok(changed)
}

/// What a regular expression stands for that was never resolved.
static NONE: BTreeSet<crate::ids::TopicName> = BTreeSet::new();

/// Whether what was resolved is to be resolved again.
fn is_refresh_due(draft: &Draft<'_>, around: &Surroundings<'_>) -> bool {
    let resolved = draft.regexes().values();
    let Some(oldest) = resolved.clone().map(|resolved| resolved.resolved_at).min() else { return false };
    let elapsed = Duration::from_millis(u64::try_from(around.wall.0.saturating_sub(oldest.0)).unwrap_or(0));
    let version = resolved.map(|resolved| resolved.version).min().unwrap_or(0);
    let topics_are_new = version < around.topics.last_created_at().0;
    elapsed > REFRESH_INTERVAL_MIN && (topics_are_new || elapsed > around.config.regex_refresh_interval)
}
