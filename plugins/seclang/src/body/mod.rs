//! Processors of request bodies: from bytes to arguments.

mod json;
mod multipart;
mod xml;
pub(crate) mod xpath;

use crate::{
    bytes::{Span, is_space, trim_end},
    config::Config,
    engine::{Store, state::State},
    rule::Processor,
    transform,
    variable::{List, Origin, Variable},
};

/// Splits a query or form into arguments.
pub(crate) fn urlencoded(store: &mut Store, text: &[u8], origin: Origin, separator: u8, limit: usize) {
    let mut valid = true;
    for pair in text.split(|byte| *byte == separator).filter(|pair| !pair.is_empty()) {
        if store.list(List::Args).len() >= limit {
            break;
        }
        let equals = memchr::memchr(b'=', pair).unwrap_or(pair.len());
        let (name, value) = (crate::bytes::cut(pair, 0, equals), crate::bytes::tail(pair, equals + 1));
        let name = store.keep_with(|out| valid &= transform::decode_form(name, out));
        let value = store.keep_with(|out| valid &= transform::decode_form(value, out));
        store.add(List::Args, name, value, origin);
    }
    if !valid {
        store.set_copied(Variable::UrlencodedError, b"1");
    }
}

/// Splits the value of a `Cookie` field, which is in the buffer.
pub(crate) fn cookies(store: &mut Store, field: Span) {
    let text = store.text(field);
    let mut found = Vec::new();
    let end = trim_end(text).len();
    let mut from = 0;
    while from < end {
        let rest = crate::bytes::cut(text, from, end);
        let length = memchr::memchr(b';', rest).unwrap_or(rest.len());
        let cookie = crate::bytes::cut(rest, 0, length);
        let lead = cookie.iter().take_while(|byte| is_space(**byte)).count();
        let equals = memchr::memchr(b'=', cookie).unwrap_or(cookie.len());
        if lead < equals {
            let at = |offset: usize| field.from + u32::try_from(from + offset).unwrap_or(0);
            let name = Span { from: at(lead), to: at(equals) };
            let value = Span { from: at((equals + 1).min(cookie.len())), to: at(cookie.len()) };
            found.push((name, value));
        }
        from += length + 1;
    }
    for (name, value) in found {
        store.add(List::Cookies, name, value, Origin::Any);
    }
}

/// Reads the body with the processor that the request or a rule chose.
pub(crate) fn process(store: &mut Store, state: &State, config: &Config) {
    let body = std::mem::take(&mut store.body);
    let over = body.len() > config.request_body_no_files_limit;
    let result = match state.processor {
        _ if body.is_empty() && state.processor != Some(Processor::Multipart) => Ok(()),
        Some(Processor::Urlencoded | Processor::Json | Processor::Xml) if over => Err(TOO_LONG.to_string()),
        Some(Processor::Urlencoded) => {
            urlencoded(store, &body, Origin::Form, config.argument_separator, config.arguments_limit);
            Ok(())
        }
        Some(Processor::Json) => json::parse(store, &body, config.json_depth_limit, config.arguments_limit)
            .map_err(|error| format!("JSON parsing error: {error}")),
        Some(Processor::Xml) => {
            xml::parse(store, &body, &config.xml_paths).map_err(|error| format!("XML parsing error: {error}"))
        }
        Some(Processor::Multipart) => multipart::parse(store, &body, config)
            .map_err(|error| format!("Multipart parsing error: {error}"))
            .and_then(|without_files| {
                if without_files > config.request_body_no_files_limit {
                    Err(TOO_LONG.to_string())
                } else {
                    Ok(())
                }
            }),
        Some(Processor::Raw) | None => Ok(()),
    };
    store.body = body;
    let length = store.body.len();
    store.set_number(Variable::RequestBodyLength, length);
    // The parts of a form and the text of a document are inspected instead of a body that is mostly their frame. One that does
    // not parse is inspected as it is.
    let framed = matches!(state.processor, Some(Processor::Multipart | Processor::Xml) | None);
    let raw = !framed || state.force_request_body;
    store.body_seen = length > 0 && (raw || result.is_err());
    if let Err(message) = result {
        store.set_copied(Variable::ReqbodyError, b"1");
        store.set_copied(Variable::ReqbodyErrorMsg, message.as_bytes());
        if message == TOO_LONG {
            store.set_copied(Variable::InboundDataError, b"1");
        } else {
            store.set_copied(Variable::ReqbodyProcessorError, b"1");
            store.set_copied(Variable::ReqbodyProcessorErrorMsg, message.as_bytes());
        }
    }
}

const TOO_LONG: &str = "Request body excluding files is bigger than the maximum expected.";

/// Puts header and body together, for rules that ask for the whole.
pub(crate) fn full_request(store: &mut Store) {
    let mut whole = Vec::with_capacity(store.body.len() + 1024);
    for entry in store.list(List::Headers) {
        whole.extend_from_slice(store.text(entry.name));
        whole.extend_from_slice(b": ");
        whole.extend_from_slice(store.text(entry.value));
        whole.push(b'\n');
    }
    whole.extend_from_slice(b"\n\n");
    whole.extend_from_slice(&store.body);
    store.set_copied(Variable::FullRequest, &whole);
    store.set_number(Variable::FullRequestLength, whole.len());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_and_values(store: &Store, list: List) -> Vec<(String, String)> {
        let text = |span| String::from_utf8_lossy(store.text(span)).into_owned();
        store.list(list).iter().map(|entry| (text(entry.name), text(entry.value))).collect()
    }

    fn check(list: List, feed: impl Fn(&mut Store), expected: &[(&str, &str)]) {
        let mut store = Store::default();
        feed(&mut store);
        let expected: Vec<_> =
            expected.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        assert_eq!(names_and_values(&store, list), expected);
    }

    #[test]
    fn forms() {
        let form =
            |text: &'static [u8]| move |store: &mut Store| urlencoded(store, text, Origin::Form, b'&', 3);
        check(List::Args, form(b"a=1&b=%41+b&&c"), &[("a", "1"), ("b", "A b"), ("c", "")]);
        check(List::Args, form(b"=x&a==&&"), &[("", "x"), ("a", "=")]);
        check(List::Args, form(b"a&b&c&d"), &[("a", ""), ("b", ""), ("c", "")]);
        let mut store = Store::default();
        form(b"a=%zz")(&mut store);
        assert_eq!(store.slot(Variable::UrlencodedError), Some(b"1".as_slice()));
    }

    #[test]
    fn cookies_are_split() {
        let feed = |text: &'static [u8]| {
            move |store: &mut Store| {
                let field = store.keep(text);
                cookies(store, field);
            }
        };
        check(
            List::Cookies,
            feed(b"a=1; b=2=3;c; =x;;  d = 4  "),
            &[("a", "1"), ("b", "2=3"), ("c", ""), ("d ", " 4")],
        );
        check(List::Cookies, feed(b""), &[]);
    }
}
