//! Alternatives of which a member of the value says which one holds: `discriminator`.

use super::{
    convert::{Converter, Place, Use},
    documents::{Part, Spot},
    inspect,
};
use crate::schema;
use serde_json::{Map, Value, json};

impl<'d> Converter<'d> {
    /// `oneOf` with a discriminator: the member says which of them holds, and the others need not be tried.
    pub(super) fn family_of_alternatives(&mut self, part: &Part<'d>, out: &mut Map<String, Value>) {
        let Some(discriminator) = part.get("discriminator") else { return };
        let Some(word) = ["oneOf", "anyOf"].into_iter().find(|word| out.contains_key(*word)) else { return };
        let Some(member) = discriminator.text("propertyName") else {
            self.errors.push(discriminator.error("the discriminator has no `propertyName`"));
            return;
        };
        let Some(list) = part.get(word) else { return };
        let mut choices: Vec<(String, Value)> = Vec::new();
        let converted = out.get(word).and_then(Value::as_array).cloned().unwrap_or_default();
        let mapping = self.mapping(&discriminator);
        for (item, schema) in list.items().zip(converted) {
            let Some(reference) = item.text("$ref") else {
                let error = item.error("with a discriminator the alternatives are references");
                self.errors.push(error.help("write `$ref: '#/components/schemas/NAME'`"));
                return;
            };
            let Some(target) = self.documents.target(item.spot.file, reference) else { return };
            let named: Vec<String> = mapping
                .iter()
                .filter(|(_, spot)| *spot == target.spot)
                .map(|(value, _)| value.clone())
                .collect();
            if named.is_empty() {
                let name = target.spot.pointer.rsplit('/').next().map_or_else(String::new, schema::unescape);
                choices.push((name, schema));
            } else {
                choices.extend(named.into_iter().map(|value| (value, schema.clone())));
            }
        }
        out.remove(word);
        choose(out, member, choices);
    }

    /// What a discriminator's values stand for, where it says so.
    fn mapping(&mut self, discriminator: &Part<'d>) -> Vec<(String, Spot)> {
        let Some(mapping) = discriminator.get("mapping") else { return Vec::new() };
        let mut found = Vec::new();
        for (value, target) in mapping.members() {
            let text = target.node.text().unwrap_or_default();
            let reference = if text.contains(['#', '/', '.']) {
                text.to_owned()
            } else {
                format!("#/components/schemas/{text}")
            };
            match self.documents.target(target.spot.file, &reference) {
                Some(part) => found.push((value.to_owned(), part.spot)),
                None => self.errors.push(target.error(format!("`{text}` is no schema here"))),
            }
        }
        found
    }

    /// A schema with a discriminator that others build on by `allOf`: the member says which of them a value is.
    pub(super) fn family(&mut self, part: &Part<'d>, how: Use) -> Value {
        let own = self.define(part.clone(), how, false);
        let base = self.define(part.clone(), how.at(Place::Part), false);
        let Some(discriminator) = part.get("discriminator") else { return json!({}) };
        let Some(member) = discriminator.text("propertyName") else {
            self.errors.push(discriminator.error("the discriminator has no `propertyName`"));
            return json!({});
        };
        let mapping = self.mapping(&discriminator);
        let own_name = part.spot.pointer.rsplit('/').next().map_or_else(String::new, schema::unescape);
        let mut choices = vec![(own_name, json!({ "$ref": format!("#/$defs/{own}") }))];
        for heir in inspect::heirs(self.documents, part) {
            let name = heir.spot.pointer.rsplit('/').next().map_or_else(String::new, schema::unescape);
            let mut named: Vec<String> = mapping
                .iter()
                .filter(|(_, spot)| *spot == heir.spot)
                .map(|(value, _)| value.clone())
                .collect();
            if named.is_empty() {
                named.push(name);
            }
            let definition = self.define(heir, how, false);
            let schema = json!({ "$ref": format!("#/$defs/{definition}") });
            choices.extend(named.into_iter().map(|value| (value, schema.clone())));
        }
        let mut out = Map::new();
        if choices.len() == 1 {
            return json!({ "$ref": format!("#/$defs/{own}") });
        }
        out.insert("$ref".to_owned(), json!(format!("#/$defs/{base}")));
        choose(&mut out, member, choices);
        Value::Object(out)
    }
}

/// Adds to a schema that a member says which of several holds for the object.
fn choose(out: &mut Map<String, Value>, member: &str, choices: Vec<(String, Value)>) {
    let values: Vec<&String> = choices.iter().map(|(value, _)| value).collect();
    let known = json!({
        "type": "object",
        "required": [member],
        "properties": { member: { "enum": values } },
    });
    let when = |(value, schema): (String, Value)| {
        json!({
            "if": { "required": [member], "properties": { member: { "const": value } } },
            "then": schema,
        })
    };
    let mut all = vec![known];
    all.extend(choices.into_iter().map(when));
    match out.get_mut("allOf").and_then(Value::as_array_mut) {
        Some(list) => list.extend(all),
        None => {
            out.insert("allOf".to_owned(), Value::Array(all));
        }
    }
}
