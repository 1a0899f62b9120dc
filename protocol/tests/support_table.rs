//! `docs/wire.md` says what `API_TABLE` says. `GREGOR_BLESS=1` writes it anew.
#![allow(clippy::disallowed_methods, reason = "compares a page of the documentation, outside any simulation")]

use protocol::api::{API_TABLE, Api, Plane};
use std::fmt::Write as _;
use std::{env, fs, path::Path};

fn versions(api: &Api) -> String {
    if api.min == api.max { api.min.to_string() } else { format!("{}-{}", api.min, api.max) }
}

fn flexible(api: &Api) -> String {
    if api.request.flexible_since == i16::MAX { String::new() } else { format!("{}+", api.request.flexible_since) }
}

fn table(out: &mut String, rows: impl Iterator<Item = &'static Api>) {
    out.push_str("| key | API | versions | flexible |\n|---:|---|---|---|\n");
    for api in rows {
        let note = if api.advertised_min == api.min {
            String::new()
        } else {
            format!(" (advertised {}-{})", api.advertised_min, api.max)
        };
        writeln!(out, "| {} | {} | {}{note} | {} |", api.key, api.name, versions(api), flexible(api)).expect("memory");
    }
    out.push('\n');
}

fn page() -> String {
    let mut out = String::from(
        "# What gregor speaks\n\n\
         This page is written by a test from `protocol/src/api.rs`; change the table there, then `make bless`.\n\n\
         A key or version that is not here closes the connection, as in Kafka, but for ApiVersions: a version that is too new\n\
         is answered in the layout of version 0 with error 35. Versions 0 to 2 of Produce are advertised and not served, as in\n\
         Kafka 4, because librdkafka turns compression off when the lowest version is above 0 (KAFKA-18659).\n\n",
    );
    let planes = [
        (Plane::Client, "For clients"),
        (Plane::InterBroker, "Between brokers"),
        (Plane::Controller, "For brokers and controllers, on a controller"),
    ];
    for (plane, title) in planes {
        writeln!(out, "## {title}\n").expect("memory");
        table(&mut out, API_TABLE.iter().filter(|api| api.is_on(plane)));
    }
    out.push_str(
        "Keys from 20000 are gregor's own and documented in `protocol/src/internal.rs`; all others are Kafka's.\n\n\
         ## Limits of a request\n\n\
         | what | at most |\n|---|---:|\n",
    );
    let caps = API_TABLE[0].caps;
    assert!(API_TABLE.iter().all(|api| api.caps == caps), "the page shows one set of caps");
    for (what, most) in [
        ("elements of one array", caps.array_elements_max),
        ("elements of all arrays (topic-partitions)", caps.total_elements_max),
        ("tagged fields of one struct", caps.tagged_fields_max),
    ] {
        writeln!(out, "| {what} | {most} |").expect("memory");
    }
    out
}

#[test]
fn the_support_table_in_the_documentation_is_the_one_that_is_served() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/wire.md");
    if env::var_os("GREGOR_BLESS").is_some() {
        fs::write(&path, page()).expect("docs/wire.md is writable");
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page(), "docs/wire.md is not what the table says: read the change, then `make bless`");
}
