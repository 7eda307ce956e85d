//! From the parser's tree to a typed one.

use cel::common::ast::{CallExpr, Expr as Tree, IdedExpr, LiteralValue, SourceInfo, operators};
use palisade_contract::{Stage, conf::suggest};
use std::cmp::Ordering;

use super::{
    MAX_DEPTH, Mistake,
    eval::{Expr, Operator, Variable},
    types::Type,
};

/// Name, variable, type.
fn variables() -> [(&'static str, Variable, Type); 14] {
    [
        ("request.method", Variable::Method, Type::Text),
        ("request.path", Variable::Path, Type::Text),
        ("request.host", Variable::Host, Type::Text),
        ("request.query", Variable::Query, Type::Text),
        ("request.scheme", Variable::Scheme, Type::Text),
        ("request.headers", Variable::Headers, Type::Headers),
        ("client.ip", Variable::Ip, Type::Text),
        ("client.port", Variable::Port, Type::Int),
        ("route", Variable::Route, Type::Text),
        ("principal.id", Variable::PrincipalId, Type::Text),
        ("principal.anonymous", Variable::Anonymous, Type::Bool),
        ("consumer.name", Variable::ConsumerName, Type::Text),
        ("consumer.groups", Variable::ConsumerGroups, Type::List(Box::new(Type::Text))),
        ("claims", Variable::Claims, Type::Claims),
    ]
}

/// Checks one expression.
pub(super) struct Checker<'c> {
    pub(super) positions: &'c SourceInfo,
    stage: Stage,
    depth: usize,
    needs_principal: bool,
}

/// A node of the typed tree, and what is known of its value.
pub(super) type Typed = (Expr, Type);

impl<'c> Checker<'c> {
    pub(super) fn new(stage: Stage, positions: &'c SourceInfo) -> Self {
        Checker { positions, stage, depth: 0, needs_principal: false }
    }

    /// True where a principal's variable was met.
    pub(super) fn needs_principal(&self) -> bool {
        self.needs_principal
    }

    /// The whole expression: true or false.
    pub(super) fn condition(&mut self, tree: &IdedExpr) -> Result<Expr, Mistake> {
        self.expect(tree, &Type::Bool)
    }

    /// A node of any type.
    pub(super) fn node(&mut self, tree: &IdedExpr) -> Result<Typed, Mistake> {
        if self.depth == MAX_DEPTH {
            let help = format!("{MAX_DEPTH} levels are the most");
            return Err(self.mistake(tree, "the condition is nested too deeply".to_owned(), help));
        }
        self.depth += 1;
        let node = match &tree.expr {
            Tree::Literal(literal) => self.literal(tree, literal),
            Tree::Ident(_) => self.variable(tree),
            Tree::Select(select) if !select.test => match qualified_name(tree) {
                Some(name) if is_namespace(&name) => self.variable(tree),
                _ => {
                    let base = self.node(&select.operand)?;
                    self.index(tree, base, (Expr::Text(select.field.as_str().into()), Type::Text))
                }
            },
            Tree::List(list) if list.optional_indices.is_empty() => self.list(tree, &list.elements),
            Tree::Call(call) => self.call(tree, call),
            _ => Err(self.mistake(
                tree,
                "this kind of expression is not supported".to_owned(),
                "write conditions of names, strings, numbers, lists, operators and functions".to_owned(),
            )),
        };
        self.depth -= 1;
        node
    }

    /// A node that must have a type; what is known at run time alone passes, but for conditions.
    pub(super) fn expect(&mut self, tree: &IdedExpr, wanted: &Type) -> Result<Expr, Mistake> {
        let (node, found) = self.node(tree)?;
        if found == *wanted || (found == Type::Dyn && *wanted != Type::Bool) {
            return Ok(node);
        }
        let help = match (wanted, &found) {
            (Type::Bool, Type::Dyn) => "compare it: `claims.admin == true`".to_owned(),
            (Type::Bool, _) => "compare it with something, for instance by `==`".to_owned(),
            (Type::Text, Type::Int | Type::Double) => "write it in quotes, or `string(…)`".to_owned(),
            _ => format!("write {}", wanted.article()),
        };
        Err(self.mistake(tree, format!("this is {}, not {}", found.article(), wanted.article()), help))
    }

