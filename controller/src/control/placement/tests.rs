//! Claims about where replicas go.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn brokers(racks: &[(i32, Option<&str>, bool)]) -> Vec<UsableBroker> {
    let broker = |(id, rack, fenced): &(i32, Option<&str>, bool)| UsableBroker {
        id: BrokerId(*id),
        rack: rack.map(str::to_owned),
        fenced: *fenced,
    };
    racks.iter().map(broker).collect()
}

fn shown(placed: Vec<Vec<BrokerId>>) -> String {
    let line = |replicas: Vec<BrokerId>| replicas.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    placed.into_iter().map(line).collect::<Vec<_>>().join("  ")
}

#[test]
fn partitions_are_striped_over_the_racks() {
    let brokers = brokers(&[
        (1, Some("a"), false),
        (2, Some("a"), false),
        (3, Some("b"), false),
        (4, Some("b"), false),
        (5, Some("c"), false),
        (6, Some("c"), false),
    ]);
    insta::assert_snapshot!(shown(place(&brokers, 1, 6, 3).expect("there are enough")), @"6,1,3  2,4,5  3,6,1  5,2,4  1,3,6  4,5,2");
}

#[test]
fn a_fenced_broker_comes_last_and_never_leads() {
    let brokers = brokers(&[(1, None, false), (2, None, true), (3, None, false)]);
    for replicas in place(&brokers, 7, 20, 3).expect("there are enough") {
        assert_eq!(replicas.last(), Some(&BrokerId(2)));
    }
    for replicas in place(&brokers, 7, 20, 2).expect("there are enough") {
        assert!(!replicas.contains(&BrokerId(2)));
    }
}

#[test]
fn what_cannot_be_placed_is_refused_in_kafkas_words() {
    let refusal =
        |racks, replication_factor| place(&brokers(racks), 1, 1, replication_factor).expect_err("refused").to_string();
    let refusals = [
        refusal(&[(1, None, false)], 0),
        refusal(&[(1, None, false)], 2),
        refusal(&[(1, None, true)], 1),
        refusal(&[], 1),
    ];
    insta::assert_snapshot!(refusals.join("\n"), @"
    Invalid replication factor 0: the replication factor must be positive.
    The target replication factor of 2 cannot be reached because only 1 broker(s) are registered.
    All brokers are currently fenced.
    All brokers are currently fenced.
    ");
}

proptest! {
    #[test]
    fn replicas_are_distinct_spread_over_racks_and_led_by_unfenced_brokers(
        racks in prop::collection::vec((0..4_u8, any::<bool>()), 1..12),
        seed: u64,
        partitions in 1..40_usize,
        replication_factor in 1..6_i16,
    ) {
        let brokers: Vec<UsableBroker> = (1..).zip(&racks).map(|(id, (rack, fenced))| UsableBroker {
            id: BrokerId(id),
            rack: Some(rack.to_string()),
            fenced: *fenced,
        }).collect();
        let find = |id: BrokerId| brokers.iter().find(|broker| broker.id == id).expect("a placed broker exists");
        let Ok(placed) = place(&brokers, seed, partitions, replication_factor) else {
            let enough = brokers.len() >= replication_factor as usize && brokers.iter().any(|broker| !broker.fenced);
            prop_assert!(!enough);
            return Ok(());
        };
        prop_assert_eq!(placed.len(), partitions);
        let all_racks: BTreeSet<_> = brokers.iter().map(|broker| &broker.rack).collect();
        for replicas in &placed {
            prop_assert_eq!(replicas.len(), replication_factor as usize);
            prop_assert_eq!(replicas.iter().collect::<BTreeSet<_>>().len(), replicas.len());
            prop_assert!(!find(replicas[0]).fenced);
            let used: BTreeSet<_> = replicas.iter().map(|id| &find(*id).rack).collect();
            prop_assert_eq!(used.len(), all_racks.len().min(replicas.len()), "racks of {:?}", replicas);
        }
        prop_assert_eq!(place(&brokers, seed, partitions, replication_factor), Ok(placed));
    }

    #[test]
    fn leaders_are_spread_evenly_without_racks(count in 1..8_i32, seed: u64) {
        let brokers: Vec<UsableBroker> = (1..=count).map(|id| UsableBroker { id: BrokerId(id), rack: None, fenced: false }).collect();
        let placed = place(&brokers, seed, count as usize * 3, 1).expect("there are enough");
        for broker in &brokers {
            prop_assert_eq!(placed.iter().filter(|replicas| replicas[0] == broker.id).count(), 3);
        }
    }
}
