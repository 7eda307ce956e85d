//! Paths and their operations.

use super::{
    Direction, Media, Parameter, Paths, Reader, Unknown,
    documents::Part,
    media,
    parameters::{self, Location},
    security::{self, Schemes},
};
use crate::openapi::paths::base_of;
use http::Method;
use palisade_contract::Operation;
use std::{collections::BTreeSet, sync::Arc};

/// Methods that a path may have.
const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

/// What an operation lets pass.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) parameters: Vec<Parameter>,
    /// Names of query parameters that hold credentials by `security`.
    pub(crate) keys: Vec<Arc<str>>,
    pub(crate) body: Option<Body>,
    pub(crate) responses: Vec<(Status, Response)>,
}

/// The body of a request.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) required: bool,
    pub(crate) media: Vec<Media>,
}

/// Which answers a declaration is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Status {
    Code(u16),
    /// The first digit.
    Class(u16),
    Default,
}

impl Status {
    fn read(text: &str) -> Option<Status> {
        match text.as_bytes() {
            b"default" => Some(Status::Default),
            [class @ b'1'..=b'5', b'X', b'X'] => Some(Status::Class(u16::from(class - b'0'))),
            [b'1'..=b'5', b'0'..=b'9', b'0'..=b'9'] => text.parse().ok().map(Status::Code),
            _ => None,
        }
    }

    pub(crate) fn fits(self, status: u16) -> bool {
        match self {
            Status::Code(code) => code == status,
            Status::Class(class) => class == status / 100,
            Status::Default => true,
        }
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) headers: Vec<Parameter>,
    pub(crate) media: Vec<Media>,
}

/// All operations of a description.
#[derive(Default)]
pub(super) struct Read {
    pub(super) operations: Vec<Operation>,
    pub(super) rules: Vec<Rules>,
    pub(super) paths: Paths,
    pub(super) methods: Vec<Vec<(Method, usize)>>,
}

/// What holds for all operations.
struct Common<'d> {
    schemes: Schemes,
    security: Option<Part<'d>>,
    servers: Option<Part<'d>>,
}

/// Reads all operations.
pub(super) fn read<'d>(reader: &mut Reader<'d, '_>, root: &Part<'d>) -> Read {
    let mut read = Read::default();
    let schemes = security::schemes(reader, root);
    let common = Common { schemes, security: root.get("security"), servers: root.get("servers") };
    let mut known: Vec<(String, Part<'d>)> = Vec::new();
    let Some(paths) = root.get("paths") else {
        // 3.1 lets a description hold components alone, which would let nothing pass.
        reader.refuse(root, "the description has no `paths`", "write the paths that may be called");
        return read;
    };
    for (template, written) in paths.members().filter(|(name, _)| !name.starts_with("x-")) {
        let Some(item) = reader.follow(written.clone()) else { continue };
        // A path item may add to the one that it refers to, which is read in many ways.
        if written.node.get("$ref").is_some() && written.node.entries().len() > 1 {
            reader.refuse(&written, "the path has a `$ref` and more", "write all of it there or here");
            continue;
        }
        for base in bases(reader, item.get("servers").or_else(|| common.servers.clone()).as_ref()) {
            let full = format!("{base}{template}");
            let number = read.methods.len();
            match read.paths.add(&full, number) {
                Ok(names) => {
                    known.push((full.clone(), written.clone()));
                    let methods = operations(reader, &common, &item, &full, &names, &mut read);
                    read.methods.push(methods);
                }
                Err((what, first)) => {
                    let error = written.error(what);
                    let first = first.and_then(|first| known.get(first));
                    reader.errors.push(match first {
                        Some((_, part)) => error.other("the other one", part.node.place.clone()),
                        None => error.help("write `/orders/{id}`"),
                    });
                }
            }
        }
    }
    read
}

/// What stands before the paths.
fn bases<'d>(reader: &mut Reader<'d, '_>, servers: Option<&Part<'d>>) -> BTreeSet<String> {
    if let Some(base) = &reader.wanted.base_path {
        return BTreeSet::from([base.clone()]);
    }
    let mut found = BTreeSet::new();
    for server in servers.into_iter().flat_map(|servers| servers.items()) {
        let mut url = server.text("url").unwrap_or_default().to_owned();
        for (name, variable) in server.get("variables").into_iter().flat_map(|all| all.members()) {
            url = url.replace(&format!("{{{name}}}"), variable.text("default").unwrap_or_default());
        }
        match base_of(&url) {
            Ok(base) => {
                found.insert(base);
            }
            Err(what) => reader.refuse(
                &server,
                what,
                "write an address or a path in `servers`, or `base_path` in the configuration",
            ),
        }
    }
    if found.is_empty() { BTreeSet::from([String::new()]) } else { found }
}

