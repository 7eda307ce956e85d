//! The functions of conditions.

use cel::common::ast::{Expr as Tree, IdedExpr, LiteralValue, operators};
use palisade_contract::conf::{Cidr, suggest};
use regex::{Regex, RegexBuilder};

use super::{
    Mistake,
    check::{Checker, Typed},
    eval::Expr,
    types::Type,
};

/// The most memory that a compiled pattern takes, in bytes: it bounds what a match costs for each byte.
const MAX_PATTERN: usize = 64 << 10;

/// Name and how it is called.
const FUNCTIONS: [(&str, &str); 12] = [
    ("has", "has(request.headers[\"name\"])"),
    ("size", "size(x)"),
    ("startsWith", "x.startsWith(\"text\")"),
    ("endsWith", "x.endsWith(\"text\")"),
    ("contains", "x.contains(\"text\")"),
    ("matches", "x.matches(\"pattern\")"),
    ("lowerAscii", "x.lowerAscii()"),
    ("upperAscii", "x.upperAscii()"),
    ("int", "int(x)"),
    ("double", "double(x)"),
    ("string", "string(x)"),
    ("cidr_match", "cidr_match(client.ip, \"10.0.0.0/8\")"),
];

impl Checker<'_> {
    /// A call of a function or a method.
    pub(super) fn function(
        &mut self,
        tree: &IdedExpr,
        target: Option<&IdedExpr>,
        name: &str,
        args: &[IdedExpr],
    ) -> Result<Typed, Mistake> {
        match (target, name, args) {
            (None, "has", [inner]) => self.has(tree, inner),
            (Some(subject), "size", []) | (None, "size", [subject]) => self.size(subject),
            (Some(subject), "startsWith", [argument]) => {
                self.test(|text, part| text.starts_with(part), subject, argument)
            }
            (Some(subject), "endsWith", [argument]) => {
                self.test(|text, part| text.ends_with(part), subject, argument)
            }
            (Some(subject), "contains", [argument]) => {
                self.test(|text, part| text.contains(part), subject, argument)
            }
            (Some(subject), "matches", [pattern]) | (None, "matches", [subject, pattern]) => {
                let subject = self.expect(subject, &Type::Text)?;
                let pattern = self.pattern(pattern)?;
                Ok((Expr::Matches(Box::new(subject), pattern), Type::Bool))
            }
            (Some(subject), "lowerAscii", []) => self.case(str::to_ascii_lowercase, subject),
            (Some(subject), "upperAscii", []) => self.case(str::to_ascii_uppercase, subject),
            (None, "int", [inner]) => self.convert(Expr::ToInt, Type::Int, inner),
            (None, "double", [inner]) => self.convert(Expr::ToDouble, Type::Double, inner),
            (None, "string", [inner]) => self.convert(Expr::ToText, Type::Text, inner),
            (None, "cidr_match", [address, first, rest @ ..]) => {
                let address = self.expect(address, &Type::Text)?;
                let networks = std::iter::once(first).chain(rest).map(|network| self.network(network));
                let networks = networks.collect::<Result<_, _>>()?;
                Ok((Expr::InNetworks(Box::new(address), networks), Type::Bool))
            }
            _ => Err(self.unknown(tree, target.is_some(), name)),
        }
    }

    fn unknown(&self, tree: &IdedExpr, method: bool, name: &str) -> Mistake {
        if method && matches!(name, "all" | "exists" | "exists_one" | "map" | "filter") {
            let message = format!("`{name}` is not supported: a condition has no loops");
            return self.mistake(tree, message, "ask for one value: `\"admin\" in claims.roles`".to_owned());
        }
        match FUNCTIONS.iter().find(|(known, _)| *known == name) {
            Some((_, call)) => {
                self.mistake(tree, format!("`{name}` is not called like this"), format!("write `{call}`"))
            }
            None => {
                let help = suggest(name, FUNCTIONS.iter().map(|(known, _)| *known), "there is");
                self.mistake(tree, format!("there is no function `{name}`"), help)
            }
        }
    }

    fn has(&mut self, tree: &IdedExpr, inner: &IdedExpr) -> Result<Typed, Mistake> {
        let reads = match &inner.expr {
            Tree::Select(_) => true,
            Tree::Call(call) => call.func_name == operators::INDEX,
            _ => false,
        };
        if !reads {
            let help = "write `has(request.headers[\"name\"])` or `has(claims.name)`".to_owned();
            return Err(self.mistake(tree, "`has` asks for a field".to_owned(), help));
        }
        let (inner, _) = self.node(inner)?;
        Ok((Expr::Has(Box::new(inner)), Type::Bool))
    }

    fn size(&mut self, subject: &IdedExpr) -> Result<Typed, Mistake> {
        let (node, kind) = self.node(subject)?;
        if matches!(kind, Type::Null | Type::Bool | Type::Int | Type::Double) {
            let message = format!("{} has no size", kind.article());
            return Err(self.mistake(subject, message, "write a string, a list or a map".to_owned()));
        }
        Ok((Expr::Size(Box::new(node)), Type::Int))
    }

    fn test(
        &mut self,
        holds: fn(&str, &str) -> bool,
        subject: &IdedExpr,
        argument: &IdedExpr,
    ) -> Result<Typed, Mistake> {
        let subject = Box::new(self.expect(subject, &Type::Text)?);
        let argument = Box::new(self.expect(argument, &Type::Text)?);
        Ok((Expr::Test(holds, subject, argument), Type::Bool))
    }

    fn case(&mut self, change: fn(&str) -> String, subject: &IdedExpr) -> Result<Typed, Mistake> {
        let subject = self.expect(subject, &Type::Text)?;
        Ok((Expr::Case(change, Box::new(subject)), Type::Text))
    }

    fn convert(&mut self, node: fn(Box<Expr>) -> Expr, to: Type, inner: &IdedExpr) -> Result<Typed, Mistake> {
        let (inner_node, kind) = self.node(inner)?;
        let convertible = match kind {
            Type::Int | Type::Double | Type::Text | Type::Dyn => true,
            Type::Bool => to == Type::Text,
            _ => false,
        };
        if !convertible {
            let message = format!("{} cannot be made {}", kind.article(), to.article());
            return Err(self.mistake(inner, message, "write a string or a number".to_owned()));
        }
        Ok((node(Box::new(inner_node)), to))
    }

    fn pattern(&self, tree: &IdedExpr) -> Result<Regex, Mistake> {
        let help = || "write it in quotes: `x.matches(\"^/v[0-9]+/\")`".to_owned();
        let Some(text) = literal_text(tree) else {
            return Err(self.mistake(tree, "a pattern must be written out".to_owned(), help()));
        };
        let built = RegexBuilder::new(text).size_limit(MAX_PATTERN).dfa_size_limit(1 << 20).build();
        built.map_err(|error| {
            if matches!(error, regex::Error::CompiledTooBig(_)) {
                let help = "repeat less, or write ASCII classes such as `[0-9]` for `\\d`".to_owned();
                return self.mistake(tree, "the pattern is too large".to_owned(), help);
            }
            let told = error.to_string();
            let told = told.lines().last().unwrap_or_default().trim_start_matches("error: ");
            self.mistake(tree, format!("the pattern cannot be read: {told}"), help())
        })
    }

    fn network(&self, tree: &IdedExpr) -> Result<Cidr, Mistake> {
        let Some(text) = literal_text(tree) else {
            let help = "write it in quotes: `cidr_match(client.ip, \"10.0.0.0/8\")`".to_owned();
            return Err(self.mistake(tree, "an address range must be written out".to_owned(), help));
        };
        text.parse().map_err(|told: String| {
            let (message, help) = told.split_once("; help: ").unwrap_or((&told, "write `10.0.0.0/8`"));
            self.mistake(tree, message.to_owned(), help.to_owned())
        })
    }
}

fn literal_text(tree: &IdedExpr) -> Option<&str> {
    match &tree.expr {
        Tree::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}
