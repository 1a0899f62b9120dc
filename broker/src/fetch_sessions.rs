//! Pure. The leader's half of incremental fetch sessions (KIP-227): which partitions a fetcher asks for, and what it was last
//! told of each, so that a request names only what changed and an answer leaves out what did not.
//!
//! It reads no partition. Driven by the handler of Fetch; the follower's half is `replication::session`.

use protocol::{
    error_code::ErrorCode,
    ids::{MonotonicMillis, Offset, PartitionIndex, TopicId},
};
use std::{collections::BTreeMap, sync::Arc};

/// The epoch of a request that asks for a new session (`FetchMetadata.INITIAL_EPOCH`).
const INITIAL_EPOCH: i32 = 0;
/// The epoch of a request that wants none (`FetchMetadata.FINAL_EPOCH`).
const FINAL_EPOCH: i32 = -1;
/// How long a session must have been idle, or have lived, before another may take its place
/// (`FetchSession.MIN_INCREMENTAL_FETCH_SESSION_EVICTION_MS`).
const EVICTION_MS: u64 = 120_000;
/// Partitions in all sessions together. Kafka sets no limit; without one, a client that goes on naming partitions takes all
/// memory.
const PARTITIONS_MAX: usize = 500_000;

/// A topic as a session names it: one of both ways for all of its life (KIP-516).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SessionTopic {
    /// By its identity, from version 13 on.
    Id(TopicId),
    /// By its name.
    Name(Arc<str>),
}

/// A partition as a session names it.
pub type SessionPartition = (SessionTopic, PartitionIndex);

/// What a fetcher asks of a partition, as the request says it (`FetchRequest.PartitionData`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The epoch in which it believes the leader to be; -1 for any.
    pub current_leader_epoch: i32,
    /// From which offset on.
    pub fetch_offset: i64,
    /// The epoch of its last record; -1 if it does not say.
    pub last_fetched_epoch: i32,
    /// A follower's first offset.
    pub log_start_offset: i64,
    /// At most so many bytes.
    pub partition_max_bytes: i32,
    /// A follower's high watermark; the largest number if it does not say (KIP-1166).
    pub high_watermark: i64,
}

/// What an answer says of a partition, as far as it matters for leaving it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// The high watermark.
    pub high_watermark: Offset,
    /// The first offset kept.
    pub log_start_offset: Offset,
    /// Whether there is more than that: records, a log that parts from the fetcher's, a replica to prefer.
    pub has_more: bool,
}

/// What a request means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It is whole, and nothing of it is kept.
    Sessionless,
    /// It is whole, and begins a session if there is room for one.
    Opening,
    /// It goes on with a session, whose epoch is now this one.
    Incremental {
        /// The session.
        session_id: i32,
        /// The epoch that the session has until its next request.
        epoch: i32,
    },
}

#[derive(Debug)]
struct Cached {
    of: SessionPartition,
    asked: Asked,
    /// What it was last told; nothing after an error, which is told each time, and so is its end.
    told: Option<(Offset, Offset)>,
}

#[derive(Debug)]
struct Session {
    /// Whether it is a follower's: it never makes room for a consumer's.
    privileged: bool,
    by_id: bool,
    epoch: i32,
    created: MonotonicMillis,
    last_used: MonotonicMillis,
    /// In the order in which they are read: what got records goes to the end, so that none starves (KIP-227).
    partitions: BTreeMap<u64, Cached>,
    places: BTreeMap<SessionPartition, u64>,
    next_place: u64,
}

/// All sessions of a broker (`FetchSessionCache`).
#[derive(Debug)]
pub struct FetchSessions {
    slots: usize,
    partitions_max: usize,
    sessions: BTreeMap<i32, Session>,
    partitions: usize,
    evictions: u64,
}

impl Session {
    fn put(&mut self, of: SessionPartition, asked: Asked, told: Option<(Offset, Offset)>) {
        let place = *self.places.entry(of.clone()).or_insert(self.next_place);
        self.next_place = self.next_place.max(place + 1);
        let cached = self.partitions.entry(place).or_insert(Cached { of, asked, told });
        cached.asked = asked;
        if told.is_some() {
            cached.told = told;
        }
    }

    fn forget(&mut self, of: &SessionPartition) {
        if let Some(place) = self.places.remove(of) {
            self.partitions.remove(&place);
        }
    }

    fn move_to_end(&mut self, of: &SessionPartition) {
        let Some(place) = self.places.get_mut(of) else { return };
        let cached = self.partitions.remove(place).expect("every place is taken by a partition");
        *place = self.next_place;
        self.next_place += 1;
        self.partitions.insert(*place, cached);
    }

    /// Notes what is told of a partition. Returns whether it is told at all (`CachedPartition.maybeUpdateResponseData`).
    ///
    /// A follower whose high watermark is smaller is always told: what was sent earlier may not have been taken.
    fn tell(&mut self, of: &SessionPartition, told: Result<Told, ErrorCode>) -> bool {
        let Some(cached) = self.places.get(of).and_then(|place| self.partitions.get_mut(place)) else { return false };
        let Ok(Told { high_watermark, log_start_offset, has_more }) = told else {
            cached.told = None;
            return true;
        };
        let now = Some((high_watermark, log_start_offset));
        let is_behind = cached.asked.high_watermark < high_watermark.0;
        let changed = cached.told != now;
        cached.told = now;
        if has_more {
            self.move_to_end(of);
        }
        has_more || changed || is_behind
    }
}

