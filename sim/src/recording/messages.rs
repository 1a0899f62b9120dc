//! Pure. From the bytes of connections to Kafka's messages: which request or response left when, and when it arrived.

use super::{Entry, What};
use protocol::api::{self, ApiKey};
use std::collections::{BTreeMap, VecDeque};

/// One direction of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Way {
    /// The connection's number in the run.
    pub connection: u64,
    /// Who sends.
    pub from: i32,
    /// Who gets it.
    pub to: i32,
}

/// The length of a frame, then of a request the API key, its version and the correlation id; of a response the latter.
const SIZE: usize = 4;
const REQUEST_HEAD: usize = SIZE + 8;
const RESPONSE_HEAD: usize = SIZE + 4;

#[derive(Clone, Debug, Default)]
struct Flow {
    /// What has come of the head of the next frame.
    head: Vec<u8>,
    /// What is still to come of the frame whose head is there.
    left: u64,
    sent: u64,
    delivered: u64,
    /// Messages that have not arrived: where each ends, and which entry it is.
    waiting: VecDeque<(u64, usize)>,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Messages {
    flows: BTreeMap<Way, Flow>,
    /// Who asked for each connection: its requests travel from there.
    askers: BTreeMap<u64, i32>,
    /// The requests that have no response yet: API key and version.
    asked: BTreeMap<(u64, i32), (i16, i16)>,
}

impl Messages {
    /// A connection was made; `way` leads from who asked for it.
    pub fn connected(&mut self, way: Way) {
        self.askers.insert(way.connection, way.from);
    }

    /// Bytes left: messages whose heads are whole become entries.
    pub fn sent(&mut self, at: u64, way: Way, pieces: &[bytes::Bytes], entries: &mut Vec<Entry>) {
        let request = self.askers.get(&way.connection) == Some(&way.from);
        let wanted = if request { REQUEST_HEAD } else { RESPONSE_HEAD };
        for mut rest in pieces.iter().map(|piece| &piece[..]) {
            while !rest.is_empty() {
                let flow = self.flows.entry(way).or_default();
                if flow.left > 0 {
                    let part = flow.left.min(rest.len() as u64);
                    flow.left -= part;
                    flow.sent += part;
                    rest = &rest[part as usize..];
                    continue;
                }
                let part = (wanted - flow.head.len()).min(rest.len());
                flow.head.extend_from_slice(&rest[..part]);
                flow.sent += part as u64;
                rest = &rest[part..];
                if flow.head.len() == wanted {
                    self.begin(at, way, request, entries);
                }
            }
        }
    }

    /// The head of a message is whole.
    fn begin(&mut self, at: u64, way: Way, request: bool, entries: &mut Vec<Entry>) {
        let flow = self.flows.entry(way).or_default();
        let head = std::mem::take(&mut flow.head);
        let number = |at: usize| i32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let short = |at: usize| i16::from_be_bytes([head[at], head[at + 1]]);
        let bytes = SIZE as u64 + number(0).max(0) as u64;
        flow.left = bytes.saturating_sub(head.len() as u64);
        let end = flow.sent + flow.left;
        let (key, version) = if request {
            let of = (short(SIZE), short(SIZE + 2));
            self.asked.insert((way.connection, number(SIZE + 4)), of);
            of
        } else {
            self.asked.remove(&(way.connection, number(SIZE))).unwrap_or((-1, -1))
        };
        let api = api::find(ApiKey(key)).map_or_else(|| format!("API {key}"), |api| api.name.to_owned());
        flow.waiting.push_back((end, entries.len()));
        let what = What::Message { to: way.to, api, version, request, bytes, arrives: None };
        entries.push(Entry { at, node: way.from, what });
    }

    /// Bytes arrived: messages of which all have arrived are told so.
    pub fn delivered(&mut self, at: u64, way: Way, bytes: u64, entries: &mut [Entry]) {
        let Some(flow) = self.flows.get_mut(&way) else { return };
        flow.delivered += bytes;
        while flow.waiting.front().is_some_and(|(end, _)| *end <= flow.delivered) {
            let (_, index) = flow.waiting.pop_front().expect("there is a front");
            if let What::Message { arrives, .. } = &mut entries[index].what {
                *arrives = Some(at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    const THERE: Way = Way { connection: 3, from: 1, to: 2 };
    const BACK: Way = Way { connection: 3, from: 2, to: 1 };

    fn request(key: i16, correlation: i32, body: usize) -> Vec<u8> {
        let mut frame = (8 + body as i32).to_be_bytes().to_vec();
        frame.extend(key.to_be_bytes());
        frame.extend(4i16.to_be_bytes());
        frame.extend(correlation.to_be_bytes());
        frame.resize(frame.len() + body, 7);
        frame
    }

    fn response(correlation: i32, body: usize) -> Vec<u8> {
        let mut frame = (4 + body as i32).to_be_bytes().to_vec();
        frame.extend(correlation.to_be_bytes());
        frame.resize(frame.len() + body, 7);
        frame
    }

    /// API, whether a request, length, and when it arrived.
    fn seen(entries: &[Entry]) -> Vec<(String, bool, u64, Option<u64>)> {
        let message = |entry: &Entry| match &entry.what {
            What::Message { api, request, bytes, arrives, .. } => (api.clone(), *request, *bytes, *arrives),
            other => panic!("{other:?}"),
        };
        entries.iter().map(message).collect()
    }

    #[test]
    fn messages_are_seen_however_their_bytes_are_cut() {
        let all = [request(0, 1, 100), request(1, 2, 0), request(18, 3, 5)].concat();
        for size in 1..all.len() {
            let (mut messages, mut entries) = (Messages::default(), Vec::new());
            messages.connected(THERE);
            for (at, piece) in all.chunks(size).enumerate() {
                messages.sent(at as u64, THERE, &[Bytes::copy_from_slice(piece)], &mut entries);
            }
            let expected = [("Produce", 112), ("Fetch", 12), ("ApiVersions", 17)]
                .map(|(api, bytes)| (api.into(), true, bytes, None));
            assert_eq!(seen(&entries), expected, "in pieces of {size}");
        }
    }

    #[test]
    fn a_response_has_the_name_of_its_request_and_arrives_with_its_last_byte() {
        let (mut messages, mut entries) = (Messages::default(), Vec::new());
        messages.connected(THERE);
        let asked = [Bytes::from(request(1, 9, 30)), Bytes::from(request(0, 10, 1))];
        messages.sent(5, THERE, &asked, &mut entries);
        messages.sent(7, BACK, &[Bytes::from(response(10, 0)), Bytes::from(response(9, 50))], &mut entries);
        messages.delivered(8, BACK, 8, &mut entries);
        messages.delivered(9, BACK, 57, &mut entries);
        let fetch_is_on_its_way = seen(&entries)[3].clone();
        messages.delivered(11, BACK, 1, &mut entries);
        assert_eq!(fetch_is_on_its_way, ("Fetch".into(), false, 58, None));
        assert_eq!(seen(&entries)[2..], [("Produce".into(), false, 8, Some(8)), ("Fetch".into(), false, 58, Some(11))]);
    }
}