    pub(super) fn mistake(&self, tree: &IdedExpr, message: String, help: String) -> Mistake {
        Mistake::of_node(tree.id, self.positions, message, help)
    }

    fn literal(&self, tree: &IdedExpr, literal: &LiteralValue) -> Result<Typed, Mistake> {
        Ok(match literal {
            LiteralValue::Null => (Expr::Null, Type::Null),
            LiteralValue::Boolean(value) => (Expr::Bool(*value.inner()), Type::Bool),
            LiteralValue::Int(value) => (Expr::Int(*value.inner()), Type::Int),
            LiteralValue::Double(value) => (Expr::Double(*value.inner()), Type::Double),
            LiteralValue::String(value) => (Expr::Text(value.inner().into()), Type::Text),
            LiteralValue::UInt(_) => {
                let message = "unsigned numbers are not supported".to_owned();
                return Err(self.mistake(tree, message, "leave out the `u`".to_owned()));
            }
            LiteralValue::Bytes(_) => {
                let message = "byte strings are not supported".to_owned();
                return Err(self.mistake(tree, message, "leave out the `b`".to_owned()));
            }
        })
    }

    fn variable(&mut self, tree: &IdedExpr) -> Result<Typed, Mistake> {
        let name = qualified_name(tree).unwrap_or_default();
        // A mistake is told where the name begins, not at its dot.
        let tree = match &tree.expr {
            Tree::Select(select) => &select.operand,
            _ => tree,
        };
        if let Some((_, variable, kind)) = variables().into_iter().find(|(known, ..)| *known == name) {
            if is_of_principal(&name) {
                self.needs_principal = true;
                if self.stage <= Stage::Authenticate {
                    let message =
                        format!("`{name}` is not known yet where this plugin runs ({})", self.stage.as_str());
                    let help = "a condition here can ask about `request`, `client` and `route`".to_owned();
                    return Err(self.mistake(tree, message, help));
                }
            }
            return Ok((Expr::Variable(variable), kind));
        }
        let prefix = format!("{name}.");
        let fields: Vec<_> = variables()
            .into_iter()
            .map(|(known, ..)| known)
            .filter(|known| known.starts_with(&prefix))
            .collect();
        if !fields.is_empty() {
            let list = fields.iter().map(|field| format!("`{field}`")).collect::<Vec<_>>().join(", ");
            return Err(self.mistake(
                tree,
                format!("`{name}` has no value of its own"),
                format!("there is {list}"),
            ));
        }
        let help = suggest(&name, variables().into_iter().map(|(known, ..)| known), "there is");
        Err(self.mistake(tree, format!("`{name}` is not known"), help))
    }

    fn list(&mut self, tree: &IdedExpr, elements: &[IdedExpr]) -> Result<Typed, Mistake> {
        let mut items = Vec::with_capacity(elements.len());
        let mut kind: Option<Type> = None;
        for element in elements {
            let (item, found) = self.node(element)?;
            let so_far = kind.unwrap_or_else(|| found.clone());
            let Some(common) = so_far.common(&found) else {
                let message = format!("the list holds {} and {}", so_far.article(), found.article());
                return Err(self.mistake(tree, message, "write entries of one type".to_owned()));
            };
            kind = Some(common);
            items.push(item);
        }
        Ok((Expr::List(items), Type::List(Box::new(kind.unwrap_or(Type::Dyn)))))
    }

