//! Pure. Points in time and durations as ISO 8601 writes them, as far as Kafka's tools read them.

use chrono::{DateTime, NaiveDate, NaiveDateTime};
use protocol::ids::WallMillis;
use regex::Regex;

/// Forms of a point in time without an offset from UTC.
const NAIVE: [&str; 2] = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M"];
/// The same, with one.
const WITH_OFFSET: [&str; 2] = ["%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M%#z"];
/// `PnDTnHnMn.nS`: each part once, with a sign if need be (`java.time.Duration.parse`).
const DURATION: &str = r"(?i)^([-+]?)P(?:([-+]?\d{1,9})D)?(T(?:([-+]?\d{1,9})H)?(?:([-+]?\d{1,9})M)?(?:([-+]?\d{1,12})(?:[.,](\d{1,9}))?S)?)?$";

/// Reads a point in time: UTC unless it says its offset. Hours and minutes may be left out, then it is midnight.
///
/// # Errors
/// What to write, in words.
pub fn time(text: &str) -> Result<WallMillis, String> {
    let at = text.trim().trim_end_matches(['Z', 'z']);
    let naive = NAIVE.iter().find_map(|form| NaiveDateTime::parse_from_str(at, form).ok());
    let midnight = || NaiveDate::parse_from_str(at, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0);
    let utc = naive.or_else(midnight).map(|naive| naive.and_utc().timestamp_millis());
    let with_offset = || WITH_OFFSET.iter().find_map(|form| DateTime::parse_from_str(at, form).ok());
    let found = utc.or_else(|| with_offset().map(|at| at.timestamp_millis()));
    found.map(WallMillis).ok_or_else(|| {
        format!("'{text}' is not a time: write it as 2026-11-29T08:30:00.000, UTC, or with an offset as +01:00")
    })
}

/// Reads a duration in milliseconds; it may be below zero.
///
/// # Errors
/// What to write, in words.
pub fn duration_ms(text: &str) -> Result<i64, String> {
    let wrong = || format!("'{text}' is not a duration: write it as P1D, PT2H30M or PT45S");
    let pattern = Regex::new(DURATION).expect("it is a regular expression");
    let parts = pattern.captures(text.trim()).ok_or_else(wrong)?;
    let number = |at: usize| parts.get(at).map_or(0, |part| part.as_str().parse().expect("digits that fit"));
    let says_something = [2, 4, 5, 6].iter().any(|at| parts.get(*at).is_some());
    if !says_something || parts.get(3).is_some_and(|time| time.as_str().len() == 1) {
        return Err(wrong());
    }
    let fraction = parts.get(7).map_or(String::new(), |part| part.as_str().to_owned());
    let fraction: i64 = format!("{fraction:0<3}")[..3].parse().expect("three digits");
    let is_below = parts.get(6).is_some_and(|seconds| seconds.as_str().starts_with('-'));
    let fraction = if is_below { -fraction } else { fraction };
    let seconds: i64 = number(2) * 86_400 + number(4) * 3_600 + number(5) * 60 + number(6);
    let length_ms = seconds * 1000 + fraction;
    Ok(if &parts[1] == "-" { -length_ms } else { length_ms })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_utc_unless_it_says_otherwise() {
        let at = |text: &str| time(text).map(|at| at.0);
        assert_eq!(at("1970-01-02T00:00:00.001"), Ok(86_400_001));
        assert_eq!(at("1970-01-02T00:00:00.001Z"), Ok(86_400_001));
        assert_eq!(at("1970-01-02T01:00:00+01:00"), Ok(86_400_000));
        assert_eq!(at("1970-01-02T01:00:00.5+0100"), Ok(86_400_500));
        assert_eq!(at("1970-01-01T23:00:00-01"), Ok(86_400_000));
        assert_eq!(at("1970-01-02T00:00"), Ok(86_400_000));
        assert_eq!(at("1970-01-02"), Ok(86_400_000));
        for wrong in ["", "yesterday", "1970-02-30", "1970-01-02T25:00:00", "12:00"] {
            let said = at(wrong).expect_err(wrong);
            assert!(said.contains("write it as 2026-11-29T08:30:00.000"), "{said}");
        }
    }

    #[test]
    fn a_duration_has_javas_form() {
        assert_eq!(duration_ms("P1D"), Ok(86_400_000));
        assert_eq!(duration_ms("PT2H30M"), Ok(9_000_000));
        assert_eq!(duration_ms("P1DT1S"), Ok(86_401_000));
        assert_eq!(duration_ms("PT0.5S"), Ok(500));
        assert_eq!(duration_ms("pt-1.25s"), Ok(-1_250));
        assert_eq!(duration_ms("-PT1H"), Ok(-3_600_000));
        for wrong in ["", "P", "PT", "P1DT", "1D", "P1H", "PT1D", "P1W", "10s"] {
            assert!(duration_ms(wrong).is_err(), "{wrong}");
        }
    }
}
