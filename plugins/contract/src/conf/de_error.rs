//! The deserializer's error: a configuration error on its way out.

use serde::de;
use std::fmt;

use super::{ConfigError, Node, Place, Value, de::id, mask::mask_message, words};

/// Divides a message from its help on their way through serde, which knows messages only.
pub(super) const HELP: &str = "; help: ";

#[derive(Debug)]
pub(super) struct DeError {
    error: Box<ConfigError>,
    pub(super) kind: Kind,
    /// The innermost node that it is about.
    pub(super) node: Option<usize>,
}

/// Where an error comes from.
#[derive(Debug, PartialEq)]
pub(super) enum Kind {
    /// This deserializer; it holds no secret.
    Own,
    /// A type or visitor; it may quote what it read.
    Custom,
    /// A field that is not there.
    Missing(&'static str),
    /// Something was left out that is needed here.
    Consequence,
}

impl DeError {
    pub(super) fn own(message: String) -> Self {
        ConfigError::new(message).into()
    }

    pub(super) fn consequence() -> Self {
        DeError { kind: Kind::Consequence, ..DeError::own(String::new()) }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.error.help = Some(help.into());
        self
    }

    /// Says which node it is about, where an inner one has not said so.
    pub(super) fn attach(self, node: &Node) -> Self {
        self.attach_at(node, node.place.clone())
    }

    pub(super) fn attach_at(mut self, node: &Node, place: Place) -> Self {
        if self.node.is_some() {
            return self;
        }
        if self.kind == Kind::Custom {
            self.hide_secrets(node);
        }
        self.node = Some(id(node));
        self.error.path.clone_from(&node.path);
        self.error.place = Some(place);
        self
    }

    /// Only the node itself knows what may not be shown of it.
    fn hide_secrets(&mut self, node: &Node) {
        if matches!(node.value, Value::Scalar { secret: true, .. }) {
            self.error.message = "this value is not valid here".into();
            self.error.help = Some(
                "it is not shown, for it may be a secret; see the reference for what may stand here".into(),
            );
            return;
        }
        let secrets = node.secrets();
        self.error.message = mask_message(&self.error.message, &secrets);
        self.error.help = self.error.help.take().map(|help| mask_message(&help, &secrets));
    }

    pub(super) fn into_config_error(self, root: &Node) -> ConfigError {
        let mut error = *self.error;
        error.place.get_or_insert_with(|| root.place.clone());
        if error.help.is_none() {
            error.help = shape(&error.message).map(str::to_owned);
        }
        error
    }
}

/// What to write where something of another kind was found.
fn shape(message: &str) -> Option<&'static str> {
    let expected = message.strip_prefix("expected ")?.split(", found").next()?;
    Some(match expected {
        "a mapping" => "write fields below it, `name: value` on lines of their own or `{name: value}`",
        "a list" => "write `- …` for each on lines of their own, or `[one, two]`",
        "a string" => "write one value, in quotes where it is more than a word",
        "`true` or `false`" => "write `true` or `false`, without quotes",
        "a whole number" => "write digits alone",
        _ if expected.starts_with("one of") => "write one of them",
        _ => return None,
    })
}

impl From<ConfigError> for DeError {
    fn from(error: ConfigError) -> Self {
        DeError { error: Box::new(error), kind: Kind::Own, node: None }
    }
}

impl fmt::Display for DeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl std::error::Error for DeError {}

impl de::Error for DeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        let text = message.to_string();
        let error = match text.split_once(HELP) {
            Some((message, help)) => ConfigError::new(message).help(help),
            None => ConfigError::new(text),
        };
        DeError { kind: Kind::Custom, ..DeError::from(error) }
    }

    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        de::Error::custom(format!("expected {}, found {found}", wording(expected)))
    }

    fn invalid_value(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        de::Error::custom(format!("expected {}, found {found}", wording(expected)))
    }

    fn invalid_length(length: usize, expected: &dyn de::Expected) -> Self {
        de::Error::custom(format!("expected {}, found {length} items", wording(expected)))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let (error, _) = words::unknown("value", variant, expected.iter().copied());
        DeError { kind: Kind::Custom, ..DeError::from(error) }
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let (error, _) = words::unknown("field", field, expected.iter().copied());
        DeError { kind: Kind::Custom, ..DeError::from(error) }
    }

    fn missing_field(field: &'static str) -> Self {
        let error =
            ConfigError::new(format!("the field `{field}` is missing")).help(format!("add `{field}: …`"));
        DeError { kind: Kind::Missing(field), ..DeError::from(error) }
    }

    fn duplicate_field(field: &'static str) -> Self {
        de::Error::custom(format!("the field `{field}` stands here twice"))
    }
}

/// Serde's words in an operator's.
fn wording(expected: &dyn de::Expected) -> String {
    let text = expected.to_string();
    match text.as_str() {
        "a map" => "a mapping".into(),
        "a sequence" => "a list".into(),
        _ if text.starts_with("struct ") => "a mapping".into(),
        _ => text,
    }
}
