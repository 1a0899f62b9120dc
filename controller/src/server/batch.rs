//! Requests that wait to be decided, and requests that were decided together.

use crate::control::{Control, ControlRequest, ControlResponse};
use metadata::{delta, image::Image, record::Record};
use protocol::{error_code::ErrorCode, ids::MonotonicMillis};
use runtime::sync::oneshot;
use std::collections::VecDeque;

/// How many requests are decided together at most.
const REQUESTS_MAX: usize = 512;
/// From how many records on no further request is decided in the same batch.
const RECORDS_ENOUGH: usize = 10_000;

type Answer = oneshot::Sender<Result<ControlResponse, ErrorCode>>;

/// Requests in the order in which they came. This controller's own come first and have no answer.
#[derive(Debug, Default)]
pub struct Inbox {
    own: VecDeque<ControlRequest>,
    asked: VecDeque<(ControlRequest, Answer)>,
}

impl Inbox {
    /// Takes a request that somebody waits for.
    pub fn push(&mut self, request: ControlRequest, answer: Answer) {
        self.asked.push_back((request, answer));
    }

    /// Takes a request of this controller's own.
    pub fn push_own(&mut self, request: ControlRequest) {
        self.own.push_back(request);
    }

    /// Whether there is nothing to decide.
    pub fn is_empty(&self) -> bool {
        self.own.is_empty() && self.asked.is_empty()
    }

    /// Whether one more request fits into the next batch.
    pub fn takes_more(&self) -> bool {
        self.asked.len() < REQUESTS_MAX
    }

    /// Answers everybody with an error.
    pub fn refuse_all(&mut self, code: ErrorCode) {
        self.own.clear();
        for (_, answer) in self.asked.drain(..) {
            // Whoever asked may have gone.
            let _ = answer.send(Err(code));
        }
    }

    /// The next request that is worth deciding: nobody waits for one whose asker has gone.
    fn pop(&mut self) -> Option<(ControlRequest, Option<Answer>)> {
        if let Some(request) = self.own.pop_front() {
            return Some((request, None));
        }
        loop {
            let (request, answer) = self.asked.pop_front()?;
            if !answer.is_closed() {
                return Some((request, Some(answer)));
            }
        }
    }
}

/// Decisions that stand or fall together.
#[derive(Debug, Default)]
pub struct Batch {
    /// The records of all of them, in order.
    pub records: Vec<Record>,
    answers: Vec<(Answer, ControlResponse)>,
}

impl Batch {
    /// Decides requests one after another, each against the image with the records of those before it.
    pub fn decide(control: &mut Control, mut image: Image, inbox: &mut Inbox, now: MonotonicMillis) -> Self {
        let mut batch = Self { records: Vec::new(), answers: Vec::new() };
        while batch.records.len() < RECORDS_ENOUGH {
            let Some((request, answer)) = inbox.pop() else { break };
            let decision = control.handle(&image, request, now);
            for record in &decision.records {
                let offset = image.offset();
                delta::apply(&mut image, offset, record);
            }
            batch.records.extend(decision.records);
            batch.answers.extend(answer.map(|answer| (answer, decision.response)));
        }
        batch
    }

    /// How many requests wait for this batch.
    pub fn requests(&self) -> usize {
        self.answers.len()
    }