impl FetchSessions {
    /// None yet, and room for so many (`max.incremental.fetch.session.cache.slots`).
    pub fn new(slots: usize) -> Self {
        Self { slots, partitions_max: PARTITIONS_MAX, sessions: BTreeMap::new(), partitions: 0, evictions: 0 }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// How many partitions they ask for, all together.
    pub fn partitions(&self) -> usize {
        self.partitions
    }

    /// How many had to go for others.
    pub fn evictions(&self) -> u64 {
        self.evictions
    }

    /// Takes a request (`FetchManager.newContext`). `named` becomes all that it asks for. Each epoch of a session is taken
    /// once, so that a request that comes twice counts once.
    ///
    /// # Errors
    /// `FETCH_SESSION_ID_NOT_FOUND`, `INVALID_FETCH_SESSION_EPOCH`, and `FETCH_SESSION_TOPIC_ID_ERROR` when a session that
    /// began with names goes on with ids, or the other way round.
    pub fn begin(
        &mut self,
        (session_id, epoch): (i32, i32),
        by_id: bool,
        named: &mut Vec<(SessionPartition, Asked)>,
        forgotten: &[SessionPartition],
        now: MonotonicMillis,
    ) -> Result<Turn, ErrorCode> {
        if epoch == INITIAL_EPOCH || epoch == FINAL_EPOCH {
            self.remove(session_id);
            return Ok(if epoch == INITIAL_EPOCH { Turn::Opening } else { Turn::Sessionless });
        }
        let session = self.sessions.get_mut(&session_id).ok_or(ErrorCode::FetchSessionIdNotFound)?;
        if session.epoch != epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        if session.by_id != by_id {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        let before = session.places.len();
        for (of, asked) in named.iter() {
            session.put(of.clone(), *asked, None);
        }
        forgotten.iter().for_each(|of| session.forget(of));
        session.last_used = now;
        session.epoch = epoch.checked_add(1).unwrap_or(1);
        let (epoch, after) = (session.epoch, session.places.len());
        self.partitions = self.partitions - before + after;
        if after == 0 {
            self.remove(session_id);
            return Ok(Turn::Sessionless);
        }
        if self.partitions > self.partitions_max {
            self.remove(session_id);
            return Err(ErrorCode::FetchSessionIdNotFound);
        }
        named.clear();
        named.extend(self.sessions[&session_id].partitions.values().map(|cached| (cached.of.clone(), cached.asked)));
        Ok(Turn::Incremental { session_id, epoch })
    }

    /// Keeps what a whole request asked for and was told, under the first of `ids` that is free. Returns the session's id,
    /// or 0 if there is no room (`FetchSessionCache.maybeCreateSession`).
    pub fn open(
        &mut self,
        privileged: bool,
        by_id: bool,
        asked: impl IntoIterator<Item = (SessionPartition, Asked, Result<Told, ErrorCode>)>,
        now: MonotonicMillis,
        mut ids: impl FnMut() -> i32,
    ) -> i32 {
        let mut session = Session {
            privileged,
            by_id,
            epoch: INITIAL_EPOCH + 1,
            created: now,
            last_used: now,
            partitions: BTreeMap::new(),
            places: BTreeMap::new(),
            next_place: 0,
        };
        for (of, asked, told) in asked {
            let told = told.ok().map(|told| (told.high_watermark, told.log_start_offset));
            session.put(of, asked, told);
        }
        let size = session.places.len();
        if size == 0 || self.partitions + size > self.partitions_max || !self.make_room(privileged, size, now) {
            return 0;
        }
        let mut id = ids();
        while id <= 0 || self.sessions.contains_key(&id) {
            id = ids();
        }
        self.partitions += size;
        self.sessions.insert(id, session);
        id
    }

    /// What of an incremental answer is sent: of each partition, in the order given, whether. Nothing if the session is gone
    /// or has gone on (`IncrementalFetchContext.updateAndGenerateResponseData`).
    pub fn select(
        &mut self,
        session_id: i32,
        epoch: i32,
        told: impl IntoIterator<Item = (SessionPartition, Result<Told, ErrorCode>)>,
    ) -> Option<Vec<bool>> {
        let session = self.sessions.get_mut(&session_id).filter(|session| session.epoch == epoch)?;
        Some(told.into_iter().map(|(of, told)| session.tell(&of, told)).collect())
    }

    fn remove(&mut self, session_id: i32) {
        if let Some(session) = self.sessions.remove(&session_id) {
            self.partitions -= session.places.len();
        }
    }

    /// Whether there is a free slot, or one can be freed: of a session that has been idle for long; else of the least worth
    /// one, if the new one is worth more. A follower's is worth more than a consumer's, then one with more partitions; one
    /// that is young stays, but a consumer's for a follower's (`FetchSessionCache.tryEvict`).
    fn make_room(&mut self, privileged: bool, size: usize, now: MonotonicMillis) -> bool {
        if self.sessions.len() < self.slots {
            return true;
        }
        let older = |since: MonotonicMillis| now.since(since) > EVICTION_MS;
        let stalest = self.sessions.iter().min_by_key(|(id, session)| (session.last_used, **id));
        let stale = stalest.filter(|(_, session)| older(session.last_used)).map(|(id, _)| *id);
        let evictable = |session: &Session| older(session.created) || (privileged && !session.privileged);
        let worth = |(id, session): (&i32, &Session)| (session.privileged, session.places.len(), *id);
        let least = || self.sessions.iter().filter(|(_, session)| evictable(session)).map(worth).min();
        let lesser =
            || least().filter(|(its_privileged, its_size, _)| (*its_privileged, *its_size) < (privileged, size));
        let evicted = stale.or_else(|| lesser().map(|(.., id)| id));
        let Some(evicted) = evicted else { return false };
        self.remove(evicted);
        self.evictions += 1;
        true
    }
}

#[cfg(test)]
mod tests;
