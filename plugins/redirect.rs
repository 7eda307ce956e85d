//! `redirect`: send the client elsewhere, to HTTPS for example.

use http::{HeaderValue, StatusCode, header};
use palisade_contract::{
    BuildEnv, ConfigError, ConfigErrors, Denial, Exchange, Hooks, Plugin, PluginKind, Reply, Stage, Step,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// Answers with a redirect, before anything else is asked of the client. Exactly one of `to` and `location`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `https`: the same URL over TLS; requests that came over TLS pass.
    to: Option<To>,
    /// With `to: https`, the port where it is not 443.
    port: Option<u16>,
    /// Anywhere: `https://new.example.com{path}`. `{path}` and `{query}` (with its `?`) stand for the request's.
    location: Option<String>,
    /// 301, 302, 303, 307 or 308 (the default, which keeps method and body).
    status: Option<u16>,
}

/// Where to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum To {
    /// The same URL over TLS.
    Https,
}

enum Target {
    Https { port: Option<u16> },
    Location(String),
}

/// The plugin.
pub struct Redirect {
    target: Target,
    status: StatusCode,
}

impl PluginKind for Redirect {
    const NAME: &'static str = "redirect";
    const SUMMARY: &'static str = "Sends the client elsewhere, to HTTPS for example.";
    type Config = Config;

    fn stage(_: &Config) -> Stage {
        Stage::Screen
    }

    fn build(config: Config, _: &BuildEnv<'_>) -> Result<Self, ConfigErrors> {
        let status = config.status.unwrap_or(308);
        let status = match StatusCode::from_u16(status) {
            Ok(code) if matches!(status, 301 | 302 | 303 | 307 | 308) => code,
            _ => {
                return Err(ConfigError::at("status", format!("{status} is not a redirect"))
                    .help("write 301, 302, 303, 307 or 308")
                    .into());
            }
        };
        let target = match (config.to, config.location) {
            (Some(To::Https), None) => Target::Https { port: config.port.filter(|port| *port != 443) },
            (None, Some(location)) => {
                check_location(&location)?;
                if config.port.is_some() {
                    return Err(ConfigError::at("port", "`port` has no meaning with `location`").into());
                }
                Target::Location(location)
            }
            _ => {
                return Err(ConfigError::new("exactly one of `to` and `location` says where to")
                    .help("write `to: https`")
                    .into());
            }
        };
        Ok(Redirect { target, status })
    }
}

/// The host must be fixed by the operator: a request cannot choose it.
fn check_location(location: &str) -> Result<(), ConfigErrors> {
    let refuse = |why: &str| {
        Err(ConfigError::at("location", why.to_owned())
            .help("write `https://new.example.com{path}{query}` or `/new{path}`")
            .into())
    };
    let rest = location.replace("{path}", "/p").replace("{query}", "?q");
    if rest.contains(['{', '}']) {
        return refuse("there are only `{path}` and `{query}`");
    }
    let fixed_host = location.split_once("://").is_some_and(|(scheme, rest)| {
        matches!(scheme, "http" | "https")
            && rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[')
    });
    // Browsers read `//host` and `/\host` as another host; `/{path}` would become one for the path `/host`.
    let local = location.starts_with('/') && !location.starts_with("//") && !location.starts_with("/{");
    if !(fixed_host || local) {
        return refuse("a location begins with `https://HOST`, `http://HOST` or one `/`");
    }
    // Both placeholders begin with what ends a host: `/` and `?`.
    if location
        .split_once("://")
        .is_some_and(|(_, rest)| rest.split(['/', '{', '?']).next().is_some_and(|host| host.contains('@')))
    {
        return refuse("a location has no user information");
    }
    if rest.bytes().any(|byte| !byte.is_ascii_graphic() || matches!(byte, b'\\' | b'"' | b'<' | b'>')) {
        return refuse("a location has only characters of a URL");
    }
    Ok(())
}

impl Redirect {
    fn location(&self, ex: &Exchange) -> Result<Option<String>, Denial> {
        let query = ex.query().map_or(String::new(), |query| format!("?{query}"));
        match &self.target {
            Target::Https { .. } if ex.client().https => Ok(None),
            // Without a host the first segment of the path would be read as one.
            Target::Https { .. } if !is_host(ex.host()) => {
                Err(Denial::bad_request("host_missing").message("The request names no host"))
            }
            Target::Https { port } => {
                let port = port.map_or(String::new(), |port| format!(":{port}"));
                Ok(Some(format!("https://{}{port}{}{query}", ex.host(), ex.path())))
            }
            Target::Location(location) => {
                Ok(Some(location.replace("{path}", ex.path()).replace("{query}", &query)))
            }
        }
    }
}

fn is_host(host: &str) -> bool {
    let is_plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'[' | b']');
    !host.is_empty() && host.bytes().all(is_plain)
}

