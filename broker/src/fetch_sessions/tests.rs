//! Stories of sessions, each as a fetcher would live it.

use super::*;

const LATER: MonotonicMillis = MonotonicMillis(EVICTION_MS + 1);
const NOW: MonotonicMillis = MonotonicMillis(0);
const BY_NAME: bool = false;

fn of(index: i32) -> SessionPartition {
    (SessionTopic::Name("events".into()), PartitionIndex(index))
}

fn from(fetch_offset: i64) -> Asked {
    Asked {
        current_leader_epoch: 3,
        fetch_offset,
        last_fetched_epoch: 3,
        log_start_offset: 0,
        partition_max_bytes: 1 << 20,
        high_watermark: i64::MAX,
    }
}

fn at(high_watermark: i64) -> Result<Told, ErrorCode> {
    Ok(Told { high_watermark: Offset(high_watermark), log_start_offset: Offset(0), has_more: false })
}

fn records(high_watermark: i64) -> Result<Told, ErrorCode> {
    at(high_watermark).map(|told| Told { has_more: true, ..told })
}

fn opened(sessions: &mut FetchSessions, privileged: bool, partitions: i32, now: MonotonicMillis) -> i32 {
    let mut next = 100;
    let ids = || {
        next += 1;
        next
    };
    sessions.open(privileged, BY_NAME, (0..partitions).map(|index| (of(index), from(0), at(0))), now, ids)
}

/// What an incremental request asks for in the end: partition and offset.
fn go_on(
    sessions: &mut FetchSessions,
    place: (i32, i32),
    named: &[(i32, i64)],
    gone: &[i32],
) -> Result<Vec<(i32, i64)>, ErrorCode> {
    let mut named: Vec<_> = named.iter().map(|(index, offset)| (of(*index), from(*offset))).collect();
    let gone: Vec<_> = gone.iter().map(|index| of(*index)).collect();
    sessions.begin(place, BY_NAME, &mut named, &gone, NOW)?;
    Ok(named.into_iter().map(|((_, index), asked)| (index.0, asked.fetch_offset)).collect())
}

#[test]
fn a_request_that_names_what_changed_asks_for_all() {
    let mut sessions = FetchSessions::new(10);
    let id = opened(&mut sessions, false, 3, NOW);
    assert_eq!(go_on(&mut sessions, (id, 1), &[(1, 7)], &[]), Ok(vec![(0, 0), (1, 7), (2, 0)]));
    assert_eq!(go_on(&mut sessions, (id, 2), &[(5, 9)], &[0]), Ok(vec![(1, 7), (2, 0), (5, 9)]));
    assert_eq!((sessions.len(), sessions.partitions()), (1, 3));
}

#[test]
fn an_answer_leaves_out_what_has_not_changed() {
    let mut sessions = FetchSessions::new(10);
    let id = opened(&mut sessions, false, 3, NOW);
    go_on(&mut sessions, (id, 1), &[], &[]).expect("the epoch is next");
    let told = [(of(0), at(0)), (of(1), at(4)), (of(2), records(0))];
    assert_eq!(sessions.select(id, 2, told), Some(vec![false, true, true]));
    // Partition 2 got records, so that the others are read before it.
    assert_eq!(go_on(&mut sessions, (id, 2), &[], &[]), Ok(vec![(0, 0), (1, 0), (2, 0)]));
    let told = [(of(0), records(0)), (of(1), at(4)), (of(2), at(0))];
    assert_eq!(sessions.select(id, 3, told), Some(vec![true, false, false]));
    assert_eq!(go_on(&mut sessions, (id, 3), &[], &[]), Ok(vec![(1, 0), (2, 0), (0, 0)]));
}

#[test]
fn a_moved_log_start_is_told() {
    let mut sessions = FetchSessions::new(10);
    let id = opened(&mut sessions, false, 1, NOW);
    go_on(&mut sessions, (id, 1), &[], &[]).expect("the epoch is next");
    let moved = at(0).map(|told| Told { log_start_offset: Offset(2), ..told });
    assert_eq!(sessions.select(id, 2, [(of(0), moved)]), Some(vec![true]));
}

#[test]
fn an_error_is_told_each_time_and_so_is_its_end() {
    let mut sessions = FetchSessions::new(10);
    let id = opened(&mut sessions, false, 1, NOW);
    for (epoch, told, sent) in [
        (1, Err(ErrorCode::NotLeaderOrFollower), true),
        (2, Err(ErrorCode::NotLeaderOrFollower), true),
        (3, at(0), true),
        (4, at(0), false),
    ] {
        go_on(&mut sessions, (id, epoch), &[], &[]).expect("the epoch is next");
        assert_eq!(sessions.select(id, epoch + 1, [(of(0), told)]), Some(vec![sent]), "epoch {epoch}");
    }
}

#[test]
fn a_follower_that_lost_its_high_watermark_is_told_again() {
    let mut sessions = FetchSessions::new(10);
    let known = |high_watermark| Asked { high_watermark, ..from(9) };
    let id = sessions.open(true, BY_NAME, [(of(0), known(9), at(9))], NOW, || 7);
    let mut named = vec![(of(0), known(5))];
    sessions.begin((id, 1), BY_NAME, &mut named, &[], NOW).expect("the epoch is next");
    assert_eq!(sessions.select(id, 2, [(of(0), at(9))]), Some(vec![true]));
    let mut named = vec![(of(0), known(9))];
    sessions.begin((id, 2), BY_NAME, &mut named, &[], NOW).expect("the epoch is next");
    assert_eq!(sessions.select(id, 3, [(of(0), at(9))]), Some(vec![false]));
}

