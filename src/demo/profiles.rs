//! Users' profiles.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, State},
    response::{IntoResponse, Response},
    routing::get,
};
use http::StatusCode;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::{
    bounded::Bounded,
    input::{Caller, Input, bad_request},
};
use crate::serve::problem;

/// The most profiles at once.
const PROFILES: usize = 1000;
/// The most bytes of any of a profile's texts.
const TEXT_BYTES: usize = 2000;

type Profiles = Arc<Mutex<Bounded<Profile>>>;

/// A profile as it is shown.
#[derive(Debug, Clone, Serialize)]
struct Profile {
    name: String,
    display_name: String,
    bio: String,
    /// Who changed it last, as the gateway said.
    changed_by: Option<String>,
}

/// A profile as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    display_name: String,
    #[serde(default)]
    bio: String,
}

pub(super) fn router() -> Router {
    let mut profiles = Bounded::new(PROFILES);
    for (name, display_name, bio) in [
        ("alice", "Alice Example", "Grows tomatoes."),
        ("bob", "Bob Example", "Repairs bicycles."),
        ("carol", "Carol Example", "Reads maps."),
    ] {
        let profile = Profile {
            name: name.to_owned(),
            display_name: display_name.to_owned(),
            bio: bio.to_owned(),
            changed_by: None,
        };
        profiles.insert(name, profile);
    }
    Router::new().route("/profiles/{name}", get(show).put(write)).with_state(Arc::new(Mutex::new(profiles)))
}

async fn show(State(profiles): State<Profiles>, Path(name): Path<String>) -> Response {
    match profiles.lock().get(&name) {
        Some(profile) => Json(profile).into_response(),
        None => problem(StatusCode::NOT_FOUND, "no_such_profile", "nobody has that name"),
    }
}

/// Whoever is known may change only their own profile. Who is not known may change any: it is the gateway's
/// part to let nobody through who has not signed in, and its absence should show.
async fn write(
    State(profiles): State<Profiles>,
    Path(name): Path<String>,
    Caller(caller): Caller,
    Input(change): Input<Change>,
) -> Response {
    if caller.as_ref().is_some_and(|caller| *caller != name) {
        return problem(StatusCode::FORBIDDEN, "not_your_profile", "this is somebody else's profile");
    }
    if [&name, &change.display_name, &change.bio].iter().any(|text| text.len() > TEXT_BYTES) {
        return bad_request("text_too_long", "a profile's texts may have 2000 bytes each");
    }
    let Change { display_name, bio } = change;
    let profile = Profile { name: name.clone(), display_name, bio, changed_by: caller };
    profiles.lock().insert(&name, profile.clone());
    Json(profile).into_response()
}
