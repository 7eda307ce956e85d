//! `ownership`: what a request names belongs to who is calling.

mod lockouts;
mod object;
#[cfg(test)]
mod tests;
mod watch;

use crate::coding;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header::RETRY_AFTER};
use object::{Found, Object};
use palisade_contract::{
    Body, BodyNeed, BuildEnv, ConfigError, ConfigErrors, Control, Counter, Denial, Exchange, Hooks, Plugin,
    PluginKind, Principal, Stage, Step,
    conf::{HumanDuration, Size},
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, Instant},
};
use watch::{Terms, Watch};

/// Binds what a request names to who is calling: `/users/{user_id}/…` for the user of that id alone, an order for
/// the tenant that it belongs to (OWASP API1, broken object level authorization). What is not named, is named in two ways,
/// or cannot be read is refused.
///
/// Each id that is named must be the caller's: every value of a parameter that stands there more than once, every item of
/// an array. Where several things must belong to the caller, write several entries: `ownership#tenant`.
///
/// Callers that `enumeration` locks out are in the admin API, which can let them in again: `GET /lockouts`,
/// `DELETE /lockouts?account=…` with the id of the principal, which for a consumer is its name, or `?all=true`. They stay locked
/// out through reloads and upgrades.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What names the object: `path.user_id` (a `{user_id}` of the route's path), `query.user_id`,
    /// `header.x-tenant`, or `body.order.user_id` (JSON, or the field of a form). `body.items[].owner` names those of all
    /// items of an array.
    object: String,
    /// Whose it must be: `claims.sub`, or another claim by its name or a path into nested claims, one or a list;
    /// `consumer` (its name) or `principal` (the id that is recorded).
    owner: String,
    /// Who need not own it.
    #[serde(default)]
    unless: Unless,
    /// Let pass what names no object; otherwise it is refused.
    #[serde(default)]
    optional: bool,
    /// Answer 404, so that nobody learns which ids there are.
    #[serde(default)]
    hide: bool,
    /// Tell, and lock out, callers that try many ids that are not theirs.
    enumeration: Option<Enumeration>,
    /// The most bytes of a body that is read: `1MiB`.
    #[serde(default = "mebibyte")]
    max_body_size: Size,
}

fn mebibyte() -> Size {
    Size(1 << 20)
}

/// Who may have what is not theirs: one of the groups, or one of the scopes.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Unless {
    /// Groups of consumers.
    groups: Vec<String>,
    /// Scopes of the claim `scope`.
    scopes: Vec<String>,
}

/// When many refused ids are an attempt to find out which there are.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Enumeration {
    /// So many different ids that were refused to one caller …
    #[serde(default = "twenty")]
    distinct: usize,
    /// … within this time.
    #[serde(default = "minute")]
    window: HumanDuration,
    /// For how long the caller is then refused everything here. Without it the attempt is recorded, and counted, alone.
    lockout: Option<HumanDuration>,
}

fn twenty() -> usize {
    20
}

fn minute() -> HumanDuration {
    HumanDuration(Duration::from_secs(60))
}

enum Owner {
    Claim(String),
    Consumer,
    Principal,
}

/// The plugin.
pub struct Ownership {
    object: Object,
    owner: Owner,
    groups: Vec<Arc<str>>,
    scopes: Vec<String>,
    optional: bool,
    hide: bool,
    watch: Option<(Arc<Watch>, Terms, Counter)>,
    max: usize,
}

impl PluginKind for Ownership {
    const NAME: &'static str = "ownership";
    const SUMMARY: &'static str = "Binds what a request names to who is calling.";
    const CONTROLS: &'static [Control] = &[Control::Authorization];
    type Config = Config;

    fn stage(_: &Config) -> Stage {
        Stage::Authorize
    }

    fn build(config: Config, env: &BuildEnv<'_>) -> Result<Self, ConfigErrors> {
        let mut errors = Vec::new();
        let object = Object::parse(&config.object).map_err(|why| {
            let error = ConfigError::at("object", format!("`{}` {why}", config.object));
            errors.push(error.help("write `path.NAME`, `query.NAME`, `header.NAME` or `body.PATH`"));
        });
        let owner = match config.owner.split_once('.') {
            Some(("claims", path)) if !path.is_empty() => Some(Owner::Claim(path.to_owned())),
            None if config.owner == "consumer" => Some(Owner::Consumer),
            None if config.owner == "principal" => Some(Owner::Principal),
            _ => {
                let error = ConfigError::at("owner", format!("`{}` is nobody", config.owner));
                errors.push(error.help("write `claims.sub`, `consumer` or `principal`"));
                None
            }
        };
        let watch = config.enumeration.map(|enumeration| {
            if !(1..=watch::MOST).contains(&enumeration.distinct) {
                let why = format!("it is from 1 to {}", watch::MOST);
                errors.push(ConfigError::at("enumeration.distinct", why).help("20 is the default"));
            }
            let lockout = enumeration.lockout.map(|lockout| lockout.0);
            let terms = Terms { distinct: enumeration.distinct, window: enumeration.window.0, lockout };
            let watch = env.keep_carried("enumeration", Watch::default);
            if lockout.is_some() {
                env.show_lockouts(&watch);
            }
            (watch, terms, env.counter("enumeration"))
        });
        let (Ok(object), Some(owner), true) = (object, owner, errors.is_empty()) else {
            return Err(errors.into());
        };
        Ok(Ownership {
            object,
            owner,
            groups: config.unless.groups.into_iter().map(Arc::from).collect(),
            scopes: config.unless.scopes,
            optional: config.optional,
            hide: config.hide,
            watch,
            max: usize::try_from(config.max_body_size.0).unwrap_or(usize::MAX),
        })
    }
}

