//! Who may call an operation.

use super::{Reader, documents::Part};
use palisade_contract::{CredentialKind, Requirement};
use std::{collections::HashMap, sync::Arc};

/// The kinds of credentials that the description names.
pub(super) type Schemes = HashMap<String, CredentialKind>;

/// Reads `components.securitySchemes`.
pub(super) fn schemes<'d>(reader: &mut Reader<'d, '_>, root: &Part<'d>) -> Schemes {
    let mut all = Schemes::new();
    let Some(part) = root.get("components").and_then(|components| components.get("securitySchemes")) else {
        return all;
    };
    for (name, scheme) in part.members() {
        let Some(scheme) = reader.follow(scheme) else { continue };
        match kind(&scheme) {
            Ok(kind) => {
                all.insert(name.to_owned(), kind);
            }
            Err(what) => reader.refuse(&scheme, what, "see `securitySchemes` in the documents of OpenAPI"),
        }
    }
    all
}

fn kind(scheme: &Part<'_>) -> Result<CredentialKind, String> {
    let text = |name: &str| scheme.text(name).ok_or(format!("the scheme has no `{name}`"));
    match text("type")? {
        "apiKey" => {
            let name = text("name")?;
            match text("in")? {
                "header" => Ok(CredentialKind::Header(name.to_ascii_lowercase().into())),
                "query" => Ok(CredentialKind::Query(name.into())),
                "cookie" => Ok(CredentialKind::Cookie(name.into())),
                other => Err(format!("`{other}` is no place of a key")),
            }
        }
        "http" => Ok(CredentialKind::Http(text("scheme")?.to_ascii_lowercase().into())),
        "oauth2" | "openIdConnect" => Ok(CredentialKind::Http("bearer".into())),
        "mutualTLS" => Ok(CredentialKind::Certificate),
        other => Err(format!("`{other}` is no type of a security scheme")),
    }
}

/// Reads `security`.
pub(super) fn requirements<'d>(
    reader: &mut Reader<'d, '_>,
    schemes: &Schemes,
    security: &Part<'d>,
) -> Vec<Vec<Requirement>> {
    let mut all = Vec::new();
    for alternative in security.items() {
        let mut set = Vec::new();
        for (name, scopes) in alternative.members() {
            let Some(credential) = schemes.get(name) else {
                reader.refuse(
                    &scopes,
                    format!("there is no security scheme `{name}`"),
                    "declare it under `components.securitySchemes`",
                );
                continue;
            };
            let scopes = scopes.items().filter_map(|scope| scope.node.text().map(Arc::from)).collect();
            set.push(Requirement { scheme: name.into(), credential: credential.clone(), scopes });
        }
        all.push(set);
    }
    all
}
