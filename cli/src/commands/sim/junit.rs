//! Pure. The result of many runs as JUnit XML, which CI systems read.

use sim::{driver::Done, token::Token};
use std::fmt::Write;

/// A suite with a case for each run.
pub fn xml(suite: &str, all: &[Done], seconds: f64) -> String {
    let bad = |done: &&Done| done.outcome.failure.is_some() || done.other_hash.is_some();
    let (tests, failures) = (all.len(), all.iter().filter(bad).count());
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n<testsuite name=\"gregor sim {}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"0\" time=\"{seconds:.3}\">\n",
        escaped(suite)
    );
    for done in all {
        let (job, outcome) = (&done.job, &done.outcome);
        let mutant = job.mutant.as_ref().map_or(String::new(), |mutant| format!(" with {mutant}"));
        let _ = write!(
            text,
            "<testcase classname=\"{}\" name=\"seed {:x}{}\" time=\"{:.3}\">",
            escaped(&job.source),
            job.seed,
            escaped(&mutant),
            outcome.cpu_seconds
        );
        let replay = format!("replay: gregor sim replay {}", Token::of(job));
        if let Some(failure) = &outcome.failure {
            let (claim, what) = (escaped(&failure.claim), escaped(&failure.what));
            let story = escaped(&outcome.story.join("\n"));
            let _ =
                write!(text, "<failure type=\"{claim}\" message=\"{what}\">{}\n{story}</failure>", escaped(&replay));
        } else if let Some(other) = &done.other_hash {
            let message = format!("not the same twice: {} and {other}", outcome.hash);
            let _ = write!(
                text,
                "<failure type=\"not deterministic\" message=\"{}\">{}</failure>",
                escaped(&message),
                escaped(&replay)
            );
        }
        text.push_str("</testcase>\n");
    }
    text.push_str("</testsuite>\n</testsuites>\n");
    text
}

/// Text as it may stand in XML, inside of quotes too. XML has no way to write most control characters: they are left out.
fn escaped(text: &str) -> String {
    let mut into = String::with_capacity(text.len());
    for symbol in text.chars() {
        match symbol {
            '&' => into.push_str("&amp;"),
            '<' => into.push_str("&lt;"),
            '>' => into.push_str("&gt;"),
            '"' => into.push_str("&quot;"),
            '\n' => into.push_str("&#10;"),
            symbol if symbol.is_control() => {}
            symbol => into.push(symbol),
        }
    }
    into
}

#[cfg(test)]
mod tests {
    use super::*;
    use sim::{
        run::{Failure, Outcome},
        token::Job,
    };

    #[test]
    fn a_case_for_each_run_and_nothing_that_xml_cannot_hold() {
        let job = |seed| Job { source: "isr/a<b".into(), seed, mutant: None };
        let failure = Failure { claim: "acked_is_kept".into(), what: "a \"b\" & c\u{7}".into(), ..Failure::default() };
        let failed = Outcome { failure: Some(failure), ..Outcome::default() };
        let all = [
            Done { job: job(1), outcome: Outcome::default(), other_hash: None },
            Done { job: job(2), outcome: failed, other_hash: None },
            Done { job: job(3), outcome: Outcome::default(), other_hash: Some("ab".into()) },
        ];
        let xml = xml("run", &all, 1.5);
        assert!(xml.contains("tests=\"3\" failures=\"2\"") && xml.matches("<testcase").count() == 3, "{xml}");
        assert!(
            xml.contains("classname=\"isr/a&lt;b\"") && xml.contains("message=\"a &quot;b&quot; &amp; c\""),
            "{xml}"
        );
        assert!(!xml.contains('\u{7}'));
    }
}
