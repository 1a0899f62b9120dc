//! Pure. A recorded run as one file that a browser shows without a network: lanes, messages, faults, tracks of partitions.

use crate::{
    recording::{Entry, FIRST_CLIENT, Phase, ProcessState, What},
    summary::Summary,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const PAGE: &str = include_str!("report/report.html");
/// Where the data goes, in the page.
const DATA: &str = "\"DATA\"";

/// Times are whole microseconds in the page.
fn micros(at: u64) -> u64 {
    at / 1_000
}

/// The page.
pub fn html(summary: &Summary, entries: &[Entry]) -> String {
    // A `<` inside of a string could end the script element that holds it.
    let data = data(summary, entries).to_string().replace('<', "\\u003c");
    PAGE.replacen(DATA, &data, 1)
}

/// The run as the page reads it: what there is much of in arrays, to be short.
fn data(summary: &Summary, entries: &[Entry]) -> Value {
    let mut apis: Vec<&str> = Vec::new();
    let (mut messages, mut said, mut logs, mut committed, mut lives, mut phases) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut marks: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    let mut faults: BTreeMap<u32, Value> = BTreeMap::new();
    let mut broken = Value::Null;
    let mut everybody = BTreeSet::new();
    for entry in entries {
        let (at, node) = (micros(entry.at), entry.node);
        match &entry.what {
            What::Message { to, api, version, request, bytes, arrives } => {
                everybody.extend([node, *to]);
                let index = apis.iter().position(|known| known == api).unwrap_or_else(|| {
                    apis.push(api);
                    apis.len() - 1
                });
                let arrives = arrives.map_or(-1, |at| micros(at) as i64);
                messages.push(json!([at, node, to, index, version, u8::from(*request), bytes, arrives]));
            }
            What::Fault { id, fault, what, nodes } => {
                let fault = json!({ "fault": fault, "what": what, "nodes": nodes, "from": at, "to": null });
                faults.insert(*id, fault);
            }
            What::FaultOver { id, .. } => {
                if let Some(fault) = faults.get_mut(id) {
                    fault["to"] = at.into();
                }
            }
            What::Process { state } => {
                everybody.insert(node);
                lives.push(json!([at, node, state, u8::from(*state == ProcessState::Started)]));
            }
            What::Committed { partition, leader, leader_epoch, isr } => {
                committed.push(json!([at, partition, leader, leader_epoch, isr]));
            }
            What::HighWatermark { partition, leading, high_watermark, log_end_offset, .. } => {
                let mark = json!([at, node, u8::from(*leading), high_watermark, log_end_offset]);
                marks.entry(partition).or_default().push(mark);
            }
            What::Said { event, partition, what, notable } => {
                said.push(json!([at, node, event, partition, what, u8::from(*notable)]));
            }
            What::Log { level, target, message } => logs.push(json!([at, node, level, target, message])),
            What::Phase { phase } => phases.push(json!([at, phase_words(*phase)])),
            What::Broken { claim, what } => broken = json!({ "at": at, "claim": claim, "what": what }),
        }
    }
    let (clients, nodes): (Vec<i32>, Vec<i32>) =
        everybody.into_iter().filter(|id| *id > 0).partition(|id| *id >= FIRST_CLIENT);
    json!({
        "summary": summary, "nodes": nodes, "clients": clients, "apis": apis, "messages": messages, "said": said,
        "logs": logs, "committed": committed, "lives": lives, "phases": phases, "marks": marks,
        "faults": faults.into_values().collect::<Vec<_>>(), "broken": broken,
        "end": entries.last().map_or(0, |entry| micros(entry.at)),
    })
}

fn phase_words(phase: Phase) -> &'static str {
    match phase {
        Phase::Story => "the timeline begins",
        Phase::Healed => "everything is healed",
        Phase::Settled => "every partition is whole",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_holds_its_data_and_needs_nothing_else() {
        let what = What::Broken { claim: "acked_is_kept".into(), what: "</script><b>".into() };
        let page = html(&Summary::default(), &[Entry { at: 3_000, node: 0, what }]);
        assert!(!page.contains(DATA) && page.contains("\"claim\":\"acked_is_kept\""));
        assert!(!page.contains("</script><b>"), "what a run says cannot end the script");
        assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("src="));
    }

    #[test]
    fn a_fault_has_its_end_and_a_message_its_arrival() {
        let fault = What::Fault { id: 4, fault: "kill".into(), what: "kill 1".into(), nodes: vec![1] };
        let message =
            |arrives| What::Message { to: 2, api: "Fetch".into(), version: 17, request: true, bytes: 9, arrives };
        let entries = [
            Entry { at: 1_000, node: 0, what: fault },
            Entry { at: 2_000, node: 1, what: message(Some(5_000)) },
            Entry { at: 3_000, node: 1_001, what: message(None) },
            Entry { at: 9_000, node: 0, what: What::FaultOver { id: 4, fault: "kill".into() } },
        ];
        let data = data(&Summary::default(), &entries);
        assert_eq!((&data["faults"][0]["from"], &data["faults"][0]["to"]), (&json!(1), &json!(9)));
        assert_eq!(data["messages"], json!([[2, 1, 2, 0, 17, 1, 9, 5], [3, 1_001, 2, 0, 17, 1, 9, -1]]));
        assert_eq!((&data["nodes"], &data["clients"]), (&json!([1, 2]), &json!([1_001])));
    }
}
