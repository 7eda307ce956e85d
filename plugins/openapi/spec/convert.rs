//! Schemas of a description as schemas of the engine: 3.0's dialect becomes 2020-12's, what a direction leaves out is left
//! out, and what is not declared is refused or marked.

use super::{
    documents::{Documents, Part, Spot, nowhere},
    inspect, words,
};
use crate::schema;
use palisade_contract::{ConfigError, Value as Yaml};
use serde_json::{Map, Value, json};
use std::collections::{BTreeSet, HashMap, HashSet};

/// The title of the schema of what is to be taken out.
pub(crate) const STRIP: &str = "\u{1}strip";
/// The deepest nesting of one schema, references aside.
const MAX_DEPTH: usize = 48;

/// Which way a value goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Direction {
    Request,
    Response,
}

/// What becomes of members that are not declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Unknown {
    Allow,
    Deny,
    Strip,
}

/// How a schema is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Use {
    pub(super) direction: Direction,
    pub(super) unknown: Unknown,
    pub(super) place: Place,
}

/// Where a schema stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// It says all about its value: members that it does not declare are not declared.
    Whole,
    /// It says something about a value that others say something about as well (`allOf`).
    Part,
    /// It is a condition: nothing is added to what it says.
    Condition,
}

impl Use {
    pub(super) fn at(self, place: Place) -> Self {
        Use { place: if self.place == Place::Condition { Place::Condition } else { place }, ..self }
    }
}

/// The dialect of a description's schemas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V30,
    V31,
}

/// What a schema became, to find its source again.
pub(super) struct Converter<'d> {
    pub(super) documents: &'d Documents,
    pub(super) version: Version,
    pub(super) errors: Vec<ConfigError>,
    pub(super) defs: Map<String, Value>,
    names: HashMap<(Spot, Use, bool), String>,
    /// The source of each definition.
    sources: HashMap<String, Part<'d>>,
    waiting: Vec<(String, Part<'d>, Use, bool)>,
    patterns: HashSet<String>,
    /// What was asked about already.
    seen: HashSet<Spot>,
}

impl<'d> Converter<'d> {
    pub(super) fn new(documents: &'d Documents, version: Version) -> Self {
        Converter {
            documents,
            version,
            errors: Vec::new(),
            defs: Map::new(),
            names: HashMap::new(),
            sources: HashMap::new(),
            waiting: Vec::new(),
            patterns: HashSet::new(),
            seen: HashSet::new(),
        }
    }

    /// A schema that says all about its value, with the definitions that it needs.
    pub(super) fn whole(&mut self, part: &Part<'d>, direction: Direction, unknown: Unknown) -> Value {
        let how = Use { direction, unknown, place: Place::Whole };
        let name = self.define(part.clone(), how, false);
        while let Some((name, part, how, poly)) = self.waiting.pop() {
            let schema =
                if poly { self.family(&part, how) } else { self.schema(&part, how, &BTreeSet::new(), 0) };
            self.defs.insert(name, schema);
        }
        json!({ "$ref": format!("#/$defs/{name}") })
    }