#[test]
fn each_epoch_is_taken_once() {
    let mut sessions = FetchSessions::new(10);
    let id = opened(&mut sessions, false, 1, NOW);
    assert!(go_on(&mut sessions, (id, 1), &[], &[]).is_ok());
    assert_eq!(go_on(&mut sessions, (id, 1), &[], &[]), Err(ErrorCode::InvalidFetchSessionEpoch));
    assert_eq!(go_on(&mut sessions, (id, 3), &[], &[]), Err(ErrorCode::InvalidFetchSessionEpoch));
    assert_eq!(go_on(&mut sessions, (id + 1, 2), &[], &[]), Err(ErrorCode::FetchSessionIdNotFound));
    assert_eq!(go_on(&mut sessions, (0, 2), &[], &[]), Err(ErrorCode::FetchSessionIdNotFound));
    // What was read for a request that another overtook is not told.
    assert_eq!(sessions.select(id, 3, [(of(0), at(1))]), None);
}

#[test]
fn the_epoch_wraps_to_one() {
    let mut sessions = FetchSessions::new(10);
    let id = opened(&mut sessions, false, 1, NOW);
    sessions.sessions.get_mut(&id).expect("it was opened").epoch = i32::MAX;
    assert!(go_on(&mut sessions, (id, i32::MAX), &[], &[]).is_ok());
    assert!(go_on(&mut sessions, (id, 1), &[], &[]).is_ok());
}

#[test]
fn a_session_keeps_to_names_or_ids() {
    let mut sessions = FetchSessions::new(10);
    let id = opened(&mut sessions, false, 1, NOW);
    let begun = sessions.begin((id, 1), true, &mut Vec::new(), &[], NOW);
    assert_eq!(begun, Err(ErrorCode::FetchSessionTopicIdError));
}

#[test]
fn whole_requests_close_the_session_that_they_name() {
    for (epoch, turn) in [(INITIAL_EPOCH, Turn::Opening), (FINAL_EPOCH, Turn::Sessionless)] {
        let mut sessions = FetchSessions::new(10);
        let id = opened(&mut sessions, false, 4, NOW);
        assert_eq!(sessions.begin((id, epoch), BY_NAME, &mut Vec::new(), &[], NOW), Ok(turn));
        assert_eq!((sessions.len(), sessions.partitions()), (0, 0));
    }
}

#[test]
fn a_session_without_partitions_is_closed() {
    let mut sessions = FetchSessions::new(10);
    let id = opened(&mut sessions, false, 1, NOW);
    assert_eq!(go_on(&mut sessions, (id, 1), &[], &[0]), Ok(vec![]));
    assert_eq!((sessions.len(), sessions.partitions()), (0, 0));
    assert_eq!(opened(&mut sessions, false, 0, NOW), 0);
}

#[test]
fn a_full_cache_takes_what_is_worth_more() {
    // (is the new one a follower's, its partitions, when) and whether it finds room beside one consumer's of 3 partitions.
    for (privileged, partitions, now, finds_room) in [
        (false, 9, NOW, false),
        (false, 9, MonotonicMillis(EVICTION_MS), false),
        (false, 1, LATER, true),
        (true, 1, NOW, true),
    ] {
        let mut sessions = FetchSessions::new(1);
        opened(&mut sessions, false, 3, NOW);
        let id = opened(&mut sessions, privileged, partitions, now);
        assert_eq!(id != 0, finds_room, "privileged {privileged}, {partitions} partitions, at {now:?}");
        assert_eq!((sessions.len(), sessions.evictions()), (1, u64::from(finds_room)));
    }
    // One that is old but in use goes for a larger one only.
    for (partitions, finds_room) in [(3, false), (4, true)] {
        let mut sessions = FetchSessions::new(1);
        let id = opened(&mut sessions, false, 3, NOW);
        sessions.begin((id, 1), BY_NAME, &mut Vec::new(), &[], LATER).expect("the epoch is next");
        assert_eq!(opened(&mut sessions, false, partitions, LATER) != 0, finds_room, "{partitions} partitions");
    }
    // A follower's never goes for a consumer's.
    let mut sessions = FetchSessions::new(1);
    let id = opened(&mut sessions, true, 1, NOW);
    sessions.begin((id, 1), BY_NAME, &mut Vec::new(), &[], LATER).expect("the epoch is next");
    assert_eq!(opened(&mut sessions, false, 50, LATER), 0);
}

#[test]
fn a_session_that_grows_without_end_is_closed() {
    let mut sessions = FetchSessions { partitions_max: 4, ..FetchSessions::new(10) };
    assert_eq!(opened(&mut sessions, false, 5, NOW), 0);
    let id = opened(&mut sessions, false, 3, NOW);
    assert_eq!(go_on(&mut sessions, (id, 1), &[(3, 0)], &[]).map(|asked| asked.len()), Ok(4));
    assert_eq!(go_on(&mut sessions, (id, 2), &[(4, 0)], &[]), Err(ErrorCode::FetchSessionIdNotFound));
    assert_eq!((sessions.len(), sessions.partitions()), (0, 0));
}

#[test]
fn ids_are_positive_and_taken_once() {
    let mut sessions = FetchSessions::new(10);
    let mut ids = [0, -4, 8, 8, 9].into_iter();
    let mut open = |sessions: &mut FetchSessions| {
        sessions.open(false, BY_NAME, [(of(0), from(0), at(0))], NOW, || ids.next().expect("enough ids"))
    };
    assert_eq!((open(&mut sessions), open(&mut sessions)), (8, 9));
}
