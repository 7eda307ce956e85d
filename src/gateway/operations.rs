//! Which operations of an API a route may take.

use crate::conf::model::Route;
use palisade_contract::Operation;

/// True where some request for the operation fits the route's methods and paths: a description may be of more than one route
/// serves. Which of several routes takes it is not looked at.
pub(crate) fn takes(route: &Route, operation: &Operation) -> bool {
    let method = route.methods.is_empty() || route.methods.contains(&operation.method);
    method && route.paths.iter().any(|path| overlap(&path.value, &operation.path))
}

/// Whether a path fits both a route's pattern (`/orders/*`, `/orders/{id}`) and an operation's template.
fn overlap(pattern: &str, template: &str) -> bool {
    let (pattern, open) = match pattern.strip_suffix("/*") {
        Some(prefix) => (prefix, true),
        None => (pattern, false),
    };
    let (mut ours, mut theirs) = (segments(pattern), segments(template));
    loop {
        match (ours.next(), theirs.next()) {
            (None, None) => return true,
            (None, Some(_)) => return open,
            (Some(_), None) => return false,
            // A part of a segment may be a parameter of a template.
            (Some(one), Some(other)) if one == other || one.starts_with('{') || other.contains('{') => {}
            (Some(_), Some(_)) => return false,
        }
    }
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_fit_both() {
        for (pattern, template, both) in [
            ("/*", "/", true),
            ("/*", "/orders/{id}/items", true),
            ("/orders/*", "/orders", true),
            ("/orders/*", "/orders/{id}", true),
            ("/orders/*", "/cart", false),
            ("/orders/*", "/{kind}", true),
            ("/orders/{id}", "/orders/{number}", true),
            ("/orders/{id}", "/orders/latest", true),
            ("/orders/{id}", "/orders", false),
            ("/orders/{id}", "/orders/{id}/items", false),
            ("/orders", "/orders/{id}", false),
            ("/orders/latest", "/orders/{id}", true),
            ("/orders/7.json", "/orders/{id}.json", true),
            ("/orders/", "/orders", true),
        ] {
            assert_eq!(overlap(pattern, template), both, "{pattern} {template}");
        }
    }
}
