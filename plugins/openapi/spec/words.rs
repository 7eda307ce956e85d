//! The keywords of schemas.

use palisade_contract::conf::words::unknown;

/// Keywords whose schemas say something about the same value.
pub(super) const IN_PLACE: [&str; 9] =
    ["$ref", "allOf", "anyOf", "oneOf", "if", "then", "else", "not", "dependentSchemas"];

/// Keywords that are taken as they are.
const COPIED: [&str; 23] = [
    "type",
    "enum",
    "const",
    "multipleOf",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "minLength",
    "maxLength",
    "pattern",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minContains",
    "maxContains",
    "minProperties",
    "maxProperties",
    "dependentRequired",
    "format",
    "contentEncoding",
    "contentMediaType",
    "$comment",
];

/// Keywords that are converted.
const CONVERTED: [&str; 20] = [
    "properties",
    "patternProperties",
    "additionalProperties",
    "unevaluatedProperties",
    "propertyNames",
    "items",
    "prefixItems",
    "contains",
    "unevaluatedItems",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "then",
    "else",
    "dependentSchemas",
    "required",
    "nullable",
    "discriminator",
];

/// Keywords that are no rules.
const REMARKS: [&str; 20] = [
    "title",
    "description",
    "default",
    "example",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
    "externalDocs",
    "xml",
    "contentSchema",
    "$defs",
    "definitions",
    "$ref",
    "$schema",
    "$anchor",
    "$id",
    "$vocabulary",
    "$dynamicRef",
    "$dynamicAnchor",
];

/// True for a keyword that goes to the engine as it is. What says how a string is encoded is a remark, but for base64.
pub(super) fn is_copied(name: &str) -> bool {
    COPIED.contains(&name) && !matches!(name, "$comment" | "contentEncoding" | "contentMediaType")
}

/// True for a keyword that says something about a value.
pub(super) fn is_rule(name: &str) -> bool {
    COPIED.contains(&name) || CONVERTED.contains(&name)
}

/// The keyword that was probably meant by a word that is none. Short words are near to too many.
pub(super) fn misspelt(name: &str) -> Option<&'static str> {
    let known = || COPIED.iter().chain(&CONVERTED).chain(&REMARKS).copied();
    if name.len() < 5 || name.starts_with("x-") || known().any(|word| word == name) {
        return None;
    }
    unknown("keyword", name, known()).1
}
