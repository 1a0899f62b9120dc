//! Pure. The text of a value, judged and read.
//!
//! What a bad value is told is what Kafka tells it (`ConfigException`, `ConfigDef.parseType`): the value, the key, the
//! reason. A password is never repeated.

use super::keys::{self, Check, Key, Kind, Scope};

/// Why a setting is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The value is not of the key's kind, or out of its bounds.
    #[error("Invalid value {value} for configuration {key}: {reason}")]
    Invalid {
        /// The key.
        key: String,
        /// The value, or `[hidden]`.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Kafka does not know the key.
    #[error("Unknown {scope} config name: {key}{}", suggest(.suggestion))]
    Unknown {
        /// What the key was meant to belong to.
        scope: Scope,
        /// The key.
        key: String,
        /// The key that was probably meant.
        suggestion: Option<&'static str>,
    },
    /// Kafka no longer knows the key.
    #[error("{key} is no longer a setting: {advice}")]
    Removed {
        /// The key.
        key: String,
        /// What to do about it.
        advice: &'static str,
    },
    /// Only a restart can change them.
    #[error("Cannot update these configs dynamically: Set({})", keys.join(", "))]
    ReadOnly {
        /// The keys.
        keys: Vec<String>,
    },
    /// Two settings that cannot both hold.
    #[error("{0}")]
    Conflict(String),
}

fn suggest(suggestion: &Option<&'static str>) -> String {
    suggestion.map_or_else(String::new, |name| format!(" (did you mean {name}?)"))
}

/// The key of that name, or why there is none.
///
/// # Errors
/// [`ConfigError::Unknown`], with the nearest name.
pub fn known(scope: Scope, name: &str) -> Result<&'static Key, ConfigError> {
    keys::find(scope, name).ok_or_else(|| ConfigError::Unknown {
        scope,
        key: name.to_owned(),
        suggestion: keys::did_you_mean(scope, name),
    })
}

impl Key {
    /// Whether the key takes this value.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`], which names the key.
    pub fn check(&self, value: &str) -> Result<(), ConfigError> {
        self.judge(value).map_err(|reason| ConfigError::Invalid {
            key: self.name.to_owned(),
            value: if self.is_sensitive() { "[hidden]".to_owned() } else { value.to_owned() },
            reason,
        })
    }

    fn judge(&self, value: &str) -> Result<(), String> {
        let not_a_number = || format!("Not a number of type {}", self.kind.name());
        let number = match self.kind {
            Kind::Boolean => {
                parse_boolean(value).ok_or("Expected value to be either true or false")?;
                None
            }
            Kind::Int => Some(i64::from(value.trim().parse::<i32>().map_err(|_| not_a_number())?)),
            Kind::Short => Some(i64::from(value.trim().parse::<i16>().map_err(|_| not_a_number())?)),
            Kind::Long => Some(parse_long(value).ok_or_else(not_a_number)?),
            Kind::Double => {
                parse_double(value).ok_or_else(not_a_number)?;
                None
            }
            Kind::Text | Kind::List | Kind::Class | Kind::Password => None,
        };
        match (self.check, number) {
            (Check::Any, _) => Ok(()),
            (Check::AtLeast(min), Some(number)) => at_least(number, min),
            (Check::Between(min, max), Some(number)) => between(number, min, max),
            (Check::Level(min, max), Some(number)) if number != -1 => between(number, min, max),
            (Check::Level(..), _) => Ok(()),
            (Check::Ratio, _) => ratio(value),
            (Check::OneOf(allowed), _) => one_of(value, allowed),
            (Check::OneOfAnyCase(allowed), _) => one_of_any_case(value, allowed),
            (Check::EachOf(allowed), _) => parse_list(value).try_for_each(|item| one_of(item, allowed)),
            (Check::Throttled, _) => throttled(value),
            (Check::AtLeast(_) | Check::Between(..), None) => unreachable!("{} bounds what is no number", self.name),
        }
    }
}

fn at_least(number: i64, min: i64) -> Result<(), String> {
    if number >= min { Ok(()) } else { Err(format!("Value must be at least {min}")) }
}

fn between(number: i64, min: i64, max: i64) -> Result<(), String> {
    at_least(number, min)?;
    if number <= max { Ok(()) } else { Err(format!("Value must be no more than {max}")) }
}

fn ratio(value: &str) -> Result<(), String> {
    match parse_double(value) {
        Some(ratio) if ratio < 0.0 => Err("Value must be at least 0".to_owned()),
        Some(ratio) if ratio <= 1.0 => Ok(()),
        Some(_) | None => Err("Value must be no more than 1".to_owned()),
    }
}

fn one_of(value: &str, allowed: &[&str]) -> Result<(), String> {
    if allowed.contains(&value) { Ok(()) } else { Err(format!("String must be one of: {}", allowed.join(", "))) }
}

fn one_of_any_case(value: &str, allowed: &[&str]) -> Result<(), String> {
    if allowed.iter().any(|allowed| value.eq_ignore_ascii_case(allowed)) {
        return Ok(());
    }
    Err(format!("String must be one of (case insensitive): {}", allowed.join(", ").to_uppercase()))
}

fn throttled(value: &str) -> Result<(), String> {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let pair = |item: &str| item.split_once(':').is_some_and(|(partition, broker)| number(partition) && number(broker));
    if value.trim() == "*" || parse_list(value).all(pair) {
        Ok(())
    } else {
        Err("must be the literal '*' or a list of replicas in the following format: \
             [partitionId]:[brokerId],[partitionId]:[brokerId],..."
            .to_owned())
    }
}

/// Reads `true` or `false`, in any case, with blanks around it.
pub fn parse_boolean(value: &str) -> Option<bool> {
    let value = value.trim();
    if value.eq_ignore_ascii_case("true") {
        Some(true)
    } else if value.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

/// Reads a 64-bit integer, with blanks around it.
pub fn parse_long(value: &str) -> Option<i64> {
    value.trim().parse().ok()
}

/// Reads a finite number, with blanks around it.
pub fn parse_double(value: &str) -> Option<f64> {
    value.trim().parse().ok().filter(|number: &f64| number.is_finite())
}

/// Reads texts separated by commas; blanks around each are dropped, and nothing gives no text.
pub fn parse_list(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|item| !item.is_empty())
}

#[cfg(test)]
mod tests;
