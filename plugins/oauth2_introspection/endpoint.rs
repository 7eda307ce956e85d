//! The endpoint that is asked, and how the gateway proves who it is there.

use super::{
    assertion::Signer,
    config::{Config, Method},
};
use crate::tokens::address;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{
    HeaderValue, Request, Response, Uri,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE},
};
use palisade_contract::{BuildEnv, ConfigError, HttpClient, HttpError, HttpIdentity, HttpSettings, Secret};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use std::sync::Arc;

/// The most bytes of an answer.
const MAX_ANSWER: usize = 32 * 1024;
/// The most bytes of a file with a private key.
const MAX_KEY: u64 = 64 * 1024;

/// What stays as it is in a form.
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// An endpoint.
pub(super) struct Endpoint {
    client: Arc<dyn HttpClient>,
    pub(super) uri: Uri,
    authorization: Option<HeaderValue>,
    /// What stands in the body of each call besides the token.
    body: Secret,
    signer: Option<Signer>,
}

impl Endpoint {
    /// Nothing is called before the first token comes.
    pub(super) fn new(config: &Config, env: &BuildEnv<'_>, errors: &mut Vec<ConfigError>) -> Option<Self> {
        let before = errors.len();
        let uri = uri(config).map_err(|error| errors.push(error)).ok();
        let method = method(config, errors);
        let signer = signer(config, method, env).unwrap_or_else(|error| {
            errors.push(error);
            None
        });
        let identity = identity(config, env, errors);
        let settings = HttpSettings {
            timeout: config.timeout.0,
            max_bytes: MAX_ANSWER,
            ca: config.ca.as_deref().map(|path| env.path_to_read(path)),
            identity,
        };
        let client = env.host.http(&settings);
        let field = if config.certificate.is_some() { "certificate" } else { "ca" };
        let client = client.map_err(|message| errors.push(ConfigError::at(field, message))).ok();
        let authorization = authorization(config, method).unwrap_or_else(|error| {
            errors.push(error);
            None
        });
        match (uri, client) {
            (Some(uri), Some(client)) if errors.len() == before => {
                let body = body(config, method);
                Some(Endpoint { client, uri, authorization, body, signer })
            }
            _ => None,
        }
    }

    /// Asks about a token. Once more where there was no answer: the endpoint may have ended a connection that was kept just
    /// when it was used again, and asking changes nothing.
    pub(super) async fn ask(&self, token: &[u8]) -> Result<Response<Bytes>, HttpError> {
        match self.client.send(self.question(token)?).await {
            Err(HttpError::Failed(_)) => self.client.send(self.question(token)?).await,
            answer => answer,
        }
    }

    fn question(&self, token: &[u8]) -> Result<Request<Bytes>, HttpError> {
        let mut body = format!("token={}{}", percent_encode(token, FORM), self.body.expose());
        if let Some(signer) = &self.signer {
            let statement = signer.statement();
            let statement = statement.ok_or_else(|| HttpError::Failed("nothing can be signed".to_owned()))?;
            body.push_str("&client_assertion=");
            body.push_str(&statement);
        }
        let mut request = Request::post(self.uri.clone())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json");
        if let Some(value) = &self.authorization {
            request = request.header(AUTHORIZATION, value.clone());
        }
        request.body(Bytes::from(body)).map_err(|error| HttpError::Failed(error.to_string()))
    }
}

fn encoded(text: &str) -> String {
    percent_encode(text.as_bytes(), FORM).to_string()
}

fn uri(config: &Config) -> Result<Uri, ConfigError> {
    const FIELD: &str = "introspection_endpoint";
    if config.introspection_endpoint.is_empty() {
        return Err(ConfigError::new("nothing says where tokens are asked about")
            .help("write `introspection_endpoint: https://login.example.com/introspect`"));
    }
    address::read(
        &config.introspection_endpoint,
        "is not called over TLS: anybody on the way could read tokens",
    )
    .map_err(|message| {
        ConfigError::at(FIELD, message).help("write the `https` address that the issuer's metadata name so")
    })
}

