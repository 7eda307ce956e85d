//! Conditions: the `when` of an entry, an expression in CEL (Common Expression Language).
//!
//! | Module | What is in it |
//! |---|---|
//! | `check` | from the parser's tree to a typed one; everything that can be wrong is found here, at load |
//! | `functions` | the functions, checked |
//! | `eval` | the typed tree over one exchange |
//! | `types` | what is known of values at load |
//! | `value` | what an expression is made of while it is evaluated |
//!
//! Parsing is the `cel` crate's. Evaluation is our own, over a tree in which every name, type, header name,
//! pattern and address range is settled at load: a request pays for what its expression reads and for nothing
//! else, and what an evaluation can cost is bounded by the expression (at most [`MAX_BYTES`], nested at most
//! [`MAX_DEPTH`] deep, without loops: `all`, `exists`, `map` and `filter` are refused) times the size of the
//! request's head, which is limited itself. Regular expressions are compiled at load and linear.
//!
//! | Name | Type | |
//! |---|---|---|
//! | `request.method`, `.path`, `.host`, `.query`, `.scheme` | string | the path in normal form; an absent query is empty |
//! | `request.headers["name"]` | string | case of the name does not matter; several values are joined by `, ` |
//! | `client.ip`, `client.port` | string, int | behind trusted proxies the address that they vouch for |
//! | `route` | string | `_none` where no route took the request |
//! | `principal.id`, `principal.anonymous` | string, bool | from Authorize on |
//! | `consumer.name`, `consumer.groups` | string, list | from Authorize on; groups are empty where no consumer is mapped |
//! | `claims["name"]` | any | from Authorize on; `claims.name` is the same |
//!
//! Operators are `&& || ! ?: == != < <= > >= in + - * / %`; functions `has(x)`, `size(x)`, `x.startsWith(y)`,
//! `x.endsWith(y)`, `x.contains(y)`, `x.matches("pattern")`, `x.lowerAscii()`, `x.upperAscii()`, `int(x)`,
//! `double(x)`, `string(x)` and `cidr_match(client.ip, "10.0.0.0/8", …)`.
//!
//! What a request does not have (a header, a claim, a principal) is an error to read, and a condition that errs
//! counts as true: the plugin runs. `has(x)` asks without erring. As CEL has it, `&&` and `||` pass over an
//! error on one side where the other side decides.

mod check;
mod eval;
mod functions;
#[cfg(test)]
mod tests;
mod types;
mod value;

use cel::{Env, common::ast::SourceInfo};
use palisade_contract::{ConfigError, Exchange, Stage};
use std::thread;

use self::{check::Checker, eval::Expr, value::Value};

/// The longest expression, in bytes.
pub const MAX_BYTES: usize = 4096;

/// The deepest nesting.
pub const MAX_DEPTH: usize = 32;

/// The parser's stack. An expression of [`MAX_BYTES`] needs up to a quarter of it in a debug build, which is
/// more than the threads that reload a configuration have.
const PARSER_STACK: usize = 32 << 20;

/// A compiled condition.
#[derive(Debug)]
pub struct When {
    source: Box<str>,
    root: Expr,
    needs_principal: bool,
}

/// What is wrong with an expression, and where in it.
#[derive(Debug, PartialEq, Eq)]
struct Mistake {
    message: String,
    help: String,
    /// Line and column, from 1, in characters.
    at: Option<(usize, usize)>,
}

impl When {
    /// Parses and checks an expression for a plugin of a stage.
    ///
    /// # Errors
    /// What cannot be parsed, is not known (or not yet, at that stage), has the wrong type or costs too much.
    /// The message tells the column within the expression.
    pub fn compile(source: &str, stage: Stage) -> Result<Self, ConfigError> {
        let compiled = thread::scope(|scope| {
            let parser = thread::Builder::new().stack_size(PARSER_STACK);
            let parsing = parser.spawn_scoped(scope, || compile(source, stage));
            // A panic of the parser is an expression that we cannot read, and no reason to stop a gateway.
            parsing.ok()?.join().ok()
        });
        let unreadable = || Mistake::nowhere("the condition cannot be read", example());
        compiled.unwrap_or_else(|| Err(unreadable())).map_err(Mistake::into_error)
    }

