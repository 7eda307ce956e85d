//! Files of policy tests as they are written. The schema for editors is derived from the same types.

use palisade_contract::{
    Node,
    conf::{At, HumanDuration},
};
use schemars::{JsonSchema, generate::SchemaSettings};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{collections::BTreeMap, net::IpAddr};

/// A file of policy tests.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFile {
    /// The time at which each case begins (RFC 3339). Time passes where a step says `wait`, and only there.
    #[schemars(extend("default" = "2026-01-01T00:00:00Z"))]
    pub(super) clock: Option<At<String>>,
    /// What dependencies answer: key sets, issuers, introspection. Of several the first that fits; what none fits is
    /// as if nobody listened there.
    #[serde(default)]
    pub(super) http: Vec<At<RawDependency>>,
    /// Stores that are `down`; the others are there, and empty when a case begins.
    #[serde(default)]
    pub(super) stores: BTreeMap<String, RawStore>,
    /// Each begins with nothing counted and nothing remembered.
    pub(super) cases: Vec<RawCase>,
}

/// How a store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum RawStore {
    Up,
    Down,
}

/// What a dependency answers.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDependency {
    /// The whole address, as it is called.
    pub(super) url: String,
    /// Absent: any.
    pub(super) method: Option<String>,
    /// What the call's body must contain: `token=abc`.
    pub(super) containing: Option<String>,
    #[schemars(extend("default" = 200))]
    pub(super) status: Option<u16>,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    /// The body as text.
    pub(super) body: Option<String>,
    /// The body as JSON.
    pub(super) json: Option<Value>,
    /// A file that holds the body, relative to this file.
    pub(super) file: Option<At<String>>,
}

/// A case: one step, or several in a row.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCase {
    /// What it shows.
    pub(super) name: At<String>,
    /// Steps in their order; then the case has none of the fields below.
    pub(super) steps: Option<Vec<At<RawStep>>>,
    /// As in the file; holds for this case.
    pub(super) clock: Option<At<String>>,
    /// As in a step.
    pub(super) repeat: Option<u32>,
    /// As in a step.
    #[schemars(with = "Option<RequestSchema>")]
    pub(super) request: Option<Node>,
    /// As in a step.
    pub(super) principal: Option<At<RawPrincipal>>,
    /// As in a step.
    pub(super) origin: Option<RawOrigin>,
    /// As in a step.
    #[schemars(with = "Option<ExpectSchema>")]
    pub(super) expect: Option<Node>,
}

/// A request, and what must come of it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawStep {
    /// The time that passes before it.
    pub(super) wait: Option<HumanDuration>,
    /// How often it is sent; the same must come of each.
    #[schemars(extend("default" = 1))]
    pub(super) repeat: Option<u32>,
    /// `METHOD URL`, or its parts.
    #[schemars(with = "RequestSchema")]
    pub(super) request: Node,
    /// Who is presumed to call: takes the place of everything that authenticates on the route.
    pub(super) principal: Option<At<RawPrincipal>>,
    /// What the origin would answer; by default 200 without a body.
    pub(super) origin: Option<RawOrigin>,
    /// The status, or more of the decision.
    #[schemars(with = "ExpectSchema")]
    pub(super) expect: Node,
}

/// The parts of a request.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRequest {
    /// By default GET, and POST where there is a body.
    pub(super) method: Option<String>,
    /// A path with its query, or a whole address; sent as it stands here. The host is `localhost` where none is named.
    pub(super) url: String,
    /// Names and values. `host`, `content-length` and, for `json`, `content-type` are added where they are not here.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, FieldSchema>")]
    pub(super) headers: BTreeMap<String, Node>,
    /// The body as text.
    pub(super) body: Option<String>,
    /// The body as JSON.
    pub(super) json: Option<Value>,
    /// A file that holds the body, relative to this file.
    pub(super) file: Option<At<String>>,
    /// Who connects.
    #[schemars(with = "Option<String>", extend("default" = "127.0.0.1"))]
    pub(super) client_ip: Option<IpAddr>,
    /// The listener that it comes in on; by default one for the address's scheme, `public` before others.
    pub(super) listener: Option<At<String>>,
}

