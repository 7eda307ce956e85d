//! `csrf`: requests that change something come from the service's own pages.

#[cfg(test)]
mod tests;
mod token;

use http::{
    HeaderMap, HeaderName, HeaderValue, Method,
    header::{AUTHORIZATION, COOKIE, HOST, ORIGIN, SET_COOKIE},
};
use palisade_contract::{
    BuildEnv, ConfigError, ConfigErrors, Control, Denial, Exchange, Fault, Hooks, Plugin, PluginKind,
    ResponseHeader, Secret, Stage, Step,
};
use schemars::JsonSchema;
use serde::Deserialize;
use token::Tokens;

/// Refuses requests that another site's page makes a browser send with this site's cookies (cross-site request forgery).
/// Methods that only read (`GET`, `HEAD`, `OPTIONS`) pass.
///
/// A browser says where a request comes from: in `Sec-Fetch-Site` (Fetch Metadata), or else in `Origin`. The request
/// passes from the service's own origin and from those in `origins`. One that says nothing passes only where it has
/// nothing that a browser sends by itself: no cookie, no client certificate, no `Authorization` of a kind that browsers
/// remember. With `token`, a page must also send in a header what it reads in a cookie, which no other site's page can.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
pub struct Config {
    /// Other origins whose pages may send such requests: `https://shop.example.com`.
    origins: Vec<String>,
    /// Let pages of the same site pass: of other names below the same registrable domain, over the same scheme.
    same_site: bool,
    /// Ask for a token as well.
    token: Option<TokenConfig>,
}

/// A double-submit token, signed so that a cookie that somebody planted is none, and bound to who is calling.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TokenConfig {
    /// What signs it; at least 32 bytes. All gateways of a service have the same.
    secret: Secret,
    /// The cookie that has it. Pages must be able to read it. With the prefix `__Host-` browsers take it from this host
    /// alone, over TLS alone.
    #[serde(default = "cookie")]
    cookie: String,
    /// The header in which pages send it.
    #[serde(default = "header")]
    header: String,
}

fn cookie() -> String {
    "__Host-csrf-token".to_owned()
}

fn header() -> String {
    "x-csrf-token".to_owned()
}

/// The plugin.
pub struct Csrf {
    origins: Vec<String>,
    same_site: bool,
    token: Option<Token>,
}

struct Token {
    tokens: Tokens,
    cookie: String,
    header: HeaderName,
}

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

impl PluginKind for Csrf {
    const NAME: &'static str = "csrf";
    const SUMMARY: &'static str = "Refuses changes that another site's page makes a browser send.";
    const CONTROLS: &'static [Control] = &[Control::Browser];
    type Config = Config;

    // Behind Authenticate: a token is bound to who is calling.
    fn stage(_: &Config) -> Stage {
        Stage::Authorize
    }

    fn build(config: Config, _: &BuildEnv<'_>) -> Result<Self, ConfigErrors> {
        let mut errors = Vec::new();
        for (at, origin) in config.origins.iter().enumerate().filter(|(_, origin)| !is_origin(origin)) {
            let error = ConfigError::at(format!("origins[{at}]"), format!("`{origin}` is not an origin"));
            errors
                .push(error.help(
                    "write a scheme and a host in lower case, and a port that is not the scheme's own",
                ));
        }
        let token = config.token.and_then(|config| token(config, &mut errors));
        let csrf = Csrf { origins: config.origins, same_site: config.same_site, token };
        if errors.is_empty() { Ok(csrf) } else { Err(errors.into()) }
    }
}

fn token(config: TokenConfig, errors: &mut Vec<ConfigError>) -> Option<Token> {
    let before = errors.len();
    let tokens = Tokens::new(&config.secret);
    if tokens.is_none() {
        let error = ConfigError::at("token.secret", "it has fewer than 32 bytes");
        errors.push(
            error.help("make one with `openssl rand -hex 32`, and write `${env:NAME}` or `${file:PATH}`"),
        );
    }
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if config.cookie.is_empty() || !config.cookie.bytes().all(is_name) {
        errors.push(ConfigError::at(
            "token.cookie",
            format!("`{}` is not the name of a cookie", config.cookie),
        ));
    }
    let header = config.header.to_ascii_lowercase().parse();
    if header.is_err() {
        errors.push(ConfigError::at(
            "token.header",
            format!("`{}` is not the name of a header", config.header),
        ));
    }
    if errors.len() > before {
        return None;
    }
    Some(Token { tokens: tokens?, cookie: config.cookie, header: header.ok()? })
}

/// As browsers write it (RFC 6454 §6.2).
fn is_origin(text: &str) -> bool {
    let Some((scheme, host)) = text.split_once("://") else { return false };
    let own_port = match scheme {
        "https" => ":443",
        "http" => ":80",
        _ => return false,
    };
    let is = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.:[]".contains(&byte);
    !host.is_empty() && host.bytes().all(is) && !host.ends_with(own_port)
}

/// Methods that read (RFC 9110 §9.2.1); `TRACE` is none here.
fn reads(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, Denial> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => Ok(Some(value.to_str().unwrap_or(""))),
        _ => Err(denied("csrf_origin", "a header that says where the request comes from stands twice")),
    }
}