    /// Lets every answer go, or tells everybody the same error instead.
    pub fn answer_all(self, outcome: &Result<(), ErrorCode>) {
        for (answer, response) in self.answers {
            // Whoever asked may have gone meanwhile.
            let _ = answer.send(outcome.map(|()| response));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::ControlSettings;
    use metadata::config::Properties;
    use protocol::{
        ids::TopicId,
        messages::{
            BrokerHeartbeatRequest, BrokerRegistrationRequest, CreateTopicsRequest, StrBytes,
            broker_registration_request::{Feature, Listener},
            create_topics_request::CreatableTopic,
            topic_name,
        },
    };
    use std::sync::Arc;
    use uuid::Uuid;

    const NOW: MonotonicMillis = MonotonicMillis(1_000);

    fn control() -> Control {
        let properties = Arc::new(Properties::new());
        Control::new(ControlSettings { cluster_id: "c".to_owned(), properties, session_timeout_ms: 3_000 })
    }

    fn text(text: &'static str) -> StrBytes {
        StrBytes::from_static_str(text)
    }

    fn registration() -> ControlRequest {
        let listener = Listener::default().with_name(text("PLAINTEXT")).with_host(text("localhost")).with_port(9092);
        let feature = Feature::default().with_name(text("metadata.version")).with_max_supported_version(i16::MAX);
        let request = BrokerRegistrationRequest::default()
            .with_broker_id(1.into())
            .with_cluster_id(text("c"))
            .with_incarnation_id(Uuid::from_u128(1))
            .with_listeners(vec![listener])
            .with_features(vec![feature.with_min_supported_version(1)])
            .with_log_dirs(vec![Uuid::from_u128(1 << 100)]);
        ControlRequest::RegisterBroker(request)
    }

    fn creation(topic_id: u128) -> ControlRequest {
        let topic =
            CreatableTopic::default().with_name(topic_name("t")).with_num_partitions(1).with_replication_factor(1);
        let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(1_000);
        ControlRequest::CreateTopics { request, topic_ids: vec![TopicId(Uuid::from_u128(topic_id))], placement_seed: 0 }
    }

    fn ask(inbox: &mut Inbox, request: ControlRequest) -> oneshot::Receiver<Result<ControlResponse, ErrorCode>> {
        let (answer, answered) = oneshot::channel();
        inbox.push(request, answer);
        answered
    }

    #[test]
    fn a_request_sees_what_was_decided_before_it_in_its_batch() {
        let (mut control, mut inbox) = (control(), Inbox::default());
        let registered = ask(&mut inbox, registration());
        // The registration's epoch is the offset of its record.
        let heartbeat = BrokerHeartbeatRequest::default()
            .with_broker_id(1.into())
            .with_broker_epoch(0)
            .with_current_metadata_offset(9);
        let unfenced = ask(&mut inbox, ControlRequest::Heartbeat(heartbeat));
        let first = ask(&mut inbox, creation(1));
        let second = ask(&mut inbox, creation(2));
        let batch = Batch::decide(&mut control, Image::default(), &mut inbox, NOW);
        assert!(inbox.is_empty() && batch.requests() == 4);
        batch.answer_all(&Ok(()));
        let created = |answered: oneshot::Receiver<_>| match answered.blocking_recv().unwrap() {
            Ok(ControlResponse::CreateTopics(response)) => ErrorCode::from_code(response.topics[0].error_code).unwrap(),
            other => panic!("{other:?}"),
        };
        assert!(
            matches!(registered.blocking_recv().unwrap(), Ok(ControlResponse::RegisterBroker(r)) if r.broker_epoch == 0)
        );
        assert!(matches!(unfenced.blocking_recv().unwrap(), Ok(ControlResponse::Heartbeat(r)) if !r.is_fenced));
        assert_eq!((created(first), created(second)), (ErrorCode::None, ErrorCode::TopicAlreadyExists));
    }

    #[test]
    fn what_nobody_waits_for_is_not_decided() {
        let (mut control, mut inbox) = (control(), Inbox::default());
        drop(ask(&mut inbox, registration()));
        assert_eq!(Batch::decide(&mut control, Image::default(), &mut inbox, NOW).records, []);
    }

    #[test]
    fn a_refused_inbox_is_empty_and_everybody_knows() {
        let mut inbox = Inbox::default();
        let answered = ask(&mut inbox, registration());
        inbox.push_own(ControlRequest::Bootstrap);
        inbox.refuse_all(ErrorCode::NotController);
        assert!(inbox.is_empty());
        assert_eq!(answered.blocking_recv().unwrap(), Err(ErrorCode::NotController));
    }
}
