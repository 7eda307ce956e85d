//! `cors`: which origins' pages may call, and read the answer.

use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use palisade_contract::{
    BuildEnv, ConfigError, ConfigErrors, Control, Exchange, Hooks, Plugin, PluginKind, Reply, ResponseHeader,
    Stage, Step, conf::HumanDuration,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// Tells browsers which pages may call (the Fetch standard's CORS protocol). Preflights are answered before
/// anybody has to authenticate; refusals can be read by the pages that may call.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Origins: `https://shop.example.com`, `https://*.example.com` (one or more labels), `null` (sandboxed pages
    /// and local files), or `*` for any.
    origins: Vec<String>,
    /// Methods that pages may use; default: GET, HEAD, POST, PUT, PATCH, DELETE.
    #[serde(default)]
    methods: Vec<String>,
    /// Request headers that pages may send; default: those that the preflight asks for.
    #[serde(default)]
    headers: Vec<String>,
    /// Response headers that pages may read.
    #[serde(default)]
    exposed_headers: Vec<String>,
    /// Pages may send cookies and credentials. Not with `*` and `null`, which any page can be.
    #[serde(default)]
    credentials: bool,
    /// How long a browser may remember a preflight's answer.
    #[serde(default)]
    max_age: Option<HumanDuration>,
    /// Let the origin answer preflights.
    #[serde(default)]
    preflight_continue: bool,
}

enum Pattern {
    Exact(String),
    /// Scheme with `://`, and what the host ends in with the dot before it.
    Below(String, String),
}

/// The plugin.
pub struct Cors {
    any: bool,
    patterns: Vec<Pattern>,
    methods: HeaderValue,
    headers: Option<HeaderValue>,
    exposed: Option<HeaderValue>,
    credentials: bool,
    max_age: Option<HeaderValue>,
    preflight_continue: bool,
}

const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];

impl PluginKind for Cors {
    const NAME: &'static str = "cors";
    const SUMMARY: &'static str = "Tells browsers which pages may call, and answers their preflights.";
    const CONTROLS: &'static [Control] = &[Control::Browser];
    type Config = Config;

    fn stage(_: &Config) -> Stage {
        Stage::Screen
    }

    fn build(config: Config, _: &BuildEnv<'_>) -> Result<Self, ConfigErrors> {
        let mut errors = Vec::new();
        let any = config.origins.iter().any(|origin| origin == "*");
        check_origins(&config, any, &mut errors);
        let mut patterns = Vec::new();
        for (index, origin) in config.origins.iter().enumerate().filter(|(_, origin)| *origin != "*") {
            match pattern(origin) {
                Some(pattern) => patterns.push(pattern),
                None => errors.push(
                    ConfigError::at(format!("origins[{index}]"), format!("`{origin}` is not an origin"))
                        .help("write a scheme, a host and a port other than the scheme's own, in lower case: `https://shop.example.com`"),
                ),
            }
        }
        let mut list = |field: &str, words: &[String], valid: fn(&str) -> bool| -> Option<HeaderValue> {
            for (index, word) in words.iter().enumerate().filter(|(_, word)| !valid(word)) {
                let error =
                    ConfigError::at(format!("{field}[{index}]"), format!("`{word}` cannot stand here"));
                errors.push(
                    error.help("write methods in upper case, and names of headers such as `x-api-key`"),
                );
            }
            (!words.is_empty()).then(|| HeaderValue::from_str(&words.join(", ")).ok()).flatten()
        };
        let is_method = |word: &str| {
            Method::from_bytes(word.as_bytes()).is_ok()
                && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-')
        };
        let is_header = |word: &str| HeaderName::from_bytes(word.as_bytes()).is_ok();
        let methods = list("methods", &config.methods, is_method);
        let headers = list("headers", &config.headers, is_header);
        let exposed = list("exposed_headers", &config.exposed_headers, is_header);
        if !errors.is_empty() {
            return Err(errors.into());
        }
        Ok(Cors {
            any,
            patterns,
            methods: methods
                .or_else(|| HeaderValue::from_str(&METHODS.join(", ")).ok())
                .unwrap_or(HeaderValue::from_static("GET")),
            headers,
            exposed,
            credentials: config.credentials,
            max_age: config.max_age.map(|age| HeaderValue::from(age.0.as_secs())),
            preflight_continue: config.preflight_continue,
        })
    }
}

