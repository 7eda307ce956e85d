//! The typed tree of a condition, and what it comes to for one exchange.

use http::HeaderMap;
use palisade_contract::{Exchange, Principal, conf::Cidr};
use regex::Regex;
use std::{borrow::Cow, cmp::Ordering, net::IpAddr};

use super::value::{Failure, Value};

/// The longest string that `+` makes: it keeps a chain of them from multiplying the size of a request.
const MAX_TEXT: usize = 64 << 10;

/// A node. Its depth is at most [`MAX_DEPTH`](super::MAX_DEPTH).
#[derive(Debug)]
pub(super) enum Expr {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(Box<str>),
    List(Vec<Expr>),
    Variable(Variable),
    Index(Box<Expr>, Box<Expr>),
    Has(Box<Expr>),
    Not(Box<Expr>),
    Negative(Box<Expr>),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    Choose(Box<[Expr; 3]>),
    Equal(Box<Expr>, Box<Expr>),
    Order(Box<Expr>, Box<Expr>, fn(Ordering) -> bool),
    In(Box<Expr>, Box<Expr>),
    Arithmetic(Operator, Box<Expr>, Box<Expr>),
    /// Subject and argument.
    Test(fn(&str, &str) -> bool, Box<Expr>, Box<Expr>),
    Case(fn(&str) -> String, Box<Expr>),
    Matches(Box<Expr>, Regex),
    Size(Box<Expr>),
    ToInt(Box<Expr>),
    ToDouble(Box<Expr>),
    ToText(Box<Expr>),
    InNetworks(Box<Expr>, Box<[Cidr]>),
}

/// What an exchange is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Variable {
    Method,
    Path,
    Host,
    Query,
    Scheme,
    Headers,
    Ip,
    Port,
    Route,
    PrincipalId,
    Anonymous,
    ConsumerName,
    ConsumerGroups,
    Claims,
}

