//! Claims about who lives.

use super::super::stories::{Story, TIMEOUT, incarnation};
use super::*;

const SILENT: bool = false;
const REFUSED: bool = true;

fn fence(story: &Story, id: i32, refused: bool) -> SessionEffect {
    SessionEffect::Fence { broker_id: BrokerId(id), broker_epoch: BrokerEpoch(story.epoch(id)), refused }
}

fn probe(story: &Story, id: i32) -> SessionEffect {
    SessionEffect::Probe { broker_id: BrokerId(id), broker_epoch: BrokerEpoch(story.epoch(id)) }
}

fn broke(story: &mut Story, id: i32) -> Option<SessionEffect> {
    story.control.sessions_mut().connection_broken(BrokerId(id))
}

fn probed(story: &mut Story, id: i32, answer: ProbeAnswer) -> Option<SessionEffect> {
    let (epoch, now) = (BrokerEpoch(story.epoch(id)), story.now);
    story.control.sessions_mut().probed(BrokerId(id), epoch, answer, now)
}

#[test]
fn a_silent_broker_is_taken_for_dead_after_the_timeout_and_not_before() {
    let mut story = Story::with_brokers(&[], 2);
    assert_eq!(story.control.sessions().next_deadline(), Some(MonotonicMillis(TIMEOUT)));
    assert_eq!(story.wait(TIMEOUT - 1), []);
    story.beat(2);
    assert_eq!(story.wait(1), [fence(&story, 1, SILENT)]);
    story.fence(1);
    assert_eq!(story.control.sessions().next_deadline(), Some(MonotonicMillis(2 * TIMEOUT - 1)), "only 2 is left");
}

#[test]
fn a_fenced_broker_has_nothing_to_lose() {
    let mut story = Story::new(&[]);
    story.register(1, 1, None);
    assert_eq!(story.control.sessions().next_deadline(), None);
    assert_eq!(story.wait(10 * TIMEOUT), []);
}

#[test]
fn a_fence_that_did_not_come_about_is_asked_for_again() {
    let mut story = Story::with_brokers(&[], 1);
    assert_eq!(story.wait(TIMEOUT), [fence(&story, 1, SILENT)]);
    assert_eq!(story.wait(1), []);
    assert_eq!(story.wait(TIMEOUT), [fence(&story, 1, SILENT)]);
}

#[test]
fn two_refused_connects_are_a_death() {
    let mut story = Story::with_brokers(&[], 1);
    assert_eq!(broke(&mut story, 1), Some(probe(&story, 1)));
    assert_eq!(probed(&mut story, 1, ProbeAnswer::Refused), None);
    assert_eq!(story.control.sessions().next_deadline(), Some(MonotonicMillis(PROBE_AGAIN_MS)));
    assert_eq!(story.wait(PROBE_AGAIN_MS - 1), []);
    assert_eq!(story.wait(1), [probe(&story, 1)]);
    assert_eq!(probed(&mut story, 1, ProbeAnswer::Refused), Some(fence(&story, 1, REFUSED)));
}

#[test]
fn a_broker_that_is_dead_by_evidence_may_register_again_at_once() {
    let mut story = Story::with_brokers(&[], 1);
    broke(&mut story, 1);
    probed(&mut story, 1, ProbeAnswer::Refused);
    story.wait(PROBE_AGAIN_MS);
    assert_ne!(story.register(1, 2, None).error_code, 0);
    probed(&mut story, 1, ProbeAnswer::Refused);
    assert_eq!(story.register(1, 2, None).error_code, 0);
}

#[test]
fn who_answers_after_a_refusal_lives() {
    let mut story = Story::with_brokers(&[], 1);
    broke(&mut story, 1);
    probed(&mut story, 1, ProbeAnswer::Refused);
    story.wait(PROBE_AGAIN_MS);
    let alive = ProbeAnswer::Alive { incarnation_id: IncarnationId(incarnation(1, 1)) };
    assert_eq!(probed(&mut story, 1, alive), None);
    assert_eq!(story.wait(1_000), []);
}

#[test]
fn who_cannot_be_asked_is_asked_again_until_the_session_ends() {
    let mut story = Story::with_brokers(&[], 1);
    broke(&mut story, 1);
    for _ in 1..TIMEOUT / PROBE_AGAIN_MS {
        assert_eq!(probed(&mut story, 1, ProbeAnswer::Unreachable), None, "a cut network is no death");
        assert_eq!(story.wait(PROBE_AGAIN_MS), [probe(&story, 1)]);
    }
    probed(&mut story, 1, ProbeAnswer::Unreachable);
    assert_eq!(story.wait(PROBE_AGAIN_MS), [fence(&story, 1, SILENT)]);
    assert_eq!(story.wait(PROBE_AGAIN_MS), []);
}

