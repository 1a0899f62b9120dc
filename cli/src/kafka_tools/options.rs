//! Pure. Options as Kafka's tools take them: whole names only, a value behind a blank or an equals sign, and some of them
//! more than once (`joptsimple.OptionParser(false)`, `CommandLineUtils`).

/// One option that a tool takes.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Its names with their dashes, the usual one first.
    pub names: &'static [&'static str],
    /// What stands behind it, if anything.
    pub value: Option<&'static str>,
    /// What stands for the value where none is behind it, if it may be left out.
    pub otherwise: Option<&'static str>,
    /// Whether it may stand more than once.
    pub repeats: bool,
    /// What it does.
    pub help: &'static str,
}

impl Spec {
    /// An option without a value.
    pub const fn flag(names: &'static [&'static str], help: &'static str) -> Self {
        Self { names, value: None, otherwise: None, repeats: false, help }
    }

    /// An option with a value.
    pub const fn value(names: &'static [&'static str], value: &'static str, help: &'static str) -> Self {
        Self { names, value: Some(value), otherwise: None, repeats: false, help }
    }

    /// An option with a value that may stand more than once.
    pub const fn values(names: &'static [&'static str], value: &'static str, help: &'static str) -> Self {
        Self { names, value: Some(value), otherwise: None, repeats: true, help }
    }

    /// An option whose value may be left out.
    pub const fn optional(
        names: &'static [&'static str],
        value: &'static str,
        otherwise: &'static str,
        help: &'static str,
    ) -> Self {
        Self { names, value: Some(value), otherwise: Some(otherwise), repeats: false, help }
    }
}

/// Why a command line is not taken, in Kafka's words where it has some.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// No such option.
    #[error("{0} is not a recognized option")]
    Unknown(String),
    /// Nothing stands behind an option that needs a value.
    #[error("Option {0} requires an argument")]
    NoValue(&'static str),
    /// A value behind an option that takes none.
    #[error("Option {0} takes no argument")]
    NotAsked(&'static str),
    /// Twice what may stand once.
    #[error("Found multiple arguments for option {0}, but you asked for only one")]
    Twice(&'static str),
    /// A value of another kind.
    #[error("Cannot parse argument '{value}' of option {option}")]
    NoNumber {
        /// The option.
        option: &'static str,
        /// What stands behind it.
        value: String,
    },
    /// An option is missing.
    #[error("Missing required argument \"[{0}]\"")]
    Missing(&'static str),
}

/// What a command line says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    given: Vec<(&'static str, String)>,
    /// What is no option.
    pub rest: Vec<String>,
}

impl Options {
    /// Reads a command line.
    ///
    /// # Errors
    /// An option that is not known, lacks its value, or stands too often.
    pub fn parse(specs: &[Spec], arguments: impl IntoIterator<Item = String>) -> Result<Self, OptionError> {
        let mut read = Self::default();
        let mut arguments = arguments.into_iter().peekable();
        while let Some(argument) = arguments.next() {
            if argument == "--" {
                read.rest.extend(arguments);
                break;
            }
            if !argument.starts_with('-') || argument == "-" {
                read.rest.push(argument);
                continue;
            }
            let (name, behind) = match argument.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (argument.as_str(), None),
            };
            let spec = specs.iter().find(|spec| spec.names.contains(&name));
            let spec = spec.ok_or_else(|| OptionError::Unknown(name.to_owned()))?;
            let usual = spec.names[0];
            let value = match (spec.value, behind) {
                (Some(_), Some(value)) => value,
                (Some(_), None) => match spec.otherwise {
                    Some(otherwise) if arguments.peek().is_none_or(|next| next.starts_with('-')) => {
                        otherwise.to_owned()
                    }
                    _ => arguments.next().ok_or(OptionError::NoValue(usual))?,
                },
                (None, None) => String::new(),
                (None, Some(_)) => return Err(OptionError::NotAsked(usual)),
            };
            if spec.value.is_some() && !spec.repeats && read.has(usual) {
                return Err(OptionError::Twice(usual));
            }
            read.given.push((usual, value));
        }
        Ok(read)
    }

    /// Whether an option stands there, by its usual name.
    pub fn has(&self, name: &str) -> bool {
        self.given.iter().any(|(given, _)| *given == name)
    }

    /// The value of an option, by its usual name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.given.iter().rev().find(|(given, _)| *given == name).map(|(_, value)| value.as_str())
    }

    /// The value of an option that must be there.
    ///
    /// # Errors
    /// It is not.
    pub fn required(&self, name: &'static str) -> Result<&str, OptionError> {
        self.get(name).ok_or(OptionError::Missing(name.trim_start_matches('-')))
    }

    /// Every value of an option, by its usual name, in order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.given.iter().filter(move |(given, _)| *given == name).map(|(_, value)| value.as_str())
    }

    /// The value of an option as a number.
    ///
    /// # Errors
    /// It is none.
    pub fn number<T: std::str::FromStr>(&self, option: &'static str) -> Result<Option<T>, OptionError> {
        let parse = |value: &str| value.parse().map_err(|_| OptionError::NoNumber { option, value: value.to_owned() });
        self.get(option).map(parse).transpose()
    }

    /// The `key=value` pairs of an option, in order. A pair without an equals sign has an empty value.
    pub fn pairs<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.all(name).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPECS: &[Spec] = &[
        Spec::flag(&["--list"], ""),
        Spec::value(&["--topic"], "TOPIC", ""),
        Spec::values(&["--config"], "KEY=VALUE", ""),
        Spec::value(&["--bootstrap-server", "--broker-list"], "HOST:PORT", ""),
        Spec::optional(&["--codec"], "CODEC", "gzip", ""),
    ];

    fn parse(line: &str) -> Result<Options, OptionError> {
        Options::parse(SPECS, line.split(' ').map(String::from))
    }

    #[test]
    fn values_stand_behind_a_blank_or_an_equals_sign() {
        for line in ["--topic orders --list", "--topic=orders --list"] {
            let read = parse(line).expect("valid");
            assert_eq!((read.get("--topic"), read.has("--list")), (Some("orders"), true), "{line}");
        }
        let read = parse("--config a=1 --config=b=2=3 file -- --list").expect("valid");
        assert_eq!(read.pairs("--config").collect::<Vec<_>>(), [("a", "1"), ("b", "2=3")]);
        assert_eq!(read.rest, ["file", "--list"]);
        assert!(!read.has("--list"));
    }

    #[test]
    fn a_value_that_may_be_left_out_has_another_in_its_place() {
        for (line, value) in [("--codec", "gzip"), ("--codec --list", "gzip"), ("--codec lz4 --list", "lz4")] {
            assert_eq!(parse(line).expect("valid").get("--codec"), Some(value), "{line}");
        }
    }

    #[test]
    fn an_old_name_is_the_option_that_it_was() {
        assert_eq!(parse("--broker-list a:1").expect("valid").get("--bootstrap-server"), Some("a:1"));
    }

    #[test]
    fn mistakes_are_told_in_kafkas_words() {
        let said = |line: &str| parse(line).expect_err(line).to_string();
        assert_eq!(said("--zookeeper x"), "--zookeeper is not a recognized option");
        assert_eq!(said("--lis"), "--lis is not a recognized option");
        assert_eq!(said("--topic"), "Option --topic requires an argument");
        assert_eq!(
            said("--topic a --topic b"),
            "Found multiple arguments for option --topic, but you asked for only one"
        );
        assert!(parse("--topic many").expect("valid").number::<i32>("--topic").is_err());
    }
}
