//! What a request is hashed by.

use crate::conf::model::HashOn;
use palisade_contract::Exchange;

/// The bytes; where the request has not got what is asked for, the client's address.
pub(super) fn hash_key(on: &HashOn, ex: &Exchange) -> Vec<u8> {
    let by_ip = || ex.client().ip.to_string().into_bytes();
    match on {
        HashOn::Ip => by_ip(),
        HashOn::Path => ex.path().as_bytes().to_vec(),
        HashOn::Header(name) => ex.header(name).map_or_else(by_ip, |value| value.as_bytes().to_vec()),
        HashOn::Cookie(name) => cookie(ex, name).map_or_else(by_ip, |value| value.as_bytes().to_vec()),
        HashOn::Consumer => ex.principal().map_or_else(by_ip, |principal| principal.id.as_bytes().to_vec()),
    }
}

fn cookie<'a>(ex: &'a Exchange, name: &str) -> Option<&'a str> {
    let headers = ex.request.headers.get_all(http::header::COOKIE);
    let pairs = headers.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(';'));
    pairs.filter_map(|pair| pair.trim().split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
}
