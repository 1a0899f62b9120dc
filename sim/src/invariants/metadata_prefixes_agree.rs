//! Pure. No. 5: every node applies the same metadata record at the same offset, and every image, by snapshot or by records, is
//! what the records before it make.

use super::Invariant;
use crate::{
    ledger::Ledger,
    observed::{Fact, Observed},
};
use broker::event::ReplicaEvent;
use controller::event::ControllerEvent;
use metadata::record::Record;
use protocol::ids::{BrokerId, MetadataOffset};
use std::{collections::BTreeMap, sync::Arc};

/// See the module.
#[derive(Default)]
pub struct MetadataPrefixesAgree {
    records: BTreeMap<MetadataOffset, (BrokerId, Arc<Record>)>,
}

impl Invariant for MetadataPrefixesAgree {
    fn name(&self) -> &'static str {
        "metadata_prefixes_agree"
    }

    fn claim(&self) -> &'static str {
        "5: all nodes apply the same metadata in the same order"
    }

    fn check(&mut self, ledger: &mut Ledger, observed: &Observed<'_>) -> Result<(), String> {
        let broker = observed.broker;
        match observed.fact {
            Fact::Controller(ControllerEvent::Applied { offset, record })
            | Fact::Replica(ReplicaEvent::MetadataApplied { offset, record }) => {
                let (first, known) = self.records.entry(*offset).or_insert_with(|| (broker, Arc::clone(record)));
                if known != record {
                    return Err(format!("metadata offset {offset} is {known:?} on {first} and {record:?} on {broker}"));
                }
                Ok(())
            }
            Fact::Controller(ControllerEvent::SnapshotInstalled { next, digest })
            | Fact::Replica(
                ReplicaEvent::MetadataSnapshot { next, digest } | ReplicaEvent::MetadataImage { next, digest },
            ) => match ledger.image_at(*next) {
                Some(image) if image.digest() != *digest => {
                    Err(format!("the image before metadata offset {next} on {broker} is not what the records make"))
                }
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::stories::Story, *};

    #[test]
    fn another_record_at_the_same_offset_is_found() {
        let applied = |level| ReplicaEvent::MetadataApplied {
            offset: MetadataOffset(0),
            record: Arc::new(Record::FeatureLevel { name: "metadata.version".into(), level }),
        };
        let story = || Story::new(MetadataPrefixesAgree::default()).replica(1, applied(1));
        assert!(story().replica(2, applied(1)).verdict.is_ok());
        assert!(story().replica(2, applied(2)).verdict.is_err());
    }

    #[test]
    fn an_image_that_is_not_what_the_records_make_is_found() {
        let story = || Story::new(MetadataPrefixesAgree::default()).cluster();
        let (next, digest) = (story().ledger.image.offset(), story().ledger.image.digest());
        assert!(story().replica(2, ReplicaEvent::MetadataImage { next, digest }).verdict.is_ok());
        assert!(story().replica(2, ReplicaEvent::MetadataImage { next, digest: digest ^ 1 }).verdict.is_err());
    }
}