    /// `base[key]` and `base.key`.
    fn index(&self, tree: &IdedExpr, base: Typed, key: Typed) -> Result<Typed, Mistake> {
        let (base, kind) = base;
        let (key, key_kind) = key;
        let (wanted, found) = match kind {
            Type::Headers => (Type::Text, Type::Text),
            Type::Claims => (Type::Text, Type::Dyn),
            Type::List(item) => (Type::Int, *item),
            Type::Dyn if matches!(key_kind, Type::Int | Type::Text | Type::Dyn) => {
                (key_kind.clone(), Type::Dyn)
            }
            kind => {
                let message = format!("{} has no fields", kind.article());
                return Err(self.mistake(
                    tree,
                    message,
                    "ask `request.headers`, `claims` or a list".to_owned(),
                ));
            }
        };
        if key_kind != wanted && key_kind != Type::Dyn {
            let message = format!("the key is {}, not {}", key_kind.article(), wanted.article());
            return Err(self.mistake(tree, message, format!("write {}", wanted.article())));
        }
        if let (Expr::Variable(Variable::Headers), Expr::Text(name)) = (&base, &key)
            && http::HeaderName::from_bytes(name.as_bytes()).is_err()
        {
            let message = format!("`{}` is not the name of a header", name.escape_debug());
            return Err(self.mistake(tree, message, "write a name such as `x-api-version`".to_owned()));
        }
        Ok((Expr::Index(Box::new(base), Box::new(key)), found))
    }

    fn call(&mut self, tree: &IdedExpr, call: &CallExpr) -> Result<Typed, Mistake> {
        match (call.target.as_deref(), call.func_name.as_str(), call.args.as_slice()) {
            (None, operators::LOGICAL_NOT, [inner]) => {
                Ok((Expr::Not(Box::new(self.expect(inner, &Type::Bool)?)), Type::Bool))
            }
            (None, name @ (operators::LOGICAL_AND | operators::LOGICAL_OR), [one, other]) => {
                let one = Box::new(self.expect(one, &Type::Bool)?);
                let other = Box::new(self.expect(other, &Type::Bool)?);
                let node = if name == operators::LOGICAL_AND { Expr::And } else { Expr::Or };
                Ok((node(one, other), Type::Bool))
            }
            (None, operators::CONDITIONAL, [condition, yes, no]) => {
                let condition = self.expect(condition, &Type::Bool)?;
                let (yes, kind) = self.node(yes)?;
                let (no, other) = self.node(no)?;
                let Some(kind) = kind.common(&other) else {
                    let message = format!("`?:` gives {} or {}", kind.article(), other.article());
                    return Err(self.mistake(tree, message, "let both sides have one type".to_owned()));
                };
                Ok((Expr::Choose(Box::new([condition, yes, no])), kind))
            }
            (None, operators::INDEX, [base, key]) => {
                let base = self.node(base)?;
                let key = self.node(key)?;
                self.index(tree, base, key)
            }
            (None, operators::NEGATE, [inner]) => {
                let (node, kind) = self.node(inner)?;
                self.numeric(tree, "-", &kind)?;
                Ok((Expr::Negative(Box::new(node)), kind))
            }
            (None, name, [one, other]) if let Some(sign) = sign(name) => self.binary(tree, sign, one, other),
            (target, name, args) => self.function(tree, target, name, args),
        }
    }