fn operations<'d>(
    reader: &mut Reader<'d, '_>,
    common: &Common<'d>,
    item: &Part<'d>,
    path: &str,
    names: &[Arc<str>],
    read: &mut Read,
) -> Vec<(Method, usize)> {
    let mut methods = Vec::new();
    for (name, part) in item.members() {
        if !METHODS.contains(&name) {
            continue;
        }
        let Ok(method) = Method::from_bytes(name.to_ascii_uppercase().as_bytes()) else { continue };
        let security = match part.get("security").or_else(|| common.security.clone()) {
            Some(security) => security::requirements(reader, &common.schemes, &security),
            None => Vec::new(),
        };
        let keys = security.iter().flatten().filter_map(|requirement| match &requirement.credential {
            palisade_contract::CredentialKind::Query(name) => Some(name.clone()),
            _ => None,
        });
        let keys = keys.collect();
        let rules = Rules {
            parameters: all_parameters(reader, item, &part, names),
            keys,
            body: body(reader, &part),
            responses: responses(reader, &part),
        };
        methods.push((method.clone(), read.operations.len()));
        read.operations.push(Operation {
            method,
            path: path.into(),
            id: part.text("operationId").map(Arc::from),
            security,
            enforced: reader.wanted.security,
            place: part.node.place.clone(),
        });
        read.rules.push(rules);
    }
    methods
}

/// The parameters of an operation, and those of its path that it does not say anew.
fn all_parameters<'d>(
    reader: &mut Reader<'d, '_>,
    item: &Part<'d>,
    operation: &Part<'d>,
    names: &[Arc<str>],
) -> Vec<Parameter> {
    if reader.wanted.request.is_none() {
        return Vec::new();
    }
    let mut all: Vec<Parameter> = Vec::new();
    for (from, own) in [(operation, true), (item, false)] {
        let mut here = BTreeSet::new();
        for written in from.get("parameters").into_iter().flat_map(|list| list.items()) {
            let Some(part) = reader.follow(written.clone()) else { continue };
            let Some(parameter) = parameters::read(reader, &part) else { continue };
            let same =
                |other: &Parameter| other.location == parameter.location && other.name == parameter.name;
            if !here.insert((parameter.location.name(), parameter.name.clone())) {
                reader.refuse(
                    &written,
                    format!("the parameter `{}` stands here twice", parameter.name),
                    "keep one",
                );
            } else if own || !all.iter().any(same) {
                if parameter.location == Location::Path && !names.contains(&parameter.name) {
                    let what = format!("the path has no `{{{}}}`", parameter.name);
                    reader.refuse(&written, what, "write it into the path, or remove the parameter");
                }
                all.push(parameter);
            }
        }
    }
    for name in names {
        if !all.iter().any(|parameter| parameter.location == Location::Path && parameter.name == *name) {
            let what = format!("the path's `{{{name}}}` is no parameter of this operation");
            reader.refuse(operation, what, "declare it: `{name: …, in: path, required: true, schema: …}`");
        }
    }
    all
}

fn body<'d>(reader: &mut Reader<'d, '_>, operation: &Part<'d>) -> Option<Body> {
    let unknown = reader.wanted.request?;
    let part = reader.follow(operation.get("requestBody")?)?;
    let required = part.flag("required");
    let Some(content) = part.get("content") else {
        reader.refuse(&part, "the body has no `content`", "write the types that it may have");
        return None;
    };
    Some(Body { required, media: media::read(reader, &content, Direction::Request, unknown) })
}

fn responses<'d>(reader: &mut Reader<'d, '_>, operation: &Part<'d>) -> Vec<(Status, Response)> {
    let Some(unknown) = reader.wanted.response else { return Vec::new() };
    let mut all = Vec::new();
    let Some(written) = operation.get("responses") else {
        reader.refuse(operation, "the operation has no `responses`", "declare the answers that it may have");
        return all;
    };
    for (name, part) in written.members().filter(|(name, _)| !name.starts_with("x-")) {
        let Some(status) = Status::read(name) else {
            reader.refuse(&part, format!("`{name}` is no status"), "write `\"200\"`, `4XX` or `default`");
            continue;
        };
        let Some(part) = reader.follow(part) else { continue };
        all.push((status, response(reader, &part, unknown)));
    }
    // The most concrete first.
    all.sort_by_key(|(status, _)| *status);
    all
}

fn response<'d>(reader: &mut Reader<'d, '_>, part: &Part<'d>, unknown: Unknown) -> Response {
    let mut headers = Vec::new();
    for (name, header) in part.get("headers").into_iter().flat_map(|headers| headers.members()) {
        // OpenAPI leaves it to `content`.
        if name.eq_ignore_ascii_case("content-type") {
            continue;
        }
        let Some(header) = reader.follow(header) else { continue };
        headers.extend(parameters::value(reader, &header, name, Location::Header, Direction::Response));
    }
    let media = match part.get("content") {
        Some(content) => media::read(reader, &content, Direction::Response, unknown),
        None => Vec::new(),
    };
    Response { headers, media }
}