    /// True where the condition holds, and where it cannot be judged.
    pub fn evaluate(&self, ex: &Exchange) -> bool {
        match self.root.eval(ex) {
            Ok(Value::Bool(holds)) => holds,
            failed => {
                log::debug!("request {}: `{}` counts as true: {failed:?}", ex.id(), self.source);
                true
            }
        }
    }

    /// True where it reads `principal`, `consumer` or `claims`: where nothing authenticates it would count as
    /// true whenever it comes to that.
    pub fn needs_principal(&self) -> bool {
        self.needs_principal
    }
}

fn compile(source: &str, stage: Stage) -> Result<When, Mistake> {
    if source.len() > MAX_BYTES {
        let message = format!("the condition has {} bytes; {MAX_BYTES} are the most", source.len());
        return Err(Mistake::nowhere(message, "say it in fewer words".to_owned()));
    }
    // An environment without macros: they stay calls, and are refused by name.
    let parser = Env::default().with_optional_support(false).parser().max_recursion_depth(MAX_DEPTH as u16);
    let (tree, positions) =
        parser.parse_with_source_info(source).map_err(|errors| syntax(&errors, source))?;
    let mut checker = Checker::new(stage, &positions);
    let root = checker.condition(&tree)?;
    Ok(When { source: source.into(), root, needs_principal: checker.needs_principal() })
}

/// The first thing that the parser did not understand.
fn syntax(errors: &cel::ParseErrors, source: &str) -> Mistake {
    let Some(error) = errors.errors.first() else {
        return Mistake::nowhere("the condition cannot be read", example());
    };
    if source.trim().is_empty() {
        return Mistake::nowhere("the condition is empty", example());
    }
    if errors.errors.iter().any(|error| error.msg.contains("Recursion limit")) {
        return Mistake::nowhere(
            "the condition is nested too deeply",
            format!("{MAX_DEPTH} levels are the most"),
        );
    }
    let told = error.msg.trim_start_matches("Syntax error: ");
    let told = told.split(" expecting ").next().unwrap_or(told);
    let help =
        if told.contains("recognition error at: '=") { "compare with `==`".to_owned() } else { example() };
    let told = match told {
        "mismatched input '<EOF>'" | "no viable alternative at input '<EOF>'" => "it ends too early",
        told => told,
    };
    let at = usize::try_from(error.pos.0).ok().zip(usize::try_from(error.pos.1).ok());
    Mistake { message: format!("the condition cannot be read: {told}"), help, at: at.filter(|at| at.0 > 0) }
}

fn example() -> String {
    "write a CEL expression such as `request.method == \"POST\"`".to_owned()
}

impl Mistake {
    fn nowhere(message: impl Into<String>, help: String) -> Self {
        Mistake { message: message.into(), help, at: None }
    }

    /// A mistake at a node of the parser's tree.
    fn of_node(node: u64, positions: &SourceInfo, message: String, help: String) -> Self {
        let before = positions.offset_for(node).and_then(|(start, _)| positions.source.get(..start as usize));
        let at = before.map(|before| {
            let line = before.rsplit('\n').next().unwrap_or_default();
            (before.matches('\n').count() + 1, line.chars().count() + 1)
        });
        Mistake { message, help, at }
    }

    fn into_error(self) -> ConfigError {
        let place = match self.at {
            None => String::new(),
            Some((1, column)) => format!(" (column {column} of the condition)"),
            Some((line, column)) => format!(" (line {line}, column {column} of the condition)"),
        };
        ConfigError::new(format!("{}{place}", self.message)).help(self.help)
    }
}
