//! Pure. A follower's half of an incremental fetch session: after the first fetch, only what changed is sent (KIP-227).
//!
//! It never opens a connection and never judges an answer's records. Driven by [`super::fetcher`], one session a connection.

use crate::partition::state::FollowerPosition;
use protocol::error_code::ErrorCode;
use protocol::ids::TopicPartition;
use std::collections::BTreeMap;

/// Which request of which session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionPlace {
    /// The session, zero while the leader has given none.
    pub session_id: i32,
    /// Zero asks for a new session; the leader counts on from there.
    pub session_epoch: i32,
}

/// What to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRequest {
    /// Which request this is.
    pub place: SessionPlace,
    /// The partitions to name: all of them at the start of a session, later those that changed.
    pub named: Vec<(TopicPartition, FollowerPosition)>,
    /// The partitions that the leader is to forget.
    pub forgotten: Vec<TopicPartition>,
}

/// A session, as the follower knows it (`FetchSessionHandler`).
#[derive(Clone, Debug)]
pub struct FetchSession {
    place: SessionPlace,
    /// What the leader was last told of each partition.
    asked: BTreeMap<TopicPartition, FollowerPosition>,
}

const NEW: SessionPlace = SessionPlace { session_id: 0, session_epoch: 0 };

impl Default for FetchSession {
    fn default() -> Self {
        Self { place: NEW, asked: BTreeMap::new() }
    }
}

impl FetchSession {
    /// The next request, so that the session then holds exactly `wanted`.
    pub fn request(&mut self, wanted: BTreeMap<TopicPartition, FollowerPosition>) -> SessionRequest {
        let place = self.place;
        let is_new = place.session_epoch == NEW.session_epoch;
        let changed = |(of, ask): &(&TopicPartition, &FollowerPosition)| is_new || self.asked.get(of) != Some(ask);
        let named = wanted.iter().filter(changed).map(|(of, ask)| (*of, *ask)).collect();
        let forgotten = self.asked.keys().filter(|of| !is_new && !wanted.contains_key(of)).copied().collect();
        self.asked = wanted;
        SessionRequest { place, named, forgotten }
    }

    /// What the leader was told of a partition in the last request, named in it or earlier.
    pub fn asked(&self, of: &TopicPartition) -> Option<&FollowerPosition> {
        self.asked.get(of)
    }

    /// Takes the answer's error and session. Returns whether its partitions may be looked at: not when the leader lost the
    /// session, which begins anew with the next request.
    pub fn on_answer(&mut self, error: ErrorCode, session_id: i32) -> bool {
        match error {
            ErrorCode::None => {
                let SessionPlace { session_id: ours, session_epoch } = self.place;
                self.place = match session_id {
                    // The leader has no room for a session, or closed ours.
                    0 => NEW,
                    given if session_epoch == 0 || given == ours => {
                        SessionPlace { session_id: given, session_epoch: session_epoch.checked_add(1).unwrap_or(1) }
                    }
                    _ => NEW,
                };
                true
            }
            _ => {
                self.place = NEW;
                false
            }
        }
    }

    /// The answer is lost, and with it whether the request was counted: the session begins anew.
    pub fn forget(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::ids::{LeaderEpoch, Offset, PartitionIndex, TopicId};

    fn partition(index: i32) -> TopicPartition {
        TopicPartition { topic_id: TopicId::ZERO, partition: PartitionIndex(index) }
    }

    fn wanted<const N: usize>(positions: [(i32, i64); N]) -> BTreeMap<TopicPartition, FollowerPosition> {
        let ask = |fetch_offset| FollowerPosition {
            leader_epoch: LeaderEpoch(1),
            fetch_offset: Offset(fetch_offset),
            last_fetched_epoch: None,
            log_start_offset: Offset(0),
            high_watermark: Offset(0),
        };
        positions.into_iter().map(|(index, fetch_offset)| (partition(index), ask(fetch_offset))).collect()
    }

    fn check<const N: usize>(session: &mut FetchSession, positions: [(i32, i64); N]) -> String {
        let request = session.request(wanted(positions));
        let named: Vec<_> = request.named.iter().map(|(of, ask)| (of.partition.0, ask.fetch_offset.0)).collect();
        let forgotten: Vec<_> = request.forgotten.iter().map(|of| of.partition.0).collect();
        let SessionPlace { session_id, session_epoch } = request.place;
        format!("session {session_id} epoch {session_epoch}  named {named:?}  forgotten {forgotten:?}")
    }

    #[test]
    fn only_what_changed_is_named_after_the_first_request() {
        let mut session = FetchSession::default();
        insta::assert_snapshot!(check(&mut session, [(0, 5), (1, 7)]), @"session 0 epoch 0  named [(0, 5), (1, 7)]  forgotten []");
        assert!(session.on_answer(ErrorCode::None, 77));
        insta::assert_snapshot!(check(&mut session, [(0, 6), (1, 7)]), @"session 77 epoch 1  named [(0, 6)]  forgotten []");
        assert!(session.on_answer(ErrorCode::None, 77));
        insta::assert_snapshot!(check(&mut session, [(0, 6), (2, 0)]), @"session 77 epoch 2  named [(2, 0)]  forgotten [1]");
    }

    #[test]
    fn a_lost_session_begins_anew_with_everything() {
        let mut session = FetchSession::default();
        check(&mut session, [(0, 5)]);
        session.on_answer(ErrorCode::None, 77);
        check(&mut session, [(0, 5)]);
        assert!(!session.on_answer(ErrorCode::FetchSessionIdNotFound, 0));
        insta::assert_snapshot!(check(&mut session, [(0, 5)]), @"session 0 epoch 0  named [(0, 5)]  forgotten []");
    }

    #[test]
    fn a_leader_without_sessions_is_told_everything_each_time() {
        let mut session = FetchSession::default();
        for _ in 0..3 {
            assert_eq!(check(&mut session, [(0, 5)]), "session 0 epoch 0  named [(0, 5)]  forgotten []");
            assert!(session.on_answer(ErrorCode::None, 0));
        }
    }
}
