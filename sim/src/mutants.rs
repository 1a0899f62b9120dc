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
        id: "Z02",
        name: "no-epoch-in-divergence",
        source: "KIP-279, KAFKA-6361",
        about: "a leader tells where an epoch ends without saying which epoch it speaks of",
        expected: &[
            "prefixes_agree",
            "isr_covers_high_watermark",
            "leader_is_complete",
            "high_watermark_is_covered",
            "one_leader_per_epoch",
            "no_truncation_of_committed",
            "settles",
        ],
        seeds_max: 1000,
    },
    Mutant {
        id: "Z03",
        name: "unfenced-fetch",
        source: "KIP-320",
        about: "a leader counts a follower's fetch in whatever leader epoch it was sent",
        expected: &[
            "high_watermark_is_covered",
            "isr_covers_high_watermark",
            "leader_is_complete",
            "prefixes_agree",
            "acked_is_kept",
        ],
        seeds_max: 2000,
    },
    Mutant {
        id: "Z04",
        name: "isr-join-below-leso",
        source: "KAFKA-7128",
        about: "a follower joins the in-sync replicas below the first offset of the leader's epoch",
        expected: &["isr_covers_high_watermark", "leader_is_complete", "acked_is_kept", "unclean_is_excluded"],
        seeds_max: 1000,
    },
    Mutant {
        id: "Z05",
        name: "no-maximal-isr",
        source: "KIP-497",
        about: "the high watermark does not wait for a replica whose joining is in flight",
        expected: &[
            "maximal_isr_is_superset",
            "high_watermark_is_covered",
            "isr_covers_high_watermark",
            "leader_is_complete",
            "acked_is_kept",
        ],
        seeds_max: 2000,
    },
    Mutant {
        id: "Z06",
        name: "hw-below-minisr",
        source: "KAFKA-15583",
        about: "the high watermark moves while fewer than min.insync.replicas are in sync",
        expected: &["high_watermark_is_covered", "isr_covers_high_watermark", "leader_is_complete"],
        seeds_max: 200,
    },
    Mutant {
        id: "Z07",
        name: "last-replica-standing",
        source: "KIP-966",
        about: "a broker that starts again after a crash stays eligible as a leader",
        expected: &["unclean_is_excluded", "isr_covers_high_watermark", "leader_is_complete", "acked_is_kept"],
        seeds_max: 1000,
    },
    Mutant {
        id: "Z08",
        name: "stale-broker-epoch",
        source: "KIP-903",
        about: "what an earlier life of a broker had fetched counts for the present one",
        expected: &["unclean_is_excluded", "isr_covers_high_watermark", "leader_is_complete", "acked_is_kept"],
        seeds_max: 2000,
    },
    Mutant {
        id: "Z09",
        name: "fenced-joins-isr",
        source: "KIP-841, KAFKA-13916",
        about: "a fenced broker, or one that shuts down, may join the in-sync replicas",
        expected: &["fenced_leads_nothing"],
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
        id: "Z12",
        name: "stray-replica",
        source: "KAFKA-14616",
        about: "the log of a deleted topic is taken for that of a new topic with its name",
        expected: &["log_is_its_topics", "prefixes_agree", "isr_covers_high_watermark", "high_watermark_is_covered"],
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
        id: "Z18",
        name: "retention-past-hw",
        source: "KAFKA-5634",
        about: "retention deletes what is not committed",
        expected: &["deletion_is_allowed", "high_watermark_is_covered", "acked_is_kept", "panic"],
        seeds_max: 200,
    },
    Mutant {
        id: "Z20",
        name: "crash-in-recovery-is-clean",
        source: "KAFKA-10471",
        about: "the mark of a clean stop is left while the broker serves already",
        expected: &[
            "unclean_is_recovered",
            "recovery_keeps_synced",
            "no_truncation_of_committed",
            "unclean_is_excluded",
            "isr_covers_high_watermark",
            "leader_is_complete",
            "panic",
            "settles",
        ],
        seeds_max: 2000,
    },
    Mutant {
        id: "Z21",
        name: "move-ends-early",
        source: "KAFKA-15665",
        about: "a move of replicas is over once those that come are in sync, whoever else stays",
        expected: &["reassignment_ends_in_sync", "unclean_election_is_declared"],
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
    Mutant {
        id: "S03",
        name: "epochs-kept-on-truncation",
        source: "smoke",
        about: "a log that is cut keeps the leader epochs of what it lost",
        expected: &["epochs_are_the_logs", "prefixes_agree", "panic"],
        seeds_max: 200,
    },
    Mutant {
        id: "S04",
        name: "reads-past-hw",
        source: "smoke",
        about: "a consumer is given what is not committed",
        expected: &["reads_are_committed", "one_value_per_offset", "polls_in_order"],
        seeds_max: 20,
    },
    Mutant {
        id: "S05",
        name: "refused-after-append",
        source: "smoke",
        about: "a produce is refused for too few in sync after it was appended",
        expected: &["refused_is_never_seen"],
        seeds_max: 1000,
    },
    Mutant {
        id: "S06",
        name: "out-of-range-past-hw",
        source: "KIP-207",
        about: "a new leader calls a reader out of range that is ahead of its high watermark",
        expected: &["out_of_range_is_true"],
        seeds_max: 1000,
    },
    Mutant {
        id: "S07",
        name: "one-step-back",
        source: "smoke",
        about: "a follower that differs from its leader goes back one record a round",
        expected: &["truncation_ends"],
        seeds_max: 200,
    },
    Mutant {
        id: "S08",
        name: "deleted-on-the-leader",
        source: "KIP-107",
        about: "a deletion is acknowledged before followers have heard of it",
        expected: &["deletion_is_allowed"],
        seeds_max: 1000,
    },
    Mutant {
        id: "S09",
        name: "answer-before-commit",
        source: "smoke",
        about: "a controller answers before its decision is committed",
        expected: &["nothing_is_uncommitted"],
        seeds_max: 20,
    },
    Mutant {
        id: "S10",
        name: "lost-metadata-record",
        source: "smoke",
        about: "a broker loses one of several metadata records that come at once",
        expected: &["metadata_prefixes_agree", "nothing_is_uncommitted", "panic"],
        seeds_max: 20,
    },
    Mutant {
        id: "S11",
        name: "answer-outruns-metadata",
        source: "KIP-966",
        about: "a leader takes a smaller in-sync set before it has heard of a larger min.insync.replicas",
        expected: &[
            "isr_covers_high_watermark",
            "high_watermark_is_covered",
            "leader_is_complete",
            "acknowledged_is_replicated",
        ],
        seeds_max: 1000,
    },
    Mutant {
        id: "S12",
        name: "waits-for-ever",
        source: "smoke",
        about: "a produce with acks=all is answered once the in-sync replicas have it, however late that is",
        expected: &["waits_end"],
        seeds_max: 200,
    },
];

/// The mutant with this id or name.
pub fn find(words: &str) -> Option<&'static Mutant> {
    ALL.iter().find(|mutant| mutant.id.eq_ignore_ascii_case(words) || mutant.name == words)
}
