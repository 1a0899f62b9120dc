//! Pure. What clients asked and were told, counted: the figures at the end of a story.

use crate::event::ClientEvent;
use std::fmt;

/// See the module. `sent = acknowledged + refused + unknown` once every client has stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Records handed to a producer.
    pub sent: u64,
    /// Records that were acknowledged.
    pub acknowledged: u64,
    /// Records that were refused for certain.
    pub refused: u64,
    /// Records of which nobody knows.
    pub unknown: u64,
    /// Records that readers received while the faults ran.
    pub polled: u64,
    /// Records that the final drain read.
    pub drained: u64,
}

impl History {
    /// Counts one event.
    pub fn count(&mut self, event: &ClientEvent) {
        match event {
            ClientEvent::SendInvoked { .. } => self.sent += 1,
            ClientEvent::SendAcknowledged { .. } => self.acknowledged += 1,
            ClientEvent::SendRefused { .. } => self.refused += 1,
            ClientEvent::SendUnknown { .. } => self.unknown += 1,
            ClientEvent::Polled { reader: ClientEvent::DRAIN, .. } => self.drained += 1,
            ClientEvent::Polled { .. } => self.polled += 1,
            ClientEvent::PolledForeign { .. }
            | ClientEvent::GotDamaged { .. }
            | ClientEvent::DeletionInvoked { .. }
            | ClientEvent::DeletionAcknowledged { .. } => {}
        }
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sent, acknowledged, refused, unknown, polled, drained } = self;
        write!(
            f,
            "sent {sent}  acknowledged {acknowledged}  refused {refused}  unknown {unknown}  polled {polled}  drained {drained}"
        )
    }
}
