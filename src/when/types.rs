//! What is known of values at load.

/// What is known of a value at load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Type {
    Null,
    Bool,
    Int,
    Double,
    Text,
    List(Box<Type>),
    Headers,
    Claims,
    /// Anything: a claim.
    Dyn,
}

impl Type {
    /// For messages.
    pub(super) fn article(&self) -> &'static str {
        match self {
            Type::Null => "null",
            Type::Bool => "true or false",
            Type::Int => "a whole number",
            Type::Double => "a number",
            Type::Text => "a string",
            Type::List(_) => "a list",
            Type::Headers | Type::Claims => "a map",
            Type::Dyn => "a value of a type that only the request decides",
        }
    }

    /// True where the two can be asked to be equal.
    pub(super) fn comparable(&self, other: &Type) -> bool {
        let number = |kind: &Type| matches!(kind, Type::Int | Type::Double);
        match (self, other) {
            (Type::Dyn, _) | (_, Type::Dyn) => true,
            (Type::List(one), Type::List(other)) => one.comparable(other),
            (Type::Headers | Type::Claims, _) => false,
            _ => self == other || (number(self) && number(other)),
        }
    }

    /// The type of what may be either.
    pub(super) fn common(&self, other: &Type) -> Option<Type> {
        match (self, other) {
            _ if self == other => Some(self.clone()),
            (Type::Dyn, _) | (_, Type::Dyn) => Some(Type::Dyn),
            (Type::List(one), Type::List(other)) => Some(Type::List(Box::new(one.common(other)?))),
            _ => None,
        }
    }
}