#[test]
fn a_process_that_broke_off_a_probe_while_it_ended_is_still_found_dead() {
    let mut story = Story::with_brokers(&[], 1);
    broke(&mut story, 1);
    assert_eq!(probed(&mut story, 1, ProbeAnswer::Unreachable), None);
    story.wait(PROBE_AGAIN_MS);
    assert_eq!(probed(&mut story, 1, ProbeAnswer::Refused), None);
    story.wait(PROBE_AGAIN_MS);
    assert_eq!(probed(&mut story, 1, ProbeAnswer::Refused), Some(fence(&story, 1, REFUSED)));
}

#[test]
fn a_fenced_broker_that_cannot_be_asked_is_left_alone_after_a_timeout() {
    let mut story = Story::new(&[]);
    story.register(1, 1, None);
    broke(&mut story, 1);
    story.wait(TIMEOUT);
    assert_eq!(probed(&mut story, 1, ProbeAnswer::Unreachable), None);
    assert_eq!(story.wait(1_000), []);
}

#[test]
fn a_heartbeat_clears_a_suspicion() {
    let mut story = Story::with_brokers(&[], 1);
    broke(&mut story, 1);
    probed(&mut story, 1, ProbeAnswer::Refused);
    story.beat(1);
    assert_eq!(story.wait(PROBE_AGAIN_MS), []);
    broke(&mut story, 1);
    story.beat(1);
    assert_eq!(probed(&mut story, 1, ProbeAnswer::Refused), None, "the probe was older than the heartbeat");
}

#[test]
fn another_incarnation_at_the_same_place_is_a_death() {
    let mut story = Story::with_brokers(&[], 1);
    broke(&mut story, 1);
    let other = ProbeAnswer::Alive { incarnation_id: IncarnationId(incarnation(1, 2)) };
    assert_eq!(probed(&mut story, 1, other), Some(fence(&story, 1, REFUSED)));
}

#[test]
fn a_broker_is_probed_once_at_a_time() {
    let mut story = Story::with_brokers(&[], 1);
    assert!(broke(&mut story, 1).is_some());
    assert_eq!(broke(&mut story, 1), None);
    assert_eq!(broke(&mut story, 9), None, "nobody knows 9");
}

#[test]
fn the_answer_to_a_probe_of_an_earlier_life_is_nothing() {
    let mut story = Story::with_brokers(&[], 1);
    let old = BrokerEpoch(story.epoch(1));
    broke(&mut story, 1);
    story.restart(1, 2, None);
    let now = story.now;
    let sessions = story.control.sessions_mut();
    assert_eq!(sessions.probed(BrokerId(1), old, ProbeAnswer::Refused, now), None);
}

#[test]
fn a_new_active_controller_gives_everybody_a_whole_timeout_and_probes_everybody_at_once() {
    let mut story = Story::with_brokers(&[], 2);
    story.now = MonotonicMillis(1_000_000);
    let (image, now) = (story.image.clone(), story.now);
    assert_eq!(story.control.activate(&image, now), [probe(&story, 1), probe(&story, 2)]);
    assert_eq!(story.wait(TIMEOUT - 1), []);
    assert_eq!(story.wait(1), [fence(&story, 1, SILENT), fence(&story, 2, SILENT)]);
}

#[test]
fn a_registration_that_is_not_applied_yet_lives() {
    let story = Story::with_brokers(&[], 1);
    let sessions = story.control.sessions();
    let pending = BrokerEpoch(story.image.offset().0);
    assert!(sessions.is_live(BrokerId(2), pending, story.now));
    assert!(!sessions.is_live(BrokerId(2), BrokerEpoch(0), story.now));
}

#[test]
fn all_passed_asks_active_brokers_only() {
    let mut story = Story::with_brokers(&[], 3);
    let end = MetadataOffset(story.image.offset().0 - 1);
    let all_passed = |story: &Story| story.control.sessions().all_passed(&story.image, end);
    assert!(!all_passed(&story), "1 and 2 said so before 3 was unfenced");
    story.beat(1);
    assert!(!all_passed(&story));
    story.beat(3);
    story.fence(2);
    assert!(all_passed(&story));
}
