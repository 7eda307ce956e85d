//! Fields and bodies, however they are written.

use super::Reading;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use palisade_contract::{Node, Place, Value, conf::At};
use std::{collections::BTreeMap, fs, path::Path};

impl Reading<'_> {
    pub(super) fn parts<T: serde::de::DeserializeOwned>(&mut self, node: &Node) -> Option<T> {
        node.deserialize::<T>().map_err(|errors| self.errors.extend(errors.0)).ok()
    }

    /// Names and values, some with several.
    pub(super) fn fields(&mut self, written: &BTreeMap<String, Node>) -> Vec<(String, String)> {
        let mut fields = Vec::new();
        for (name, node) in written {
            let values = match &node.value {
                Value::Scalar { text, .. } => vec![text.clone()],
                _ => self.parts::<Vec<String>>(node).unwrap_or_default(),
            };
            fields.extend(values.into_iter().map(|value| (name.clone(), value)));
        }
        fields
    }

    /// The bytes of a body, however it is written.
    pub(super) fn body(
        &mut self,
        (text, json, file): (Option<String>, Option<&serde_json::Value>, Option<At<String>>),
        node: &Node,
    ) -> Option<Bytes> {
        match (text, json, file) {
            (None, None, None) => Some(Bytes::new()),
            (Some(text), None, None) => Some(text.into()),
            (None, Some(json), None) => Some(json.to_string().into()),
            (None, None, Some(file)) => {
                let path = self.path.parent().unwrap_or(Path::new("")).join(&file.value);
                let read = fs::read(&path).map(Bytes::from);
                let shown = path.display();
                read.map_err(|error| {
                    let help = "name a file, relative to this one";
                    self.wrong((&file.path, &file.place), format!("cannot read `{shown}`: {error}"), help);
                })
                .ok()
            }
            _ => {
                let help = "keep one of `body`, `json` and `file`";
                self.wrong((&node.path, &node.place), "the body is written more than once", help);
                None
            }
        }
    }

    pub(super) fn headers(&mut self, written: &BTreeMap<String, Node>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in self.fields(written) {
            match (HeaderName::try_from(&name), HeaderValue::try_from(&value)) {
                (Ok(name), Ok(value)) => _ = headers.append(name, value),
                _ => {
                    let node = written.get(&name);
                    let place = node.map_or_else(|| Place::of_file(self.path), |node| node.place.clone());
                    let help = "write a name and a value that a header can have";
                    self.wrong((&name, &place), format!("`{name}` is not a header field"), help);
                }
            }
        }
        headers
    }
}