/// An arithmetic operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Expr {
    pub(super) fn eval<'a>(&'a self, ex: &'a Exchange) -> Result<Value<'a>, Failure> {
        let value = match self {
            Expr::Null => Value::Null,
            Expr::Bool(value) => Value::Bool(*value),
            Expr::Int(value) => Value::Int(*value),
            Expr::Double(value) => Value::Double(*value),
            Expr::Text(text) => Value::of_text(text),
            Expr::List(items) => {
                Value::List(items.iter().map(|item| item.eval(ex)).collect::<Result<_, _>>()?)
            }
            Expr::Variable(variable) => return variable.read(ex),
            Expr::Index(base, key) => return base.eval(ex)?.at(&key.eval(ex)?),
            Expr::Has(inner) => match inner.eval(ex) {
                Err(Failure::Unusable) => return Err(Failure::Unusable),
                found => Value::Bool(found.is_ok()),
            },
            Expr::Not(inner) => Value::Bool(!inner.eval(ex)?.bool()?),
            Expr::And(one, other) => Value::Bool(decide(one, other, ex, false)?),
            Expr::Or(one, other) => Value::Bool(decide(one, other, ex, true)?),
            Expr::Choose(parts) => {
                let [condition, yes, no] = &**parts;
                return if condition.eval(ex)?.bool()? { yes.eval(ex) } else { no.eval(ex) };
            }
            Expr::Equal(one, other) => Value::Bool(one.eval(ex)?.equals(&other.eval(ex)?)),
            Expr::Order(one, other, holds) => Value::Bool(holds(one.eval(ex)?.compare(&other.eval(ex)?)?)),
            Expr::In(wanted, list) => Value::Bool(list.contains(&wanted.eval(ex)?, ex)?),
            Expr::Negative(_)
            | Expr::Arithmetic(..)
            | Expr::Size(_)
            | Expr::ToInt(_)
            | Expr::ToDouble(_)
            | Expr::ToText(_) => return self.eval_number(ex),
            Expr::Test(holds, subject, argument) => {
                Value::Bool(holds(&subject.eval(ex)?.text()?, &argument.eval(ex)?.text()?))
            }
            Expr::Case(change, subject) => Value::Text(Cow::Owned(change(&subject.eval(ex)?.text()?))),
            Expr::Matches(subject, pattern) => Value::Bool(pattern.is_match(&subject.eval(ex)?.text()?)),
            Expr::InNetworks(address, networks) => {
                let address = address.address(ex)?;
                Value::Bool(networks.iter().any(|network| network.0.contains(&address)))
            }
        };
        Ok(value)
    }

    /// Sizes, sums and conversions.
    fn eval_number<'a>(&'a self, ex: &'a Exchange) -> Result<Value<'a>, Failure> {
        match self {
            Expr::Negative(inner) => match inner.eval(ex)? {
                Value::Int(value) => value.checked_neg().map(Value::Int).ok_or(Failure::Unusable),
                Value::Double(value) => Ok(Value::Double(-value)),
                _ => Err(Failure::Unusable),
            },
            Expr::Arithmetic(operator, one, other) => operator.apply(one.eval(ex)?, other.eval(ex)?),
            Expr::Size(inner) => inner.eval(ex)?.size().map(Value::Int),
            Expr::ToInt(inner) => match inner.eval(ex)? {
                Value::Int(value) => Ok(Value::Int(value)),
                Value::Double(value) if value.abs() < 9.2e18 => Ok(Value::Int(value as i64)),
                Value::Text(text) => text.parse().map(Value::Int).map_err(|_| Failure::Unusable),
                _ => Err(Failure::Unusable),
            },
            Expr::ToDouble(inner) => match inner.eval(ex)? {
                Value::Int(value) => Ok(Value::Double(value as f64)),
                Value::Double(value) => Ok(Value::Double(value)),
                Value::Text(text) => match text.parse::<f64>() {
                    Ok(value) if value.is_finite() => Ok(Value::Double(value)),
                    _ => Err(Failure::Unusable),
                },
                _ => Err(Failure::Unusable),
            },
            Expr::ToText(inner) => match inner.eval(ex)? {
                Value::Text(text) => Ok(Value::Text(text)),
                Value::Bool(value) => Ok(Value::Text(value.to_string().into())),
                Value::Int(value) => Ok(Value::Text(value.to_string().into())),
                Value::Double(value) => Ok(Value::Text(value.to_string().into())),
                _ => Err(Failure::Unusable),
            },
            // `eval` hands over these alone.
            _ => Err(Failure::Unusable),
        }
    }

    /// `in` without making a list of what is written as one.
    fn contains(&self, wanted: &Value<'_>, ex: &Exchange) -> Result<bool, Failure> {
        let Expr::List(items) = self else { return self.eval(ex)?.holds(wanted) };
        for item in items {
            if item.eval(ex)?.equals(wanted) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn address(&self, ex: &Exchange) -> Result<IpAddr, Failure> {
        if let Expr::Variable(Variable::Ip) = self {
            return Ok(ex.client().ip);
        }
        let text = self.eval(ex)?.text()?;
        let address: IpAddr = text.parse().map_err(|_| Failure::Unusable)?;
        Ok(address.to_canonical())
    }
}

/// `||` (decided by true) and `&&` (decided by false): an error on one side does not matter where the other
/// side decides.
fn decide(one: &Expr, other: &Expr, ex: &Exchange, decided_by: bool) -> Result<bool, Failure> {
    let first = one.eval(ex).and_then(Value::bool);
    if first == Ok(decided_by) {
        return first;
    }
    match (first, other.eval(ex).and_then(Value::bool)) {
        (_, Ok(second)) if second == decided_by => Ok(decided_by),
        (Err(failure), _) | (_, Err(failure)) => Err(failure),
        (Ok(_), Ok(_)) => Ok(!decided_by),
    }
}

impl Operator {
    fn apply<'a>(self, one: Value<'a>, other: Value<'a>) -> Result<Value<'a>, Failure> {
        let result = match (one, other) {
            (Value::Int(one), Value::Int(other)) => match self {
                Operator::Add => one.checked_add(other),
                Operator::Subtract => one.checked_sub(other),
                Operator::Multiply => one.checked_mul(other),
                Operator::Divide => one.checked_div(other),
                Operator::Remainder => one.checked_rem(other),
            }
            .map(Value::Int),
            (Value::Double(one), Value::Double(other)) => match self {
                Operator::Add => Some(one + other),
                Operator::Subtract => Some(one - other),
                Operator::Multiply => Some(one * other),
                Operator::Divide => Some(one / other),
                Operator::Remainder => None,
            }
            .map(Value::Double),
            (Value::Text(one), Value::Text(other)) if self == Operator::Add => {
                (one.len() + other.len() <= MAX_TEXT).then(|| Value::Text(one + other))
            }
            _ => None,
        };
        result.ok_or(Failure::Unusable)
    }
}

impl Variable {
    fn read(self, ex: &Exchange) -> Result<Value<'_>, Failure> {
        let principal = || ex.principal().map(|principal| &**principal).ok_or(Failure::Missing);
        let value = match self {
            Variable::Method => Value::of_text(ex.method().as_str()),
            Variable::Path => Value::of_text(ex.path()),
            Variable::Host => Value::of_text(ex.host()),
            Variable::Query => Value::of_text(ex.query().unwrap_or_default()),
            Variable::Scheme => Value::of_text(if ex.client().https { "https" } else { "http" }),
            Variable::Headers => Value::Headers(headers(ex)),
            Variable::Ip => Value::Text(ex.client().ip.to_string().into()),
            Variable::Port => Value::Int(i64::from(ex.client().peer.port())),
            Variable::Route => Value::of_text(ex.route().map_or("_none", |route| route)),
            Variable::PrincipalId => Value::of_text(&principal()?.id),
            Variable::Anonymous => Value::Bool(principal()?.anonymous),
            Variable::ConsumerName => {
                Value::of_text(&principal()?.consumer.as_ref().ok_or(Failure::Missing)?.name)
            }
            Variable::ConsumerGroups => Value::Groups(Principal::groups(principal()?)),
            Variable::Claims => Value::Claims(&principal()?.claims),
        };
        Ok(value)
    }
}

fn headers(ex: &Exchange) -> &HeaderMap {
    &ex.request.headers
}
