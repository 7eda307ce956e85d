//! The reference of the configuration: every section and field, then every default in one annotated file.

use super::{
    GENERATED, defaults,
    fields::{Definitions, description, is_plugins},
};
use serde_json::Value;

/// The page, from the schema of the whole configuration.
pub(super) fn page(schema: &Value) -> String {
    let definitions = Definitions(schema.get("$defs").and_then(Value::as_object));
    let mut page = format!(
        "{GENERATED}\n\n# Configuration\n\n\
         A conf directory holds the files `DIR/*.yaml` and those below `listeners`, `upstreams`, `routes`, `plugins` and \
         `consumers`; mappings of all files merge. `${{env:NAME}}`, `${{env:NAME:-default}}` and `${{file:path}}` may \
         stand in any string. A key that is not listed here is refused.\n"
    );
    let sections = || definitions.properties(schema).into_iter().flatten();
    page.push_str("\n## Sections\n\n| Section | Type | |\n|---|---|---|\n");
    for (name, section) in sections() {
        let entry = definitions.values(section).unwrap_or(section);
        let meaning = description(section).or_else(|| description(definitions.resolve(entry)));
        let kind = definitions.type_of(section);
        page.push_str(&format!("| `{name}` | {kind} | {} |\n", meaning.unwrap_or_default()));
    }
    for (name, section) in sections().filter(|(_, section)| !is_plugins(section)) {
        let (entry, title) = match definitions.values(section) {
            Some(values) => (values, format!("{name}.NAME")),
            None => (section, name.clone()),
        };
        if definitions.properties(entry).is_some() {
            let meaning = description(definitions.resolve(entry)).unwrap_or_default();
            page.push_str(&format!("\n## `{title}`\n\n{meaning}\n\n{}", definitions.table(entry)));
        }
    }
    page.push_str(
        "\nThe fields of plugins, and those of every entry, are on [their pages](plugins/README.md).\n",
    );
    page.push_str("\n## Every default\n\nWhat stands behind a `#` is absent by default.\n\n```yaml\n");
    page.push_str(&defaults::file(schema));
    page.push_str("```\n");
    page
}