    fn binary(
        &mut self,
        tree: &IdedExpr,
        sign: &str,
        one: &IdedExpr,
        other: &IdedExpr,
    ) -> Result<Typed, Mistake> {
        let (one, left) = self.node(one)?;
        let (other, right) = self.node(other)?;
        let unfit = |checker: &Self| {
            let message = format!("`{sign}` does not go with {} and {}", left.article(), right.article());
            let help = match (&left, &right) {
                (Type::Text, Type::Int) | (Type::Int, Type::Text) => "convert the string: `int(…)`",
                _ if sign == "in" => "write a list, `request.headers` or `claims` on the right",
                _ => "let both sides have one type",
            };
            checker.mistake(tree, message, help.to_owned())
        };
        let (one, other) = (Box::new(one), Box::new(other));
        match sign {
            "==" | "!=" => {
                left.comparable(&right).then_some(()).ok_or_else(|| unfit(self))?;
                let equal = Expr::Equal(one, other);
                Ok((if sign == "==" { equal } else { Expr::Not(Box::new(equal)) }, Type::Bool))
            }
            "in" => {
                let fits = match &right {
                    Type::List(item) => item.comparable(&left),
                    Type::Headers | Type::Claims => matches!(left, Type::Text | Type::Dyn),
                    Type::Dyn => true,
                    _ => false,
                };
                fits.then_some(()).ok_or_else(|| unfit(self))?;
                Ok((Expr::In(one, other), Type::Bool))
            }
            "<" | "<=" | ">" | ">=" => {
                let ordered = |kind: &Type| matches!(kind, Type::Int | Type::Double | Type::Text | Type::Dyn);
                let fits = ordered(&left) && ordered(&right) && left.comparable(&right);
                fits.then_some(()).ok_or_else(|| unfit(self))?;
                let holds = match sign {
                    "<" => Ordering::is_lt,
                    "<=" => Ordering::is_le,
                    ">" => Ordering::is_gt,
                    _ => Ordering::is_ge,
                };
                Ok((Expr::Order(one, other, holds), Type::Bool))
            }
            _ => {
                let (operator, kind) = arithmetic(sign, &left, &right).ok_or_else(|| unfit(self))?;
                Ok((Expr::Arithmetic(operator, one, other), kind))
            }
        }
    }

    fn numeric(&self, tree: &IdedExpr, sign: &str, kind: &Type) -> Result<(), Mistake> {
        if matches!(kind, Type::Int | Type::Double | Type::Dyn) {
            return Ok(());
        }
        let message = format!("`{sign}` does not go with {}", kind.article());
        Err(self.mistake(tree, message, "write a number".to_owned()))
    }
}

/// What an operator makes of two types, where they go together.
fn arithmetic(sign: &str, left: &Type, right: &Type) -> Option<(Operator, Type)> {
    let operator = match sign {
        "+" => Operator::Add,
        "-" => Operator::Subtract,
        "*" => Operator::Multiply,
        "/" => Operator::Divide,
        _ => Operator::Remainder,
    };
    let kind = left.common(right)?;
    let fits = match kind {
        Type::Int | Type::Dyn => true,
        Type::Double => operator != Operator::Remainder,
        Type::Text => operator == Operator::Add,
        _ => false,
    };
    fits.then_some((operator, kind))
}

/// `a.b.c`, where a node is such a name.
fn qualified_name(tree: &IdedExpr) -> Option<String> {
    match &tree.expr {
        Tree::Ident(name) => Some(name.clone()),
        Tree::Select(select) if !select.test => match &select.operand.expr {
            Tree::Ident(_) => Some(format!("{}.{}", qualified_name(&select.operand)?, select.field)),
            _ => None,
        },
        _ => None,
    }
}

/// True for a name whose first part is not a variable itself: `request.method`, and `foo.bar`, which is then
/// reported whole.
fn is_namespace(name: &str) -> bool {
    let first = name.split('.').next().unwrap_or_default();
    variables().iter().all(|(known, ..)| *known != first)
}

fn is_of_principal(name: &str) -> bool {
    matches!(name.split('.').next(), Some("principal" | "consumer" | "claims"))
}

/// How a binary operator is written.
fn sign(name: &str) -> Option<&'static str> {
    Some(match name {
        operators::EQUALS => "==",
        operators::NOT_EQUALS => "!=",
        operators::LESS => "<",
        operators::LESS_EQUALS => "<=",
        operators::GREATER => ">",
        operators::GREATER_EQUALS => ">=",
        operators::IN => "in",
        operators::ADD => "+",
        operators::SUBSTRACT => "-",
        operators::MULTIPLY => "*",
        operators::DIVIDE => "/",
        operators::MODULO => "%",
        _ => return None,
    })
}
