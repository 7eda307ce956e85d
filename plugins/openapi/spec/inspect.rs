//! What can be said of a schema without a value: what it declares, what it leaves out, and whether it has an end.

use super::{
    convert::Direction,
    documents::{Documents, Part, Spot},
};
use std::collections::{BTreeSet, HashSet};

/// The schemas that say something about the same value as this one does, itself first.
pub(super) fn in_place<'d>(documents: &'d Documents, part: &Part<'d>) -> Vec<Part<'d>> {
    let mut seen: HashSet<Spot> = HashSet::new();
    let (mut open, mut found) = (vec![part.clone()], Vec::new());
    while let Some(part) = open.pop() {
        if !seen.insert(part.spot.clone()) {
            continue;
        }
        open.extend(nearest(documents, &part));
        found.push(part);
    }
    found
}

/// One step of it.
fn nearest<'d>(documents: &'d Documents, part: &Part<'d>) -> Vec<Part<'d>> {
    let mut found: Vec<Part<'d>> = Vec::new();
    if let Some(reference) = part.text("$ref") {
        found.extend(documents.target(part.spot.file, reference));
    }
    for word in ["allOf", "anyOf", "oneOf"] {
        found.extend(part.get(word).into_iter().flat_map(|list| list.items()));
    }
    found.extend(["then", "else"].into_iter().filter_map(|word| part.get(word)));
    found
        .extend(part.get("dependentSchemas").into_iter().flat_map(|map| map.members().map(|(_, part)| part)));
    found
}

/// True for a schema that leads to itself without going into its value.
pub(super) fn is_circle<'d>(documents: &'d Documents, part: &Part<'d>) -> bool {
    let mut seen: HashSet<Spot> = HashSet::new();
    let mut open = nearest(documents, part);
    open.extend(["not", "if"].into_iter().filter_map(|word| part.get(word)));
    while let Some(next) = open.pop() {
        if next.spot == part.spot {
            return true;
        }
        if seen.insert(next.spot.clone()) {
            open.extend(nearest(documents, &next));
            open.extend(["not", "if"].into_iter().filter_map(|word| next.get(word)));
        }
    }
    false
}

/// True where a schema declares any member: then those that it does not declare are not declared.
pub(super) fn declares<'d>(documents: &'d Documents, part: &Part<'d>) -> bool {
    in_place(documents, part).iter().any(|part| {
        ["properties", "patternProperties"]
            .iter()
            .any(|word| part.node.get(word).is_some_and(|members| !members.entries().is_empty()))
    })
}

/// True for a member that does not go this way: `readOnly` in a request, `writeOnly` in a response.
pub(super) fn is_hidden<'d>(documents: &'d Documents, part: &Part<'d>, direction: Direction) -> bool {
    let word = match direction {
        Direction::Request => "readOnly",
        Direction::Response => "writeOnly",
    };
    let mut seen = HashSet::new();
    let mut open = vec![part.clone()];
    while let Some(part) = open.pop() {
        if !seen.insert(part.spot.clone()) {
            continue;
        }
        if part.flag(word) {
            return true;
        }
        if let Some(reference) = part.text("$ref") {
            open.extend(documents.target(part.spot.file, reference));
        }
        open.extend(part.get("allOf").into_iter().flat_map(|list| list.items()));
    }
    false
}

/// The names of the members that do not go this way.
pub(super) fn hidden<'d>(
    documents: &'d Documents,
    part: &Part<'d>,
    direction: Direction,
) -> BTreeSet<String> {
    // Without `required` nobody asks.
    let all = in_place(documents, part);
    if !all.iter().any(|part| part.node.get("required").is_some()) {
        return BTreeSet::new();
    }
    all.iter()
        .filter_map(|part| part.get("properties"))
        .flat_map(|properties| properties.members())
        .filter(|(_, member)| is_hidden(documents, member, direction))
        .map(|(name, _)| name.to_owned())
        .collect()
}

/// The schemas beside this one that build on it by `allOf`, and those that build on them.
pub(super) fn heirs<'d>(documents: &'d Documents, part: &Part<'d>) -> Vec<Part<'d>> {
    let Some((folder, _)) = part.spot.pointer.rsplit_once('/') else { return Vec::new() };
    let Some(all) = documents.target(part.spot.file, &format!("#{folder}")) else { return Vec::new() };
    let builds_on = |heir: &Part<'d>, bases: &HashSet<Spot>| {
        heir.get("allOf").into_iter().flat_map(|list| list.items()).any(|item| {
            let target = item.text("$ref").and_then(|reference| documents.target(item.spot.file, reference));
            target.is_some_and(|target| bases.contains(&target.spot))
        })
    };
    let mut bases = HashSet::from([part.spot.clone()]);
    let mut found: Vec<Part<'d>> = Vec::new();
    loop {
        let new: Vec<Part<'d>> = all
            .members()
            .map(|(_, heir)| heir)
            .filter(|heir| !bases.contains(&heir.spot) && builds_on(heir, &bases))
            .collect();
        if new.is_empty() {
            return found;
        }
        bases.extend(new.iter().map(|heir| heir.spot.clone()));
        found.extend(new);
    }
}