/// How the gateway proves who it is; what does not go together is an error.
fn method(config: &Config, errors: &mut Vec<ConfigError>) -> Method {
    const FIELD: &str = "introspection_endpoint_auth_method";
    let (secret, key) = (config.client_secret.is_some(), config.private_key.is_some());
    let certificate = config.certificate.is_some();
    if config.authorization_value.is_some() {
        if secret || key || config.introspection_endpoint_auth_method.is_some() {
            let error = ConfigError::at("authorization_value", "it stands in the place of another proof");
            errors.push(error.help("write one of them"));
        }
        return Method::None;
    }
    let method = config.introspection_endpoint_auth_method.unwrap_or(match (secret, key) {
        (true, _) => Method::ClientSecretBasic,
        (false, true) => Method::PrivateKeyJwt,
        (false, false) => Method::TlsClientAuth,
    });
    let mut wrong = |message: &str, help: &str| errors.push(ConfigError::at(FIELD, message).help(help));
    let by_secret = matches!(method, Method::ClientSecretBasic | Method::ClientSecretPost);
    if secret != by_secret || key != (method == Method::PrivateKeyJwt) {
        wrong(
            "the proof needs other fields than are there",
            "write `client_secret`, or `private_key`, or `certificate` and `key`, as the method needs it",
        );
    } else if method == Method::TlsClientAuth && !certificate {
        wrong(
            "nothing proves to the issuer who is asking",
            "write `client_id` and `client_secret`, or `none` where the endpoint asks for no proof",
        );
    } else if config.client_id.as_deref().unwrap_or_default().is_empty() && method != Method::None {
        let error = ConfigError::at("client_id", "nothing says who is asking");
        errors.push(error.help("write the `client_id` that the gateway has at the issuer"));
    }
    method
}

fn authorization(config: &Config, method: Method) -> Result<Option<HeaderValue>, ConfigError> {
    let text = match (&config.authorization_value, &config.client_secret, method) {
        (Some(value), ..) => value.expose().to_owned(),
        (None, Some(secret), Method::ClientSecretBasic) => {
            let id = encoded(config.client_id.as_deref().unwrap_or_default());
            format!("Basic {}", STANDARD.encode(format!("{id}:{}", encoded(secret.expose()))))
        }
        _ => return Ok(None),
    };
    let mut value = HeaderValue::from_str(&text).map_err(|_| {
        ConfigError::at("authorization_value", "it cannot be the value of a header")
            .help("write it without line breaks")
    })?;
    value.set_sensitive(true);
    Ok(Some(value))
}

fn body(config: &Config, method: Method) -> Secret {
    let mut body = String::new();
    let mut add = |name: &str, value: &str| {
        body.push_str(&format!("&{name}={}", encoded(value)));
    };
    if !config.token_type_hint.is_empty() {
        add("token_type_hint", &config.token_type_hint);
    }
    if let (Some(id), false) = (&config.client_id, method == Method::ClientSecretBasic) {
        add("client_id", id);
    }
    match (method, &config.client_secret) {
        (Method::ClientSecretPost, Some(secret)) => add("client_secret", secret.expose()),
        (Method::PrivateKeyJwt, _) => {
            add("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
        }
        _ => {}
    }
    Secret::new(body)
}

fn signer(config: &Config, method: Method, env: &BuildEnv<'_>) -> Result<Option<Signer>, ConfigError> {
    let Some(key) = config.private_key.as_ref().filter(|_| method == Method::PrivateKeyJwt) else {
        let fields = [
            ("private_key_id", config.private_key_id.is_some()),
            ("private_key_algorithm", config.private_key_algorithm.is_some()),
            ("assertion_audience", config.assertion_audience.is_some()),
        ];
        return match fields.iter().find(|(_, is_there)| *is_there) {
            Some((field, _)) => Err(ConfigError::at(*field, "nothing is signed").help("remove it")),
            None => Ok(None),
        };
    };
    let told = |message: String| {
        ConfigError::at("private_key", message).help(
            "`openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256` makes one; the issuer gets its public half",
        )
    };
    let pem = if key.expose().contains("-----BEGIN") {
        key.clone()
    } else {
        let file = env.path_to_read(key.expose());
        let size = std::fs::metadata(&file).map(|found| found.len());
        let text = size
            .and_then(|size| if size > MAX_KEY { Ok(String::new()) } else { std::fs::read_to_string(&file) });
        Secret::new(text.map_err(|error| told(format!("the file cannot be read: {error}")))?)
    };
    let audience = config.assertion_audience.as_ref().or(config.issuer.as_ref());
    let audience = audience.unwrap_or(&config.introspection_endpoint).clone();
    let client = config.client_id.clone().unwrap_or_default();
    Signer::new(pem.expose(), config.private_key_algorithm, config.private_key_id.clone(), client, audience)
        .map(Some)
        .map_err(told)
}

fn identity(config: &Config, env: &BuildEnv<'_>, errors: &mut Vec<ConfigError>) -> Option<HttpIdentity> {
    match (&config.certificate, &config.key) {
        (Some(certificate), Some(key)) => {
            Some(HttpIdentity { certificate: env.path_to_read(certificate), key: env.path_to_read(key) })
        }
        (None, None) => None,
        (Some(_), None) => {
            errors.push(ConfigError::at("certificate", "it has no key").help("write `key: FILE` besides"));
            None
        }
        (None, Some(_)) => {
            errors.push(
                ConfigError::at("key", "it has no certificate").help("write `certificate: FILE` besides"),
            );
            None
        }
    }
}
