//! `data-mask`: what responses must not give away is masked, removed or refused.

mod checks;
mod compile;
mod config;
mod events;
mod fate;
mod finder;
mod iban;
mod json;
mod json_text;
mod numbers;
mod paths;
mod reader;
mod rules;
mod stack;
#[cfg(test)]
mod tests;
mod text;
mod tokens;

pub use config::Config;

use crate::media_type::Pattern;
use compile::Free;
use http::{HeaderName, Method, StatusCode, header};
use json::Broken;
use palisade_contract::{
    Body, BodyNeed, BuildEnv, ConfigErrors, Control, Denial, Exchange, Fault, Hooks, Mode, Plugin,
    PluginKind, ResponseHeader, Stage, Step, Verdict,
};
use reader::{Kind, Masks, Reader};
use rules::Tally;
use serde_json::{Map, Value};
use std::sync::Arc;

/// What describes the bytes of a body, and is wrong where one of them is another.
const DESCRIBING: [&str; 6] =
    ["etag", "digest", "content-digest", "repr-digest", "content-md5", "accept-ranges"];

/// The plugin.
pub struct DataMask {
    key: Arc<str>,
    masks: Masks,
    headers: Vec<HeaderName>,
    pass: Vec<Pattern>,
    free: Free,
    stream: bool,
    /// Nothing is changed: what is found is recorded and counted.
    observes: bool,
}

/// What is known of one response.
#[derive(Debug, Default)]
struct Seen {
    kind: Option<Kind>,
    reader: Option<Reader>,
    tally: Tally,
    refused: bool,
}

impl PluginKind for DataMask {
    const NAME: &'static str = "data-mask";
    const SUMMARY: &'static str = "Masks, removes or refuses what responses must not give away.";
    const CONTROLS: &'static [Control] = &[Control::Data];
    type Config = Config;

    fn stage(_: &Config) -> Stage {
        Stage::Transform
    }

    fn build(mut config: Config, env: &BuildEnv<'_>) -> Result<Self, ConfigErrors> {
        let masks = compile::masks(&config, &|name| env.counter(name.to_owned()));
        let (headers, pass) = (compile::headers(&config), compile::pass(&config));
        let free = Free::new(std::mem::take(&mut config.unless), env);
        match (masks, headers, pass, free) {
            (Ok(masks), Ok(headers), Ok(pass), Ok(free)) => Ok(DataMask {
                key: env.entry.key.clone(),
                masks,
                headers,
                pass,
                free,
                stream: config.stream,
                observes: env.entry.mode == Mode::Monitor,
            }),
            (masks, headers, pass, free) => {
                let errors = [masks.err(), headers.err(), pass.err(), free.err()];
                Err(errors.into_iter().flatten().flatten().collect::<Vec<_>>().into())
            }
        }
    }
}

impl DataMask {
    fn is_free(&self, ex: &Exchange) -> bool {
        ex.principal().into_iter().chain(ex.attached()).any(|one| self.free.is(one))
    }

    /// What kind of body comes; none where there is none to look at.
    fn kind(&self, ex: &Exchange, head: &ResponseHeader) -> Result<Option<Kind>, Denial> {
        let said = |name: HeaderName| head.headers.get(name).map(http::HeaderValue::as_bytes);
        let bodiless = matches!(
            head.status,
            StatusCode::SWITCHING_PROTOCOLS | StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        );
        if self.is_free(ex)
            || bodiless
            || ex.method() == Method::HEAD
            || said(header::CONTENT_LENGTH) == Some(b"0")
        {
            return Ok(None);
        }
        let kind = Kind::of(&head.headers, &self.pass)
            .map_err(|why| refused("data_mask_unreadable", why.to_owned()))?;
        match kind {
            Kind::Passed => Ok(None),
            // The origin was asked for all of it: a part may begin in the middle of what is looked for.
            _ if head.status == StatusCode::PARTIAL_CONTENT => {
                Err(refused("data_mask_partial", "the origin sent a part".to_owned()))
            }
            kind => Ok(Some(kind)),
        }
    }