fn denied(reason: &'static str, detail: &'static str) -> Denial {
    Denial::forbidden(reason).message("This must come from a page of this service").detail(detail)
}

/// True where the request has what a browser sends by itself.
fn is_ambient(ex: &Exchange) -> bool {
    const REMEMBERED: [&[u8]; 4] = [b"basic", b"digest", b"negotiate", b"ntlm"];
    let scheme = |value: &HeaderValue| {
        let end = value.as_bytes().iter().position(|byte| *byte == b' ').unwrap_or(value.len());
        let scheme = value.as_bytes().get(..end).unwrap_or_default();
        REMEMBERED.iter().any(|one| scheme.eq_ignore_ascii_case(one))
    };
    let certified = ex.client().tls.as_ref().is_some_and(|tls| tls.certificate.is_some());
    certified || ex.header(COOKIE).is_some() || ex.header(AUTHORIZATION).is_some_and(scheme)
}

impl Csrf {
    /// Where the request says that it comes from.
    fn origin(&self, ex: &Exchange) -> Result<(), Denial> {
        let headers = &ex.request.headers;
        let origin = single(headers, &ORIGIN)?;
        let listed = origin.is_some_and(|origin| self.origins.iter().any(|one| one == origin));
        if listed {
            return Ok(());
        }
        match (single(headers, &SEC_FETCH_SITE)?, origin) {
            // A navigation that the user began, from no page.
            (Some("same-origin" | "none"), _) => Ok(()),
            (Some("same-site"), _) if self.same_site => Ok(()),
            (Some(_), _) => {
                Err(denied("csrf_cross_site", "the browser says that another site's page sent it"))
            }
            (None, Some(origin)) if is_own(ex, origin) => Ok(()),
            (None, Some(_)) => Err(denied("csrf_origin", "its origin is another one")),
            (None, None) if is_ambient(ex) => {
                Err(denied("csrf_origin", "it has cookies, and says no origin"))
            }
            (None, None) => Ok(()),
        }
    }

    fn check(&self, ex: &Exchange) -> Result<(), Denial> {
        self.origin(ex)?;
        // Who sends nothing by itself is no browser that could be made to.
        if let Some(token) = self.token.as_ref().filter(|_| is_ambient(ex)) {
            let sent = single(&ex.request.headers, &token.header)?;
            let cookie = token.cookie(&ex.request.headers)?;
            let fits =
                sent.zip(cookie).is_some_and(|(sent, cookie)| token.tokens.fit(sent, cookie, bound_to(ex)));
            if !fits {
                return Err(denied(
                    "csrf_token",
                    "its header has not the token of its cookie, or that is not ours",
                ));
            }
        }
        Ok(())
    }
}

/// The origin that the request itself is for.
fn is_own(ex: &Exchange, origin: &str) -> bool {
    let (scheme, own_port) = if ex.client().https { ("https://", ":443") } else { ("http://", ":80") };
    let authority =
        ex.request.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_else(|| ex.host());
    let authority = authority.strip_suffix(own_port).unwrap_or(authority);
    origin.strip_prefix(scheme).is_some_and(|host| !host.is_empty() && host.eq_ignore_ascii_case(authority))
}

/// A token that one caller got is no other's.
fn bound_to(ex: &Exchange) -> &str {
    ex.principal().map_or("", |principal| &principal.id)
}

impl Token {
    /// The cookie's value; two of the same name are a planted one and a real one.
    fn cookie<'h>(&self, headers: &'h HeaderMap) -> Result<Option<&'h str>, Denial> {
        let texts = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let pairs = texts.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let mut values = pairs.filter(|(name, _)| *name == self.cookie).map(|(_, value)| value);
        match (values.next(), values.next()) {
            (Some(_), Some(_)) => Err(denied("csrf_token", "its cookie stands twice")),
            (value, _) => Ok(value),
        }
    }
}

impl Plugin for Csrf {
    fn hooks(&self) -> Hooks {
        if self.token.is_some() { Hooks::REQUEST | Hooks::RESPONSE } else { Hooks::REQUEST }
    }

    fn on_request<'a>(&'a self, ex: &'a mut Exchange) -> Step<'a> {
        if reads(ex.method()) {
            return Step::CONTINUE;
        }
        self.check(ex).map_or_else(Step::from, |()| Step::CONTINUE)
    }

    /// Gives a page that has no token of ours one.
    fn on_response<'a>(&'a self, ex: &'a mut Exchange, head: &'a mut ResponseHeader) -> Step<'a> {
        let Some(token) = self.token.as_ref().filter(|_| reads(ex.method())) else { return Step::CONTINUE };
        let has = token.cookie(&ex.request.headers).ok().flatten();
        if has.is_some_and(|has| token.tokens.is_ours(has, bound_to(ex))) {
            return Step::CONTINUE;
        }
        let Some(made) = token.tokens.make(bound_to(ex)) else {
            return Step::Now(Err(Fault::internal("csrf_token_unmade")));
        };
        let secure = if ex.client().https { "; Secure" } else { "" };
        let text = format!("{}={made}; Path=/; SameSite=Strict{secure}", token.cookie);
        if let Ok(value) = HeaderValue::from_str(&text) {
            let _ = head.append_header(SET_COOKIE, value);
        }
        Step::CONTINUE
    }
}
