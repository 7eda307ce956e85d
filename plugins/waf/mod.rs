//! `waf`: inspects requests and responses by rules in SecLang.

mod config;
mod judge;
mod load;
mod record;
mod sets;
mod shape;
#[cfg(test)]
mod tests;
mod tools;

pub use config::Config;
pub use tools::{about_files, about_set};

use crate::coding;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use judge::{Seen, Settled};
use log::Level;
use palisade_contract::{
    Body, BodyNeed, BuildEnv, ConfigErrors, Control, Counter, CredentialPlaces, Denial, Exchange, Fault,
    Hooks, Host, Plugin, PluginKind, ResponseHeader, Stage, Step, Verdict,
};
use record::Families;
use seclang::{RuleSet, Transaction};
use sets::Sets;
use std::{
    convert::Infallible,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

/// Bodies of more bytes than this are inspected aside: 8 KiB of JSON take 0.3 ms by our own rules and 1 ms by the core rule
/// set, for which all connections of a worker would wait; to go aside and to come back takes about 30 µs.
const ASIDE: usize = 8 << 10;
/// How many times its limit a response may have that is held and not inspected.
const HELD: u64 = 16;

/// The plugin.
pub struct Waf {
    key: Arc<str>,
    rules: Arc<RuleSet>,
    /// Held, so that the next snapshot finds the sets of this one.
    _sets: Arc<Sets>,
    host: Arc<dyn Host>,
    families: Families,
    places: CredentialPlaces,
    limit: Option<usize>,
    over_limit: config::OverLimit,
    response: config::ResponseBody,
    /// Rules look at responses: at their heads at least.
    looks_at_responses: bool,
    over: Counter,
    aside: Counter,
}

impl PluginKind for Waf {
    const NAME: &'static str = "waf";
    const SUMMARY: &'static str =
        "Inspects requests and responses by rules: its own, or the OWASP Core Rule Set.";
    const CONTROLS: &'static [Control] = &[Control::Firewall];
    type Config = Config;

    fn stage(_: &Config) -> Stage {
        Stage::Inspect
    }

    fn build(config: Config, env: &BuildEnv<'_>) -> Result<Self, ConfigErrors> {
        let folder = env.entry.place.file.parent().unwrap_or(Path::new(""));
        let recipe = load::recipe(&config, folder).map_err(ConfigErrors)?;
        let Ok(sets) = env.share::<Sets, Infallible>("sets", || Ok(Sets::default()));
        let rules = sets.get(&recipe, |recipe| {
            let begun = Instant::now();
            let rules = load::build(recipe, &config)?;
            let level = if env.dry_run || env.trial { Level::Debug } else { Level::Info };
            log::log!(level, "waf: compiled {} rules in {} ms", rules.len(), begun.elapsed().as_millis());
            Ok(rules)
        });
        let rules = rules.map_err(ConfigErrors)?;
        for file in rules.files() {
            env.path_to_read(&file.to_string_lossy());
        }
        let looks_at_responses = rules.rules().any(|rule| matches!(rule.phase, 3 | 4));
        let bytes = |size: u64| usize::try_from(size).unwrap_or(usize::MAX);
        Ok(Waf {
            key: env.entry.key.clone(),
            families: Families::new(&rules, env),
            rules,
            _sets: sets,
            host: env.host.clone(),
            places: env.credential_places.clone(),
            limit: config.request_body.limit.map(|limit| bytes(limit.0)),
            over_limit: config.request_body.over_limit,
            looks_at_responses: looks_at_responses || config.response_body.inspect,
            response: config.response_body,
            over: env.counter("body_over_limit"),
            aside: env.counter("aside"),
        })
    }
}

impl Plugin for Waf {
    fn hooks(&self) -> Hooks {
        let request = Hooks::REQUEST | Hooks::REQUEST_BODY;
        match (self.looks_at_responses, self.response.inspect) {
            (true, true) => request | Hooks::RESPONSE | Hooks::RESPONSE_BODY,
            (true, false) => request | Hooks::RESPONSE,
            (false, _) => request,
        }
    }

    fn request_body(&self) -> BodyNeed {
        // The route's limit holds, and what is over that of the entry is decided here, by its mode and condition.
        BodyNeed::Whole { max: usize::MAX }
    }

    fn response_body(&self) -> BodyNeed {
        if !self.response.inspect {
            return BodyNeed::None;
        }
        let most = self.response.limit.0.saturating_mul(HELD);
        BodyNeed::Whole { max: usize::try_from(most).unwrap_or(usize::MAX) }
    }

    fn on_request<'a>(&'a self, ex: &'a mut Exchange) -> Step<'a> {
        if self.over_limit == config::OverLimit::Deny
            && declared_length(ex).is_some_and(|length| length > self.limit_of(ex) as u64)
        {
            return Ok(Verdict::Deny(self.too_large(ex))).into();
        }
        let mut transaction = self.rules.transaction();
        judge::head(ex, &mut transaction);
        let _ = transaction.request_headers();
        self.settle(ex, transaction, Settled::Head)
    }

    fn on_request_body<'a>(&'a self, ex: &'a mut Exchange, body: &'a mut Body) -> Step<'a> {
        let Some(mut transaction) = ex.state::<Seen>().take() else { return Step::CONTINUE };
        let plain = match self.readable(ex, body.bytes()) {
            Ok(plain) => plain,
            Err(denial) => {
                let settled = self.settle(ex, transaction, Settled::Over);
                return if matches!(settled, Step::Now(Ok(Verdict::Continue))) {
                    denial.into()
                } else {
                    settled
                };
            }
        };
        let kind = ex.header(header::CONTENT_TYPE).cloned();
        if plain.bytes.len() <= ASIDE {
            judge::body(&mut transaction, kind.as_ref(), &plain);
            return self.settle(ex, transaction, Settled::Body);
        }
        self.aside.add(1);
        Step::later(async move {
            let transaction = self.judge_aside(transaction, kind, plain).await?;
            self.settle(ex, transaction, Settled::Body).resolve().await
        })
    }

    fn on_response<'a>(&'a self, ex: &'a mut Exchange, head: &'a mut ResponseHeader) -> Step<'a> {
        if !self.looks_at_responses {
            return Step::CONTINUE;
        }
        let Some(mut transaction) = ex.state::<Seen>().take() else { return Step::CONTINUE };
        judge::response_head(&mut transaction, head);
        if transaction.response_headers().is_none() && !self.response.inspect {
            let _ = transaction.response_body();
        }
        let settled = if self.response.inspect { Settled::ResponseHead } else { Settled::Over };
        self.settle(ex, transaction, settled)
    }

    fn on_response_body(&self, ex: &mut Exchange, body: &mut Body) -> Result<Verdict, Fault> {
        let Some(mut transaction) = ex.state::<Seen>().take() else { return Ok(Verdict::Continue) };
        let limit = usize::try_from(self.response.limit.0).unwrap_or(usize::MAX);
        let mut bytes: &[u8] = body.bytes();
        let mut denial = None;
        if transaction.wants_response_body() && bytes.len() > limit {
            self.over.add(1);
            match self.response.over_limit {
                config::OverLimit::Deny => denial = Some(judge::response_too_large()),
                config::OverLimit::InspectPrefix => bytes = bytes.get(..limit).unwrap_or(bytes),
                config::OverLimit::Skip => bytes = &[],
            }
        }
        let _ = transaction.response_chunk(bytes);
        let _ = transaction.response_body();
        match (self.settled(ex, transaction, Settled::Over), denial) {
            (Verdict::Continue, Some(denial)) => Ok(Verdict::Deny(denial)),
            (verdict, _) => Ok(verdict),
        }
    }
}