/// Who is presumed to call.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPrincipal {
    /// A consumer of the configuration.
    pub(super) consumer: Option<String>,
    /// What the principal is called; by default as the consumer, else `issuer|subject` of the claims.
    pub(super) id: Option<String>,
    /// Which credential it was.
    pub(super) credential: Option<String>,
    /// What a token would say.
    #[serde(default)]
    pub(super) claims: BTreeMap<String, Value>,
}

/// What an origin answers.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawOrigin {
    #[schemars(extend("default" = 200))]
    pub(super) status: Option<u16>,
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, FieldSchema>")]
    pub(super) headers: BTreeMap<String, Node>,
    /// The body as text.
    pub(super) body: Option<String>,
    /// The body as JSON; `content-type` is added where it is not among the headers.
    pub(super) json: Option<Value>,
    /// A file that holds the body, relative to this file.
    pub(super) file: Option<At<String>>,
}

/// What must come of a request. What is not here may be anything.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawExpect {
    /// The status that the client gets.
    pub(super) status: u16,
    /// The key of the entry that ended the request; `palisade` where the gateway itself did, `none` where it passed.
    pub(super) plugin: Option<String>,
    /// The reason code of an answer that the gateway makes.
    pub(super) reason: Option<String>,
    /// The route that takes it; `_none` where none does.
    pub(super) route: Option<String>,
    /// Who calls, by the principal's id; `none` where nobody was proved.
    pub(super) principal: Option<String>,
    /// Entries in monitor mode that would have refused it: these and no others.
    pub(super) would_deny: Option<Vec<String>>,
    /// Of the answer: the value, `"*"` for any, nothing where the header must be absent.
    #[serde(default)]
    pub(super) headers: BTreeMap<String, Option<String>>,
    /// The whole body of the answer.
    pub(super) body: Option<String>,
    /// The body of the answer as JSON; what it holds besides is not looked at.
    pub(super) json: Option<Value>,
    /// What the body of the answer must not contain.
    #[serde(default)]
    pub(super) body_without: Vec<String>,
    /// The request as the origin gets it, or `none` where it must not get it.
    #[schemars(with = "Option<ToldSchema>")]
    pub(super) origin: Option<Node>,
}

/// A request as an origin gets it. What is not here may be anything.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTold {
    /// The upstream that it goes to.
    pub(super) upstream: Option<String>,
    pub(super) method: Option<String>,
    /// With the query.
    pub(super) path: Option<String>,
    /// The value, `"*"` for any, nothing where the header must be absent.
    #[serde(default)]
    pub(super) headers: BTreeMap<String, Option<String>>,
    /// The whole body.
    pub(super) body: Option<String>,
    /// The body as JSON; what it holds besides is not looked at.
    pub(super) json: Option<Value>,
}

/// For the schema alone: what the reader takes in two forms.
#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "for the schema alone")]
enum RequestSchema {
    Line(String),
    Parts(Box<RawRequest>),
}

/// See [`RequestSchema`].
#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "for the schema alone")]
enum ExpectSchema {
    Status(u16),
    More(Box<RawExpect>),
}

/// See [`RequestSchema`].
#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "for the schema alone")]
enum FieldSchema {
    One(String),
    Several(Vec<String>),
}

#[derive(JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(dead_code, reason = "for the schema alone")]
enum NoneSchema {
    None,
}

/// See [`RequestSchema`].
#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "for the schema alone")]
enum ToldSchema {
    Nothing(NoneSchema),
    Told(Box<RawTold>),
}

/// The JSON Schema of a file of policy tests.
pub fn schema() -> Value {
    let schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<RawFile>();
    let mut schema = schema.to_value();
    if let Some(fields) = schema.as_object_mut() {
        fields.insert("title".to_owned(), json!("palisade policy tests"));
    }
    schema
}
