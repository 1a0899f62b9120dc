//! Pure. No. 68, the other way round: a replica that is found damaged has rotted. Whoever takes a sound replica for a damaged one
//! hides another mistake by copying it anew, such as an end of an epoch that was told wrongly (KIP-279).

use super::Invariant;
use crate::{
    ledger::Ledger,
    observed::{Fact, Observed},
};
use broker::event::ReplicaEvent;

/// See the module.
pub struct DamageIsNeverInvented;

impl Invariant for DamageIsNeverInvented {
    fn name(&self) -> &'static str {
        "damage_is_never_invented"
    }

    fn claim(&self) -> &'static str {
        "68: a replica is found damaged only where something rotted"
    }

    fn check(&mut self, ledger: &mut Ledger, observed: &Observed<'_>) -> Result<(), String> {
        let Fact::Replica(ReplicaEvent::Damaged { partition }) = observed.fact else { return Ok(()) };
        if ledger.has_rotted(observed.broker, *partition) {
            return Ok(());
        }
        Err(format!("{partition}: broker {} finds its replica damaged, and nothing rotted there", observed.broker))
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::stories::{Story, orders},
        *,
    };
    use crate::event::WorldEvent;
    use protocol::ids::Offset;
    use storage::event::Origin;

    #[test]
    fn a_sound_replica_that_is_called_damaged_is_found() {
        let found = |broker: i32| {
            let story = Story::new(DamageIsNeverInvented).append(1, 0, 0, 9, Origin::Leader);
            let story = story.world(WorldEvent::Rotted { broker: 1, partition: orders(), offset: Offset(0) });
            story.replica(broker, ReplicaEvent::Damaged { partition: orders() }).verdict
        };
        assert!(found(1).is_ok());
        assert!(found(2).is_err());
    }
}
