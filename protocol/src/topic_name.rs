//! Pure. Which names a topic may have (Kafka's `Topic.java`), so that no name can leave the data directory.

/// Bytes of the longest name.
pub const LENGTH_MAX: usize = 249;

/// Why a name is refused, as Kafka says it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicNameError {
    /// No characters at all.
    #[error("the empty string is not allowed")]
    Empty,
    /// The directory itself, or its parent.
    #[error("'{0}' is not allowed")]
    Dots(&'static str),
    /// Longer than [`LENGTH_MAX`].
    #[error("the length of the name, {0}, is longer than the max allowed length {LENGTH_MAX}")]
    TooLong(usize),
    /// Something besides ASCII letters, digits, `.`, `_` and `-`.
    #[error("it contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'")]
    BadCharacter,
}

/// Checks a name: 1 to 249 of `[a-zA-Z0-9._-]`, and neither `.` nor `..`. A refusal is INVALID_TOPIC_EXCEPTION (17).
///
/// # Errors
/// Says which rule was broken.
pub fn validate(name: &str) -> Result<(), TopicNameError> {
    match name {
        "" => return Err(TopicNameError::Empty),
        "." => return Err(TopicNameError::Dots(".")),
        ".." => return Err(TopicNameError::Dots("..")),
        _ => {}
    }
    if name.len() > LENGTH_MAX {
        return Err(TopicNameError::TooLong(name.len()));
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if name.bytes().all(allowed) { Ok(()) } else { Err(TopicNameError::BadCharacter) }
}

/// Whether two names would share a metric's name, where `.` is written as `_`: Kafka refuses to create the second.
pub fn collides(one: &str, other: &str) -> bool {
    let folded = |byte: u8| if byte == b'.' { b'_' } else { byte };
    one.len() == other.len() && one.bytes().map(folded).eq(other.bytes().map(folded))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_the_directory_are_refused() {
        for name in ["", ".", "..", "a/b", "../a", "a\0", "a b", "t\u{f6}pic", "a\\b", "a:b"] {
            assert!(validate(name).is_err(), "{name:?}");
        }
        assert_eq!(validate(&"a".repeat(250)), Err(TopicNameError::TooLong(250)));
    }

    #[test]
    fn kafkas_own_names_are_allowed() {
        for name in ["orders", "__consumer_offsets", "a.b-c_D9", "...", "-"] {
            assert_eq!(validate(name), Ok(()), "{name:?}");
        }
        assert_eq!(validate(&"a".repeat(249)), Ok(()));
    }

    #[test]
    fn a_dot_and_an_underscore_collide() {
        assert!(collides("a.b", "a_b"));
        assert!(!collides("a.b", "a-b"));
        assert!(!collides("a.b", "a.bc"));
    }
}
