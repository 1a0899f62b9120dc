//! Requests of one API, or their answers, take long on one node, and all else goes on: the races that Kafka knows need one
//! answer that is late, not a link that is.
//!
//! Requests are held where they leave, answers where they arrive. Either may come after what was asked later on the same
//! connection; whoever asked may have given up.

use super::{Begun, Ended, Fault, Kind, Target};
use crate::{event::Impairs, world::World};
use protocol::api::{self, ApiKey};
use runtime::hold::Held;

/// The APIs by which brokers speak to controllers and to each other: what the swarm holds back.
pub const APIS: [&str; 4] = ["AlterPartition", "Fetch", "BrokerHeartbeat", "MetadataFetch"];

/// Requests are held back.
pub const REQUESTS: Kind = Kind {
    name: "hold-requests",
    about: "a broker's requests of one API leave late; the strength is the delay in milliseconds",
    make: |target| Box::new(Hold { target, at: Held::Leaving }),
    strength: Some((50, 3_000)),
    lasts_ms_max: 10_000,
};

/// Answers are held back.
pub const ANSWERS: Kind = Kind {
    name: "hold-answers",
    about: "the answers to a broker's requests of one API arrive late; the strength is the delay in milliseconds",
    make: |target| Box::new(Hold { target, at: Held::Arriving }),
    strength: Some((50, 3_000)),
    lasts_ms_max: 10_000,
};

/// The key of the API with this name.
pub fn key(name: &str) -> Option<ApiKey> {
    api::API_TABLE.iter().find(|api| api.name == name).map(|api| api.key)
}

fn name(key: ApiKey) -> &'static str {
    api::find(key).map_or("unknown", |api| api.name)
}

struct Hold {
    target: Target,
    at: Held,
}

impl Hold {
    fn api(&self) -> ApiKey {
        self.target.api.expect("the scenario was checked")
    }
}

impl Fault for Hold {
    fn begin(&mut self, world: &mut World) -> Begun {
        let (api, delay_ms) = (self.api(), self.target.strength.unwrap_or(1_000));
        world.hold(self.target.node, self.at, api, Some(delay_ms));
        let what = match self.at {
            Held::Leaving => "requests",
            Held::Arriving => "answers",
        };
        Begun::Yes(format!("hold {} {what} of {} for {delay_ms} ms", name(api), self.target.node))
    }

    fn end(&mut self, world: &mut World) -> Ended {
        world.hold(self.target.node, self.at, self.api(), None);
        Ended::Yes
    }

    fn impairs(&self, _world: &World) -> Impairs {
        Impairs::Nodes(vec![self.target.node])
    }
}