/// Origins that cannot be meant together with the rest.
fn check_origins(config: &Config, any: bool, errors: &mut Vec<ConfigError>) {
    if any && config.credentials {
        errors.push(
            ConfigError::at(
                "credentials",
                "any page could act for the user: `credentials: true` with the origin `*`",
            )
            .help("name the origins"),
        );
    }
    if config.credentials && config.origins.iter().any(|origin| origin == "null") {
        errors.push(
            ConfigError::at(
                "credentials",
                "any page could act for the user: a sandboxed frame has the origin `null`",
            )
            .help("name the origins"),
        );
    }
    if config.origins.is_empty() {
        errors.push(
            ConfigError::at("origins", "no origin may call")
                .help("write `origins: [https://shop.example.com]`"),
        );
    }
}

fn pattern(origin: &str) -> Option<Pattern> {
    if origin == "null" {
        return Some(Pattern::Exact(origin.to_owned()));
    }
    let (scheme, host) = origin.split_once("://")?;
    let host_ok = |host: &str| {
        !host.is_empty()
            && host.chars().all(|c| {
                c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-' | ':' | '[' | ']')
            })
    };
    if scheme.is_empty()
        || !scheme
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '+' | '-' | '.'))
    {
        return None;
    }
    // Browsers leave a scheme's own port out: such an origin would never match.
    if matches!((scheme, host.rsplit_once(':')), ("https", Some((_, "443"))) | ("http", Some((_, "80")))) {
        return None;
    }
    match host.strip_prefix("*.") {
        Some(below) if host_ok(below) && below.contains('.') => {
            Some(Pattern::Below(format!("{scheme}://"), format!(".{below}")))
        }
        Some(_) => None,
        None => host_ok(host).then(|| Pattern::Exact(origin.to_owned())),
    }
}

impl Cors {
    fn allows(&self, origin: &[u8]) -> bool {
        let Ok(origin) = std::str::from_utf8(origin) else { return false };
        self.any
            || self.patterns.iter().any(|pattern| match pattern {
                Pattern::Exact(exact) => exact == origin,
                Pattern::Below(scheme, end) => {
                    let label =
                        origin.strip_prefix(scheme.as_str()).and_then(|host| host.strip_suffix(end.as_str()));
                    label.is_some_and(|label| {
                        label.split('.').all(|part| !part.is_empty())
                            && label.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))
                    })
                }
            })
    }

    /// What stands in `Access-Control-Allow-Origin`; none where the page may not call.
    fn allow_origin(&self, ex: &Exchange) -> Option<HeaderValue> {
        let mut origins = ex.request.headers.get_all(header::ORIGIN).iter();
        let origin = match (origins.next(), origins.next()) {
            (Some(origin), None) => origin,
            // The answer is the same for every page, also for the one that gets it from a cache.
            (None, _) if self.any => return Some(HeaderValue::from_static("*")),
            _ => return None,
        };
        if !self.allows(origin.as_bytes()) {
            return None;
        }
        Some(if self.any && !self.credentials { HeaderValue::from_static("*") } else { origin.clone() })
    }

    fn preflight(&self, ex: &Exchange) -> Reply {
        let reply = Reply::new(StatusCode::NO_CONTENT, "preflight");
        // A browser reads the missing fields as a refusal, and says so in its console. `on_response` adds what
        // every answer has.
        if self.allow_origin(ex).is_none() {
            return reply;
        }
        let mut reply = reply.header(header::ACCESS_CONTROL_ALLOW_METHODS, self.methods.clone());
        let asked = ex.header(header::ACCESS_CONTROL_REQUEST_HEADERS).filter(|asked| asked.to_str().is_ok());
        if let Some(headers) = self.headers.as_ref().or(asked) {
            reply = reply.header(header::ACCESS_CONTROL_ALLOW_HEADERS, headers.clone());
        }
        match &self.max_age {
            Some(age) => reply.header(header::ACCESS_CONTROL_MAX_AGE, age.clone()),
            None => reply,
        }
    }

    fn decorate(&self, ex: &Exchange, head: &mut ResponseHeader) -> Option<()> {
        for name in [
            header::ACCESS_CONTROL_ALLOW_ORIGIN,
            header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
        ] {
            // What the origin says about CORS does not hold here.
            head.remove_header(&name);
        }
        if !self.any || self.credentials {
            add_vary(head)?;
        }
        let origin = self.allow_origin(ex)?;
        head.insert_header(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin).ok()?;
        if self.credentials {
            head.insert_header(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true").ok()?;
        }
        if let Some(exposed) = &self.exposed {
            head.insert_header(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed.clone()).ok()?;
        }
        Some(())
    }
}

