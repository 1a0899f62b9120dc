//! Pure. The bug zoo: historic bugs that the code can be told to have again, at the one place where each lived.
//!
//! Each is read through `runtime::mutant!` and is absent from the build that users deploy. A search that does not find
//! them is worth nothing, so `gregor sim selftest` looks for each.

/// A mutant.
#[derive(Clone, Copy, Debug)]
pub struct Mutant {
    /// Its id, as `mutant!` names it.
    pub id: &'static str,
    /// Its short name.
    pub name: &'static str,
    /// Where the bug lived.
    pub source: &'static str,
    /// What it does.
    pub about: &'static str,
    /// The invariants that are expected to catch it.
    pub expected: &'static [&'static str],
    /// Seeds within which it must be caught.
    pub seeds_max: u64,
}

/// Every mutant that what is built allows.
pub const ALL: &[Mutant] = &[
    Mutant {
        id: "Z01",
        name: "truncate-to-hw",
        source: "KIP-101",
        about: "a new follower cuts its log to its own high watermark before it fetches",
        expected: &[
            "no_truncation_of_committed",
            "leader_is_complete",
            "isr_covers_high_watermark",
            "high_watermark_is_covered",
            "acked_is_kept",
        ],
        seeds_max: 200,
    },
    Mutant {
        id: "Z04",
        name: "isr-join-below-leso",
        source: "KAFKA-7128",
        about: "a follower joins the in-sync replicas below the first offset of the leader's epoch",
        expected: &["isr_covers_high_watermark", "leader_is_complete", "acked_is_kept"],
        seeds_max: 1000,
    },
    Mutant {
        id: "Z10",
        name: "ack-after-stepdown",
        source: "Redpanda #3003",
        about: "a leader that steps down acknowledges waiting records that are still in its log",
        expected: &["acknowledged_is_replicated", "acked_is_kept", "one_value_per_offset"],
        seeds_max: 200,
    },
    Mutant {
        id: "Z11",
        name: "hw-not-reevaluated",
        source: "KAFKA-13091",
        about: "the high watermark is not looked at when a smaller in-sync set is committed",
        expected: &["progress_under_minority_fault", "settles"],
        seeds_max: 1000,
    },
    Mutant {
        id: "Z13",
        name: "producer-state-not-rebuilt",
        source: "Redpanda #3039, KAFKA-9892",
        about: "after a restart the producer table is the last snapshot's, without a replay of what followed",
        expected: &["producer_sequence", "one_offset_per_value", "send_order", "settles"],
        seeds_max: 1000,
    },
    Mutant {
        id: "S01",
        name: "ack-before-append",
        source: "smoke",
        about: "acks=all is answered before the record is in the log",
        expected: &["acknowledged_is_replicated", "acked_is_kept"],
        seeds_max: 20,
    },
    Mutant {
        id: "S02",
        name: "checkpoint-without-clamp",
        source: "KAFKA-769, KAFKA-3003",
        about: "the high watermark of a restarted replica is the checkpoint's, even beyond its log",
        expected: &["high_watermark_is_covered", "prefixes_agree"],
        seeds_max: 1000,
    },
];

/// The mutant with this id or name.
pub fn find(words: &str) -> Option<&'static Mutant> {
    ALL.iter().find(|mutant| mutant.id.eq_ignore_ascii_case(words) || mutant.name == words)
}