    /// Says in the record what was found, and refuses what a rule refuses.
    fn verdict(&self, ex: &mut Exchange, before: u64, read: Result<(), Broken>) -> Verdict {
        let seen = ex.state::<Seen>();
        let tally = &seen.tally;
        let denied = tally.denied.and_then(|rule| self.masks.rules.get(rule)).map(|rule| rule.name.clone());
        let found = (tally.total > before).then(|| {
            let counts = tally.counts(&self.masks.rules);
            Value::Object(counts.map(|(name, count)| (name.to_owned(), count.into())).collect::<Map<_, _>>())
        });
        let first = !seen.refused;
        let verdict = match (read, denied) {
            (Ok(()), Some(name)) if first => Verdict::Deny(refused("data_mask_denied", format!("`{name}`"))),
            (Err(Broken(why)), _) if first => Verdict::Deny(refused("data_mask_malformed", why.to_owned())),
            _ => Verdict::Continue,
        };
        seen.refused |= matches!(verdict, Verdict::Deny(_));
        if let Some(found) = found {
            ex.set_finding(&self.key, found);
        }
        verdict
    }

    /// A body that is there whole.
    fn whole(&self, ex: &mut Exchange, body: &mut Body, kind: Kind) -> Verdict {
        let tally = &mut ex.state::<Seen>().tally;
        let read = match self.masks.whole(kind, body.bytes(), tally) {
            Ok(Some(masked)) => {
                if !self.observes {
                    body.replace(masked);
                }
                Ok(())
            }
            Ok(None) => return Verdict::Continue,
            Err(broken) => Err(broken),
        };
        self.verdict(ex, 0, read)
    }

    /// A piece of a body.
    fn piece(&self, ex: &mut Exchange, body: &mut Body, kind: Kind) -> Verdict {
        let seen = ex.state::<Seen>();
        let before = seen.tally.total;
        let mut reader = seen.reader.take().unwrap_or_else(|| Reader::new(kind, self.masks.max));
        let mut out = Vec::with_capacity(body.bytes().len());
        let read = reader.push(&self.masks, &mut seen.tally, body.bytes(), body.is_end(), &mut out);
        seen.reader = Some(reader);
        if read.is_err() {
            // Only where nothing is enforced does anything follow, and it is not read any more.
            seen.kind = None;
        }
        let verdict = self.verdict(ex, before, read);
        if !self.observes {
            body.replace(out);
        }
        verdict
    }
}

/// A response that the origin should not have sent.
#[cold]
fn refused(reason: &'static str, detail: String) -> Denial {
    Denial::new(StatusCode::BAD_GATEWAY, reason).message("The answer may not be passed on").detail(detail)
}

impl Plugin for DataMask {
    fn hooks(&self) -> Hooks {
        Hooks::REQUEST | Hooks::RESPONSE | Hooks::RESPONSE_BODY
    }

    fn response_body(&self) -> BodyNeed {
        if self.stream { BodyNeed::Stream } else { BodyNeed::Whole { max: self.masks.max } }
    }

    fn on_request<'a>(&'a self, ex: &'a mut Exchange) -> Step<'a> {
        if !self.observes && ex.header(header::RANGE).is_some() && !self.is_free(ex) {
            // A server may answer with all of it (RFC 9110 §14.2): in a part something could stand in part.
            ex.to_origin().remove_headers.extend([header::RANGE, header::IF_RANGE]);
        }
        Step::CONTINUE
    }

    fn on_response<'a>(&'a self, ex: &'a mut Exchange, head: &'a mut ResponseHeader) -> Step<'a> {
        let kind = self.kind(ex, head);
        if !self.observes {
            for name in &self.headers {
                head.remove_header(name);
            }
            let free = self.is_free(ex);
            let is_head = ex.method() == Method::HEAD;
            // What a response to GET would have depends on what is found in it.
            if !free && (is_head || head.status == StatusCode::NOT_MODIFIED) {
                head.remove_header(&header::CONTENT_LENGTH);
            }
            if is_head && !free || (self.stream && matches!(kind, Ok(Some(_)))) {
                DESCRIBING.iter().for_each(|name| drop(head.remove_header(*name)));
            }
        }
        match kind {
            Ok(kind) => {
                ex.state::<Seen>().kind = kind;
                Step::CONTINUE
            }
            Err(denial) => denial.into(),
        }
    }

    fn on_response_body(&self, ex: &mut Exchange, body: &mut Body) -> Result<Verdict, Fault> {
        let Some(kind) = ex.state::<Seen>().kind else { return Ok(Verdict::Continue) };
        Ok(if self.stream { self.piece(ex, body, kind) } else { self.whole(ex, body, kind) })
    }
}
