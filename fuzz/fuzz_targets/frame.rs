//! Bytes of a connection: frames, headers, the guard, and the codec behind it, on every plane; and as a response.
#![no_main]

#[path = "../../protocol/tests/golden/dispatch.rs"]
mod dispatch;

use bytes::BytesMut;
use dispatch::{request_again, response_again};
use libfuzzer_sys::fuzz_target;
use protocol::api::{API_TABLE, Plane};
use protocol::frame::{FrameReader, parse_request_head};

fuzz_target!(|data: &[u8]| {
    let reader = FrameReader::new(1 << 20);
    let mut buffer = BytesMut::from(data);
    while let Ok(Some(frame)) = reader.next(&mut buffer) {
        for plane in [Plane::Client, Plane::InterBroker, Plane::Controller] {
            if let Ok(head) = parse_request_head(frame.clone(), plane) {
                let _ = request_again(&head);
            }
        }
        // The length of the frame picks whose response it is taken for.
        let api = &API_TABLE[frame.len() % API_TABLE.len()];
        for version in api.min..=api.max {
            let _ = response_again(api.key.0, version, frame.clone());
        }
    }
});