impl Waf {
    /// The most bytes of this request's body that are inspected.
    fn limit_of(&self, ex: &Exchange) -> usize {
        self.limit.unwrap_or_else(|| usize::try_from(ex.body_limit()).unwrap_or(usize::MAX))
    }

    #[cold]
    fn too_large(&self, ex: &Exchange) -> Denial {
        self.over.add(1);
        Denial::new(StatusCode::PAYLOAD_TOO_LARGE, "waf_body_too_large")
            .message(format!("The body may have {} bytes", self.limit_of(ex)))
    }

    /// The body as rules see it.
    fn readable(&self, ex: &Exchange, body: &Bytes) -> Result<judge::Readable, Denial> {
        let mut plain = coding::decode(&coding::codings(ex), body, self.limit_of(ex), coding::RATIO)
            .map_err(undecoded)?;
        let cut = plain.cut;
        if cut {
            match self.over_limit {
                config::OverLimit::Deny => return Err(self.too_large(ex)),
                config::OverLimit::InspectPrefix => {}
                config::OverLimit::Skip => plain.bytes = Bytes::new(),
            }
            self.over.add(1);
        }
        Ok(judge::Readable { bytes: plain.bytes, cut })
    }

    /// Judges a body where it keeps no other request waiting.
    async fn judge_aside(
        &self,
        mut transaction: Transaction,
        kind: Option<HeaderValue>,
        plain: judge::Readable,
    ) -> Result<Transaction, Fault> {
        let done = Arc::new(Mutex::new(None));
        let place = done.clone();
        let work = move || {
            judge::body(&mut transaction, kind.as_ref(), &plain);
            *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(transaction);
        };
        self.host.compute(Box::new(work)).await;
        let judged = done.lock().unwrap_or_else(PoisonError::into_inner).take();
        judged.ok_or_else(|| Fault::internal("waf_failed"))
    }

    /// Records what was found so far, and says what becomes of the request.
    fn settle(&self, ex: &mut Exchange, transaction: Transaction, at: Settled) -> Step<'static> {
        Step::Now(Ok(self.settled(ex, transaction, at)))
    }

    fn settled(&self, ex: &mut Exchange, mut transaction: Transaction, at: Settled) -> Verdict {
        let verdict = transaction.intervention().map(|found| judge::verdict(found, &transaction));
        let goes_on = match at {
            Settled::Head => true,
            Settled::Body => self.looks_at_responses,
            Settled::ResponseHead => true,
            Settled::Over => false,
        };
        let keep = verdict.is_none() && goes_on;
        if !keep {
            transaction.logging();
        }
        let counted = ex.state::<Seen>().counted;
        self.families.count(transaction.matched().get(counted..).unwrap_or_default());
        if transaction.matched().len() > counted {
            ex.set_finding(&self.key, record::finding(&transaction, &self.places));
        }
        let seen = ex.state::<Seen>();
        seen.counted = transaction.matched().len();
        if keep {
            seen.keep(transaction);
        }
        verdict.unwrap_or(Verdict::Continue)
    }
}

/// Why a body cannot be decoded, as the client is told.
fn undecoded(why: coding::Undecoded) -> Denial {
    match why {
        coding::Undecoded::Unknown => Denial::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "waf_encoding")
            .message("The body's coding is not known here")
            .header(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip, deflate, br")),
        coding::Undecoded::Broken => Denial::bad_request("waf_body_malformed")
            .message("The body is not what its Content-Encoding says"),
        coding::Undecoded::Bomb => Denial::new(StatusCode::PAYLOAD_TOO_LARGE, "waf_body_too_large")
            .message("The body is too long when it is decoded"),
    }
}

fn declared_length(ex: &Exchange) -> Option<u64> {
    ex.header(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