impl Ownership {
    /// True for whoever need not own it.
    fn is_free(&self, one: &Principal) -> bool {
        one.groups().iter().any(|group| self.groups.contains(group))
            || one.words("scope").any(|word| self.scopes.iter().any(|scope| scope == word))
    }

    /// True where an id is one of the principal's.
    fn owns(&self, one: &Principal, id: &str) -> bool {
        match &self.owner {
            Owner::Claim(path) => match one.claim(path) {
                Some(Value::Array(items)) => items.iter().any(|item| says(item, id)),
                Some(value) => says(value, id),
                None => false,
            },
            Owner::Consumer => one.consumer.as_ref().is_some_and(|consumer| &*consumer.name == id),
            Owner::Principal => &*one.id == id,
        }
    }

    fn denied(&self, reason: &'static str, detail: String) -> Denial {
        let denial = if self.hide {
            Denial::new(StatusCode::NOT_FOUND, reason).message("There is nothing here")
        } else {
            Denial::forbidden(reason).message("This is not yours")
        };
        denial.detail(detail)
    }

    fn judge(&self, ex: &Exchange, found: Found<'_>) -> Result<(), Denial> {
        let Some(principal) = ex.principal() else {
            return Err(self.denied("ownership_denied", "nobody was identified".to_owned()));
        };
        let ids = match found {
            Found::Ids(ids) if ids.is_empty() && self.optional => return Ok(()),
            Found::Ids(ids) if ids.is_empty() => {
                return Err(self.denied("ownership_denied", format!("`{}` names nothing", self.object)));
            }
            Found::Ids(ids) => ids,
            Found::Unreadable(why) => {
                let denial = Denial::new(StatusCode::BAD_REQUEST, "ownership_unreadable");
                return Err(denial.message("It cannot be read what this is about").detail(why));
            }
        };
        let all = || std::iter::once(principal).chain(ex.attached());
        if all().any(|one| self.is_free(one)) {
            return Ok(());
        }
        // One credential owns all of it: what two own is not put together.
        if all().any(|one| ids.iter().all(|id| self.owns(one, id))) {
            return Ok(());
        }
        let foreign: Vec<&Cow<'_, str>> = ids.iter().filter(|id| !self.owns(principal, id)).collect();
        Err(self.refused((principal, ex.begun()), &foreign))
    }

    /// Refuses what is somebody else's, and looks whether the caller has tried many.
    fn refused(&self, (principal, now): (&Principal, Instant), foreign: &[&Cow<'_, str>]) -> Denial {
        let detail = format!("`{}` names what is not the caller's", self.object);
        let Some((watch, terms, counter)) = &self.watch else {
            return self.denied("ownership_denied", detail);
        };
        if !watch.note(&principal.id, foreign.iter().map(|id| id.as_ref()), terms, now) {
            return self.denied("ownership_denied", detail);
        }
        counter.add(1);
        self.denied("ownership_enumeration", format!("{detail}, and neither were {} others", terms.distinct))
    }

    /// Whoever was locked out stays so, whatever they ask for.
    fn locked(&self, ex: &Exchange) -> Option<Denial> {
        let (watch, ..) = self.watch.as_ref()?;
        let left = watch.locked(&ex.principal()?.id, ex.begun())?;
        let denial = Denial::new(StatusCode::TOO_MANY_REQUESTS, "ownership_lockout");
        let denial = denial.message("Too much was asked for that is not yours");
        Some(denial.header(RETRY_AFTER, HeaderValue::from(left.as_secs().max(1))))
    }

    fn pass(&self, ex: &Exchange, found: Found<'_>) -> Step<'static> {
        self.judge(ex, found).map_or_else(Step::from, |()| Step::CONTINUE)
    }
}

/// A string, or a whole number as it is written.
fn says(value: &Value, id: &str) -> bool {
    match value {
        Value::String(text) => text == id,
        Value::Number(number) if !number.is_f64() => number.to_string() == id,
        _ => false,
    }
}

impl Plugin for Ownership {
    fn hooks(&self) -> Hooks {
        if self.object.is_in_body() { Hooks::REQUEST | Hooks::REQUEST_BODY } else { Hooks::REQUEST }
    }

    fn request_body(&self) -> BodyNeed {
        if self.object.is_in_body() { BodyNeed::Whole { max: self.max } } else { BodyNeed::None }
    }

    fn needs_principal(&self) -> bool {
        true
    }

    fn on_request<'a>(&'a self, ex: &'a mut Exchange) -> Step<'a> {
        match self.locked(ex) {
            Some(denial) => denial.into(),
            None if self.object.is_in_body() => Step::CONTINUE,
            None => self.pass(ex, self.object.of_head(ex)),
        }
    }

    fn on_request_body<'a>(&'a self, ex: &'a mut Exchange, body: &'a mut Body) -> Step<'a> {
        let plain: Bytes = match coding::whole(ex, body.bytes(), self.max, coding::RATIO) {
            Ok(plain) => plain,
            Err(denial) => return denial.into(),
        };
        self.pass(ex, self.object.of_body(&ex.request.headers, &plain))
    }
}