impl Plugin for Redirect {
    fn hooks(&self) -> Hooks {
        Hooks::REQUEST
    }

    fn always_answers(&self) -> bool {
        matches!(self.target, Target::Location(_))
    }

    fn on_request<'a>(&'a self, ex: &'a mut Exchange) -> Step<'a> {
        let location = match self.location(ex) {
            Ok(Some(location)) => location,
            Ok(None) => return Step::CONTINUE,
            Err(denial) => return denial.into(),
        };
        match HeaderValue::from_str(&location) {
            Ok(location) => Reply::new(self.status, "redirect").header(header::LOCATION, location).into(),
            Err(error) => palisade_contract::Fault::internal("redirect_location").source(error).into(),
        }
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
        Kit::of(Descriptor::of::<Redirect>()).build(yaml)
    }

    #[test]
    fn to_https() {
        let plugin = build("to: https").unwrap();
        let (headers, _) = plugin.run(Case::get("/a?b=c").host("shop.example.com")).replied(308);
        assert_eq!(headers["location"], "https://shop.example.com/a?b=c");
        plugin.run(Case::get("/").client(|client| client.https = true)).passed();
        let (headers, _) =
            build("{to: https, port: 8443, status: 301}").unwrap().run(Case::get("/a")).replied(301);
        assert_eq!(headers["location"], "https://example.com:8443/a");
        for status in [301, 302, 303, 307, 308] {
            let plugin = build(&format!("{{to: https, port: 443, status: {status}}}")).unwrap();
            let (headers, _) = plugin.run(Case::get("/a")).replied(status);
            assert_eq!(headers["location"], "https://example.com/a");
            // Who comes over TLS goes on, so that its route needs an upstream.
            assert!(!plugin.built.plugin().always_answers());
        }
        assert!(build("location: /a").unwrap().built.plugin().always_answers());
    }

    #[test]
    fn nobody_is_sent_to_another_host() {
        let plugin = build("to: https").unwrap();
        for host in ["", "a.example/x", "user@a.example", "a b", "a?b", "a#b", "a\\b"] {
            plugin.run(Case::get("/evil.example/x").host(host)).denied(400, "host_missing");
        }
        let (headers, _) = plugin.run(Case::get("/").host("[::1]")).replied(308);
        assert_eq!(headers["location"], "https://[::1]/");
    }

    #[test]
    fn elsewhere() {
        let (headers, _) = build("location: 'https://new.example.com{path}{query}'")
            .unwrap()
            .run(Case::get("/a?b"))
            .replied(308);
        assert_eq!(headers["location"], "https://new.example.com/a?b");
        let (headers, _) = build("location: '/v2{path}'").unwrap().run(Case::get("/a?b")).replied(308);
        assert_eq!(headers["location"], "/v2/a");
    }

    #[test]
    fn mistakes_are_refused_at_load() {
        for yaml in [
            "{}",
            "{to: https, location: /a}",
            "to: http",
            "{to: https, status: 200}",
            "location: '{path}'",
            "location: '//evil.example'",
            "location: '/{path}'",
            "location: '/{query}'",
            "location: '/\\evil.example'",
            "location: 'https:\\\\evil.example'",
            "location: 'https://user@a.example/'",
            "location: 'https://{path}'",
            "location: 'https://{host}/'",
            "location: 'javascript:x'",
            "location: \"/a\\r\\nx\"",
            "{location: /a, port: 1}",
        ] {
            assert!(build(yaml).is_err(), "{yaml}");
        }
    }
}
