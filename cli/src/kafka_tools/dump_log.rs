//! `kafka-dump-log` (`kafka.tools.DumpLogSegments`): `gregor log dump` under its other name.

use super::{
    Tool,
    options::{Options, Spec},
};
use crate::{commands::log::Dump, output::Failure};
use std::process::ExitCode;

pub const TOOL: Tool = Tool {
    name: "kafka-dump-log",
    about: "This tool helps to parse a log file and dump its contents to the console, useful for debugging a seemingly corrupt log segment.",
    options: OPTIONS,
    instead: &[
        ("--offsets-decoder", "--print-data-log: records of groups are not decoded"),
        ("--transaction-log-decoder", "--print-data-log: records of transactions are not decoded"),
        ("--cluster-metadata-decoder", "--print-data-log: the metadata log is not in Kafka's format"),
        ("--share-group-state-decoder", "--print-data-log: share groups are not served"),
        ("--remote-log-metadata-decoder", "--print-data-log: there is no tiered storage"),
        ("--key-decoder-class", "--print-data-log: keys are printed as text"),
        ("--value-decoder-class", "--print-data-log: values are printed as text"),
        ("--max-message-size", "nothing: a batch may be as large as 100 MiB"),
    ],
    log: Some("error"),
    run,
};

const OPTIONS: &[Spec] = &[
    Spec::value(&["--files"], "FILE,..", "The files: .log, .index, .timeindex, .txnindex or .snapshot."),
    Spec::flag(&["--print-data-log"], "Print the keys and values of records too."),
    Spec::flag(&["--deep-iteration"], "Print each record of a batch."),
    Spec::flag(&["--skip-record-metadata"], "Leave out offsets, timestamps and sizes of records."),
    Spec::flag(&["--index-sanity-check"], "Check indexes as a start of the server does."),
    Spec::flag(&["--verify-index-only"], "Check indexes against the segment, and print none of their entries."),
    Spec::value(&["--max-bytes"], "BYTES", "Read no more than so many bytes of a segment."),
];

fn run(options: &Options) -> Result<ExitCode, Failure> {
    let files = options.required("--files")?;
    Dump {
        files: files.split(',').map(|file| file.trim().into()).collect(),
        print_data_log: options.has("--print-data-log"),
        deep_iteration: options.has("--deep-iteration"),
        skip_record_metadata: options.has("--skip-record-metadata"),
        index_sanity_check: options.has("--index-sanity-check"),
        verify_index_only: options.has("--verify-index-only"),
        max_bytes: options.number("--max-bytes")?,
    }
    .run()
}
