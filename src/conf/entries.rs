//! Plugin entries and consumers: from what is written to the model.

use super::{
    model::{At, Common, ConsumerConfig, Entry, OnFault},
    names,
    raw::{RawCommon, RawOnFault},
    sections::{at, check_name, mapping, read, wrong},
    suggest,
};
use palisade_contract::{
    ConfigError, Consumer, Descriptor, Node, Value,
    conf::{node::Key, words},
    env::{CredentialEntry, Credentials},
};
use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

const COMMON: [&str; 4] = ["mode", "on_fault", "when", "anonymous"];

/// The entries under a `plugins`.
pub(super) fn entries(
    written: &[(Key, Node)],
    registry: &[Descriptor],
    errors: &mut Vec<ConfigError>,
) -> BTreeMap<Arc<str>, Entry> {
    written.iter().map(|(key, node)| (key.text.as_str().into(), entry(key, node, registry, errors))).collect()
}

fn entry(key: &Key, node: &Node, registry: &[Descriptor], errors: &mut Vec<ConfigError>) -> Entry {
    let (name, label) = match key.text.split_once('#') {
        Some((name, label)) => (name, Some(label)),
        None => (key.text.as_str(), None),
    };
    let broken = || Entry {
        key: key.text.as_str().into(),
        name: name.to_owned(),
        place: key.place.clone(),
        common: Common::default(),
        fields: node.clone(),
        broken: true,
        only_common: false,
    };
    let refuse = |message: String, help: String| {
        ConfigError::at(&node.path, message).help(help).place(key.place.clone())
    };
    let Some(descriptor) = registry.iter().find(|descriptor| descriptor.name == name) else {
        errors.push(refuse(
            format!("unknown plugin `{name}`"),
            suggest(name, registry.iter().map(|descriptor| descriptor.name), "the plugins are"),
        ));
        return broken();
    };
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
    if label.is_some_and(|label| label.is_empty() || label.len() > 64 || !label.chars().all(plain)) {
        errors.push(refuse(
            format!("`{}` has no good label", key.text),
            "a label has lower-case letters, digits, `-` and `_`: `rate-limiting#burst`".to_owned(),
        ));
    }
    if !matches!(node.value, Value::Map(_)) {
        // Nothing at all is refused too: it is what a file looks like that was not written to its end.
        let error = if node.is_null() {
            wrong(node, "", "the entry is empty").place(key.place.clone())
        } else {
            wrong(node, "", "an entry is a mapping")
        };
        errors.push(error.help(format!("write `{}: {{}}` for all defaults", key.text)));
        return broken();
    }
    read_entry(node, descriptor, broken(), errors)
}

/// What every entry may hold, and the plugin's own fields. `entry` is what is known of it without.
fn read_entry(node: &Node, descriptor: &Descriptor, entry: Entry, errors: &mut Vec<ConfigError>) -> Entry {
    let (common, fields): (Vec<_>, Vec<_>) =
        node.entries().iter().cloned().partition(|(field, _)| COMMON.contains(&field.text.as_str()));
    let common_node = Node { value: Value::Map(common), ..node.clone() };
    let common =
        read::<RawCommon>(&common_node, errors).map(|raw| compile(&common_node, raw, descriptor, errors));
    let only_common = fields.is_empty() && !common_node.entries().is_empty();
    let fields = Node { value: Value::Map(fields), ..node.clone() };
    let mut wrong_fields = false;
    if !only_common && let Err(found) = descriptor.check(&fields) {
        wrong_fields = true;
        errors.extend(found.0.into_iter().map(|error| meant_common(error, descriptor)));
    }
    Entry {
        broken: common.is_none() || wrong_fields,
        common: common.unwrap_or_default(),
        fields,
        only_common,
        ..entry
    }
}

/// A plugin knows its own fields only: an unknown one may be meant for those that every entry may hold.
fn meant_common(error: ConfigError, descriptor: &Descriptor) -> ConfigError {
    if error.help.as_ref().is_some_and(|help| help.starts_with("did you mean")) {
        return error;
    }
    let Some(word) = error.message.strip_prefix("unknown field `").and_then(|rest| rest.strip_suffix('`'))
    else {
        return error;
    };
    if ["enable", "enabled", "disable", "disabled", "active"].contains(&word) {
        return error.help("an entry runs where it is written; `mode: off` switches it off");
    }
    let common = COMMON.into_iter().filter(|name| *name != "anonymous" || descriptor.authenticates);
    match words::unknown("field", word, common).1 {
        Some(meant) => error.help(format!("did you mean `{meant}`?")),
        None => error,
    }
}