    /// What of the description a place in the engine's document came from.
    pub(super) fn source(&self, pointer: &str) -> Option<Part<'d>> {
        let rest = pointer.strip_prefix("/$defs/")?;
        let (name, inner) =
            rest.split_once('/').map_or((rest, ""), |(name, _)| (name, rest.get(name.len()..).unwrap_or("")));
        let part = self.sources.get(name)?;
        let (node, found) = schema::find(part.node, inner);
        let pointer = format!("{}{found}", part.spot.pointer);
        Some(Part { node, spot: Spot { file: part.spot.file, pointer } })
    }

    /// The name of a definition; it is made later, so that references may lead in a circle. `poly`: all of a family.
    pub(super) fn define(&mut self, part: Part<'d>, how: Use, poly: bool) -> String {
        let key = (part.spot.clone(), how, poly);
        if let Some(name) = self.names.get(&key) {
            return name.clone();
        }
        let name = self.names.len().to_string();
        self.names.insert(key, name.clone());
        self.sources.insert(name.clone(), part.clone());
        self.waiting.push((name.clone(), part, how, poly));
        name
    }

    fn schema(&mut self, part: &Part<'d>, how: Use, above: &BTreeSet<String>, depth: usize) -> Value {
        if self.version == Version::V31
            && let Yaml::Scalar { text, plain: true, .. } = &part.node.value
            && matches!(text.as_str(), "true" | "false")
        {
            return Value::Bool(text == "true");
        }
        if !part.is_object() && !part.node.is_null() {
            self.errors.push(part.error("a schema is an object").help("write `{}` for a schema of anything"));
            return Value::Bool(false);
        }
        if depth > MAX_DEPTH {
            self.errors.push(part.error(format!("schemas nest more than {MAX_DEPTH} levels deep")));
            return Value::Bool(false);
        }
        if let Some(reference) = part.text("$ref") {
            let alone = self.version == Version::V30 || !part.members().any(|(name, _)| words::is_rule(name));
            let target = self.reference(part, reference, if alone { how } else { how.at(Place::Part) });
            if alone {
                return json!({ "$ref": target });
            }
            let mut out = self.rules(part, how, above, depth);
            out.insert("$ref".to_owned(), json!(target));
            return Value::Object(out);
        }
        Value::Object(self.rules(part, how, above, depth))
    }

    fn reference(&mut self, part: &Part<'d>, reference: &str, how: Use) -> String {
        let Some(target) = self.documents.target(part.spot.file, reference) else {
            self.errors.push(nowhere(part, reference));
            return "#/$defs/none".to_owned();
        };
        if self.seen.insert(target.spot.clone()) && inspect::is_circle(self.documents, &target) {
            let error = target.error("the schema refers to itself without an end");
            self.errors.push(error.help("let it refer to itself from within a member or an item"));
        }
        let poly = how.place == Place::Whole
            && target.node.get("discriminator").is_some()
            && ["oneOf", "anyOf"].iter().all(|word| target.node.get(word).is_none());
        format!("#/$defs/{}", self.define(target, how, poly))
    }

    /// All rules of a schema but its `$ref`.
    fn rules(
        &mut self,
        part: &Part<'d>,
        how: Use,
        above: &BTreeSet<String>,
        depth: usize,
    ) -> Map<String, Value> {
        let mut hidden = above.clone();
        hidden.extend(inspect::hidden(self.documents, part, how.direction));
        let mut out = Map::new();
        for (name, member) in part.members() {
            self.check_word(name, &member);
            if let Some(rule) = self.rule(name, &member, how, &hidden, depth) {
                out.insert(name.to_owned(), rule);
            }
        }
        self.dialect(part, &mut out);
        self.family_of_alternatives(part, &mut out);
        self.close(part, how, &mut out);
        out
    }

    /// A keyword that holds schemas, or is taken as it is; none for others.
    fn rule(
        &mut self,
        name: &str,
        member: &Part<'d>,
        how: Use,
        hidden: &BTreeSet<String>,
        depth: usize,
    ) -> Option<Value> {
        let none = BTreeSet::new();
        Some(match name {
            "properties" => Value::Object(self.properties(member, how, depth)),
            "patternProperties" | "dependentSchemas" => {
                let inner = if name == "dependentSchemas" { Place::Part } else { Place::Whole };
                let mut members = Map::new();
                for (key, member) in member.members() {
                    if name == "patternProperties" {
                        self.pattern(key, &member);
                    }
                    members.insert(key.to_owned(), self.schema(&member, how.at(inner), &none, depth + 1));
                }
                Value::Object(members)
            }
            "allOf" | "anyOf" | "oneOf" | "prefixItems" => {
                let inner = how.at(if name == "prefixItems" { Place::Whole } else { Place::Part });
                member.items().map(|item| self.schema(&item, inner, hidden, depth + 1)).collect()
            }
            "items" | "additionalProperties" | "unevaluatedProperties" | "unevaluatedItems" => {
                self.open(member, how.at(Place::Whole), depth)
            }
            "then" | "else" => self.schema(member, how.at(Place::Part), hidden, depth + 1),
            "not" | "if" | "contains" | "propertyNames" => {
                self.schema(member, how.at(Place::Condition), &none, depth + 1)
            }
            "required" if matches!(member.node.value, Yaml::List(_)) => {
                let asked = |item: &Part<'d>| !item.node.text().is_some_and(|name| hidden.contains(name));
                member.items().filter(asked).map(|item| self.plain(&item)).collect()
            }
            _ if name == "required" || words::is_copied(name) => self.plain(member),
            _ => return None,
        })
    }

    /// `additionalProperties` and the like, which are schemas or, in 3.0 as well, `true` or `false`.
    fn open(&mut self, part: &Part<'d>, how: Use, depth: usize) -> Value {
        match &part.node.value {
            Yaml::Scalar { text, plain: true, .. } if matches!(text.as_str(), "true" | "false") => {
                Value::Bool(text == "true")
            }
            _ => self.schema(part, how, &BTreeSet::new(), depth + 1),
        }
    }

    fn properties(&mut self, part: &Part<'d>, how: Use, depth: usize) -> Map<String, Value> {
        let mut members = Map::new();
        for (name, member) in part.members() {
            let hidden =
                how.place != Place::Condition && inspect::is_hidden(self.documents, &member, how.direction);
            let schema = match how.unknown {
                Unknown::Strip if hidden => json!({ "title": STRIP }),
                _ if hidden => Value::Bool(false),
                _ => self.schema(&member, how.at(Place::Whole), &BTreeSet::new(), depth + 1),
            };
            members.insert(name.to_owned(), schema);
        }
        members
    }

    /// What of 3.0 means something else in 2020-12, and formats of OpenAPI's that are ranges.
    fn dialect(&mut self, part: &Part<'d>, out: &mut Map<String, Value>) {
        if self.version == Version::V30 {
            for (limit, exclusive) in [("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")] {
                match out.remove(exclusive) {
                    Some(Value::Bool(true)) => {
                        if let Some(value) = out.remove(limit) {
                            out.insert(exclusive.to_owned(), value);
                        }
                    }
                    Some(Value::Bool(false)) | None => {}
                    Some(_) => {
                        let at = part.get(exclusive).unwrap_or_else(|| part.clone());
                        let error = at.error(format!("`{exclusive}` is `true` or `false` in OpenAPI 3.0"));
                        self.errors.push(error.help("a number there needs `openapi: 3.1.0`"));
                    }
                }
            }
            if part.flag("nullable") {
                nullable(out);
            }
        }
        let range = match part.text("format") {
            Some("int32") => Some((i64::from(i32::MIN), i64::from(i32::MAX))),
            Some("int64") => Some((i64::MIN, i64::MAX)),
            _ => None,
        };
        if let Some((least, most)) = range {
            // Where the schema has bounds of its own, both hold.
            for (word, bound) in [("minimum", least), ("maximum", most)] {
                if out.contains_key(word) {
                    let list = out.entry("allOf").or_insert_with(|| json!([]));
                    if let Some(list) = list.as_array_mut() {
                        list.push(json!({ word: bound }));
                    }
                } else {
                    out.insert(word.to_owned(), json!(bound));
                }
            }
        }
    }

    /// Refuses or marks members that are not declared, where the schema says all about its value and declares any.
    fn close(&mut self, part: &Part<'d>, how: Use, out: &mut Map<String, Value>) {
        let said =
            ["additionalProperties", "unevaluatedProperties"].iter().any(|word| out.contains_key(*word));
        if how.place != Place::Whole || how.unknown == Unknown::Allow || said {
            return;
        }
        if !inspect::declares(self.documents, part) {
            return;
        }
        let alone = !words::IN_PLACE.iter().any(|word| part.node.get(word).is_some());
        let word = if alone { "additionalProperties" } else { "unevaluatedProperties" };
        let rest = if how.unknown == Unknown::Strip { json!({ "title": STRIP }) } else { Value::Bool(false) };
        out.insert(word.to_owned(), rest);
    }

    fn plain(&mut self, part: &Part<'d>) -> Value {
        schema::file::value(part.node).unwrap_or_else(|errors| {
            self.errors.extend(errors.0);
            Value::Null
        })
    }

    fn pattern(&mut self, pattern: &str, at: &Part<'d>) {
        if self.patterns.contains(pattern) {
            return;
        }
        if schema::is_pattern(pattern) {
            self.patterns.insert(pattern.to_owned());
        } else {
            let error = at.error(format!("`{pattern}` is not a pattern that takes linear time"));
            self.errors
                .push(error.help("write it without looking around (`(?=…)`, `(?<!…)`) and back (`\\1`)"));
        }
    }

    fn check_word(&mut self, name: &str, member: &Part<'d>) {
        match name {
            "pattern" => {
                if let Some(pattern) = member.node.text() {
                    self.pattern(pattern, member);
                }
            }
            "$id" | "$dynamicRef" | "$dynamicAnchor" | "$recursiveRef" | "$recursiveAnchor" => {
                let error = member.error(format!("`{name}` is not known in a description"));
                self.errors.push(error.help("refer by `$ref` to the place or the `$anchor`"));
            }
            "$schema" if member.node.text() != Some(super::DIALECT) => {
                self.errors.push(member.error("the only dialect that is known is JSON Schema 2020-12"));
            }
            _ => {
                if let Some(meant) = words::misspelt(name) {
                    let error = member.error(format!("unknown keyword `{name}`"));
                    self.errors.push(error.help(format!("did you mean `{meant}`?")));
                }
            }
        }
    }
}

/// 3.0's `nullable`: of a schema with a type it makes one more type; without a type, null passes whatever else is said.
fn nullable(out: &mut Map<String, Value>) {
    match out.get_mut("type") {
        Some(kind @ Value::String(_)) => *kind = json!([kind.take(), "null"]),
        Some(_) => {}
        None => {
            let inner = Value::Object(std::mem::take(out));
            out.insert("anyOf".to_owned(), json!([{ "type": "null" }, inner]));
        }
    }
}