/// A cache must not give one origin's answer to another.
fn add_vary(head: &mut ResponseHeader) -> Option<()> {
    let names = head.headers.get_all(header::VARY).iter().filter_map(|value| value.to_str().ok());
    let known = names
        .flat_map(|value| value.split(','))
        .any(|name| matches!(name.trim(), "*") || name.trim().eq_ignore_ascii_case("origin"));
    if known { Some(()) } else { head.append_header(header::VARY, "Origin").ok().map(drop) }
}

impl Plugin for Cors {
    fn hooks(&self) -> Hooks {
        Hooks::REQUEST | Hooks::RESPONSE
    }

    fn on_every_response(&self) -> bool {
        true
    }

    fn answers_preflight(&self) -> bool {
        !self.preflight_continue
    }

    fn on_request<'a>(&'a self, ex: &'a mut Exchange) -> Step<'a> {
        let preflight = *ex.method() == Method::OPTIONS
            && ex.header(header::ORIGIN).is_some()
            && ex.header(header::ACCESS_CONTROL_REQUEST_METHOD).is_some();
        if preflight && !self.preflight_continue { self.preflight(ex).into() } else { Step::CONTINUE }
    }

    fn on_response<'a>(&'a self, ex: &'a mut Exchange, head: &'a mut ResponseHeader) -> Step<'a> {
        self.decorate(ex, head);
        Step::CONTINUE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_contract::{
        Descriptor,
        testkit::{Case, Instance, Kit},
    };

    fn build(yaml: &str) -> Result<Instance, String> {
        Kit::of(Descriptor::of::<Cors>()).build(yaml)
    }

    fn preflight(origin: &str) -> Case {
        Case::new("OPTIONS", "/")
            .header("origin", origin)
            .header("access-control-request-method", "PUT")
            .header("access-control-request-headers", "x-a")
    }

    #[test]
    fn preflights_are_answered() {
        let plugin = build("{origins: [https://a.example], max_age: 1h}").unwrap();
        let (headers, _) = plugin.run(preflight("https://a.example")).replied(204);
        assert_eq!(headers["access-control-allow-headers"], "x-a");
        assert_eq!(headers["access-control-max-age"], "3600");
        assert!(headers["access-control-allow-methods"].to_str().unwrap().contains("PUT"));
        let (headers, _) = plugin.run(preflight("https://evil.example")).replied(204);
        assert!(headers.is_empty());
        plugin.run(Case::new("OPTIONS", "/").header("origin", "https://a.example")).passed();
        build("{origins: ['*'], preflight_continue: true}")
            .unwrap()
            .run(preflight("https://a.example"))
            .passed();
    }

    #[test]
    fn origins_decide_what_a_page_reads() {
        for (yaml, origin, allowed) in [
            ("origins: ['*']", "https://x.example", Some("*")),
            ("origins: [https://a.example]", "https://a.example", Some("https://a.example")),
            ("origins: [https://a.example]", "http://a.example", None),
            ("origins: [https://a.example]", "https://a.example.evil.example", None),
            ("origins: [https://a.example]", "https://A.example", None),
            ("origins: [https://a.example]", "null", None),
            ("origins: ['https://*.a.example']", "https://b.a.example", Some("https://b.a.example")),
            ("origins: ['https://*.a.example']", "https://a.example", None),
            ("origins: ['https://*.a.example']", "https://evil-a.example", None),
            ("origins: ['https://*.a.example']", "https://evil.example/.a.example", None),
            ("origins: ['https://*.a.example']", "https://x@b.a.example", None),
            ("origins: ['https://*.a.example']", "https://.a.example", None),
            ("origins: ['https://*.a.example']", "https://b..a.example", None),
            ("origins: ['https://*.a.example']", "https://b.a.example:444", None),
            ("origins: ['https://*.a.example']", "https://evil.example#.a.example", None),
            ("origins: ['https://*.a.example']", "https://evil.example:1@.a.example", None),
            ("origins: ['http://*.a.example:81']", "http://b.a.example:81", Some("http://b.a.example:81")),
            ("origins: ['http://[::1]:81']", "http://[::1]:81", Some("http://[::1]:81")),
            ("origins: ['null']", "null", Some("null")),
            ("origins: ['null']", "NULL", None),
            ("origins: [https://a.example]", "", None),
            ("origins: [https://a.example]", "*", None),
        ] {
            let case = Case::get("/")
                .header("origin", origin)
                .response_header("access-control-allow-origin", "https://evil.example");
            let ran = build(yaml).unwrap().run(case).passed();
            let found =
                ran.head.headers.get("access-control-allow-origin").map(|value| value.to_str().unwrap());
            assert_eq!(found, allowed, "{yaml} {origin}");
            assert_eq!(ran.head.headers.contains_key("vary"), !yaml.contains("['*']"), "{yaml}");
        }
        let plain = build("origins: ['*']").unwrap().run(Case::get("/")).passed();
        assert_eq!(plain.head.headers["access-control-allow-origin"], "*");
        let ran = build("origins: ['*']")
            .unwrap()
            .run(Case::get("/").header("origin", "https://a").header("origin", "https://b"))
            .passed();
        assert!(!ran.head.headers.contains_key("access-control-allow-origin"));
    }

    #[test]
    fn what_is_written_is_what_pages_are_told() {
        let yaml = "{origins: [https://a.example], methods: [GET, PURGE], headers: [x-b], exposed_headers: [x-c, x-d], credentials: true}";
        let plugin = build(yaml).unwrap();
        let (headers, _) = plugin.run(preflight("https://a.example")).replied(204);
        assert_eq!(headers["access-control-allow-methods"], "GET, PURGE");
        assert_eq!(headers["access-control-allow-headers"], "x-b");
        assert!(!headers.contains_key("access-control-max-age"));
        let case = |origin: &str| {
            let case = Case::get("/").header("origin", origin).response_header("vary", "Accept, origin");
            let case = case.response_header("access-control-allow-credentials", "true");
            case.response_header("access-control-expose-headers", "x-secret")
        };
        let all = |yaml: &str, origin: &str| {
            let head = build(yaml).unwrap().run(case(origin)).passed().head;
            ["allow-origin", "allow-credentials", "expose-headers"].map(|name| {
                let value = head.headers.get(format!("access-control-{name}"));
                value.map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
            })
        };
        assert_eq!(all(yaml, "https://a.example"), ["https://a.example", "true", "x-c, x-d"]);
        // What the origin says itself does not hold.
        assert_eq!(all(yaml, "https://evil.example"), [""; 3]);
        assert_eq!(all("origins: [https://a.example]", "https://a.example"), ["https://a.example", "", ""]);
        let head = build(yaml).unwrap().run(case("https://a.example")).passed().head;
        assert_eq!(head.headers.get_all("vary").iter().count(), 1, "it says so already");
    }

    #[test]
    fn mistakes_are_refused_at_load() {
        for (yaml, expected) in [
            ("{origins: ['*'], exposed_headers: ['a b']}", "exposed_headers[0]"),
            ("{origins: ['*'], credentials: true}", "any page could act"),
            ("{origins: ['null'], credentials: true}", "any page could act"),
            ("{origins: ['https://a.example:443']}", "is not an origin"),
            ("{origins: ['http://*.a.example:80']}", "is not an origin"),
            ("{origins: ['https://user@a.example']}", "is not an origin"),
            ("{origins: ['https://a.*.example']}", "is not an origin"),
            ("{origins: []}", "no origin may call"),
            ("{}", "`origins` is missing"),
            ("{origins: [a.example]}", "is not an origin"),
            ("{origins: [https://a.example/]}", "is not an origin"),
            ("{origins: ['https://*']}", "is not an origin"),
            ("{origins: ['https://*.com']}", "is not an origin"),
            ("{origins: ['*'], methods: [get]}", "cannot stand here"),
            ("{origins: ['*'], headers: ['a b']}", "cannot stand here"),
        ] {
            assert!(build(yaml).unwrap_err().contains(expected), "{yaml}");
        }
    }
}