fn compile(node: &Node, raw: RawCommon, descriptor: &Descriptor, errors: &mut Vec<ConfigError>) -> Common {
    if raw.anonymous.is_some() && !descriptor.authenticates {
        let message =
            format!("`{}` does not authenticate, so that `anonymous` has no meaning", descriptor.name);
        errors.push(
            wrong(node, "anonymous", message)
                .help("write it in the entry of an authenticator such as `key-auth`"),
        );
    }
    let text = |field: &str, value: Option<String>| -> Option<At<String>> {
        value.map(|value| at(node, field, value))
    };
    Common {
        mode: raw.mode,
        on_fault: raw.on_fault.map(|on_fault| {
            at(
                node,
                "on_fault",
                match on_fault {
                    RawOnFault::Deny => OnFault::Deny,
                    RawOnFault::Allow => OnFault::Allow,
                },
            )
        }),
        when: text("when", raw.when),
        anonymous: text("anonymous", raw.anonymous),
    }
}

/// Consumers, their credentials by plugin, and the names of what should be a consumer.
pub(super) fn consumers(
    written: &[(Key, Node)],
    registry: &[Descriptor],
    errors: &mut Vec<ConfigError>,
) -> (BTreeMap<Arc<str>, ConsumerConfig>, Credentials, HashSet<Arc<str>>) {
    let mut broken = HashSet::new();
    let mut all = BTreeMap::new();
    let mut credentials = Credentials::new();
    for (key, node) in written {
        check_name(key, &node.path, errors);
        if !matches!(node.value, Value::Map(_)) && !node.is_null() {
            errors.push(
                wrong(node, "", "a consumer is a mapping")
                    .help("write `groups`, `plugins` and credentials such as `key-auth` below its name"),
            );
            broken.insert(key.text.as_str().into());
            continue;
        }
        let groups =
            node.get("groups").and_then(|groups| read::<Vec<String>>(groups, errors)).unwrap_or_default();
        for (index, group) in groups.iter().enumerate() {
            // Groups go to the origin as a list in a header.
            if !names::is_group(group) {
                let message = format!("`{group}` cannot be a group");
                errors.push(wrong(node, &format!("groups[{index}]"), message).help(names::GROUPS));
            }
        }
        let name: Arc<str> = key.text.as_str().into();
        let consumer = Arc::new(Consumer {
            name: name.clone(),
            groups: groups.iter().map(|group| group.as_str().into()).collect(),
        });
        for (field, value) in node.entries() {
            match field.text.as_str() {
                "groups" | "plugins" => {}
                plugin => {
                    consumer_credentials(plugin, field, value, &consumer, registry, &mut credentials, errors)
                }
            }
        }
        let written = node.get("plugins").map_or(&[][..], |node| mapping(node, errors));
        let plugins = entries(written, registry, errors);
        all.insert(name, ConsumerConfig { consumer, plugins, place: key.place.clone() });
    }
    (all, credentials, broken)
}

fn consumer_credentials(
    plugin: &str,
    key: &Key,
    node: &Node,
    consumer: &Arc<Consumer>,
    registry: &[Descriptor],
    credentials: &mut Credentials,
    errors: &mut Vec<ConfigError>,
) {
    let holders = || {
        registry.iter().filter(|descriptor| descriptor.has_credentials()).map(|descriptor| descriptor.name)
    };
    let Some(descriptor) =
        registry.iter().find(|descriptor| descriptor.name == plugin && descriptor.has_credentials())
    else {
        let known: Vec<&str> = ["groups", "plugins"].into_iter().chain(holders()).collect();
        let error = ConfigError::at(&node.path, format!("unknown field `{plugin}` of a consumer"));
        errors.push(
            error.help(suggest(plugin, known.iter().copied(), "the fields are")).place(key.place.clone()),
        );
        return;
    };
    let Value::List(items) = &node.value else {
        errors.push(
            wrong(node, "", format!("`{plugin}` is a list of credentials"))
                .help("put a `-` before the first field"),
        );
        return;
    };
    for item in items {
        match descriptor.credential(item) {
            Some(Ok(value)) => {
                let entry = CredentialEntry { consumer: consumer.clone(), value, place: item.place.clone() };
                credentials.entry(descriptor.name).or_default().push(entry);
            }
            Some(Err(found)) => errors.extend(found.0),
            None => {}
        }
    }
}
