//! What is known in memory on its way from one process to the next.

use super::Gateway;
use crate::upstream::Known;
use std::collections::BTreeMap;

/// What is known of targets. Plugins' names have a slash in them.
const TARGETS: &str = "targets";
/// Before the names of what plugins carry over.
const PLUGINS: &str = "plugin ";

impl Gateway {
    /// What a successor should know, by name.
    pub(super) fn state(&self) -> Vec<(String, Vec<u8>)> {
        let carried = self.keep.carried().all();
        let mut state: Vec<_> =
            carried.into_iter().map(|(name, bytes)| (format!("{PLUGINS}{name}"), bytes)).collect();
        let targets: BTreeMap<String, Vec<Known>> = self
            .snapshot()
            .upstreams
            .iter()
            .map(|(name, upstream)| (name.to_string(), upstream.known()))
            .filter(|(_, known)| !known.is_empty())
            .collect();
        // Names and numbers can always be written.
        if !targets.is_empty()
            && let Ok(text) = serde_json::to_vec(&targets)
        {
            state.push((TARGETS.to_owned(), text));
        }
        state
    }

    /// Knows what the predecessor has known, as far as it has a place here.
    pub(super) fn take_over(&self, state: &[(String, Vec<u8>)]) {
        let mut taken = 0;
        for (name, bytes) in state {
            if let Some(name) = name.strip_prefix(PLUGINS) {
                taken += usize::from(self.keep.carried().take_over(name, bytes));
            } else if name == TARGETS {
                taken += usize::from(self.know_targets(bytes));
            }
        }
        if !state.is_empty() {
            log::info!("{taken} of {} things that the predecessor knew are known here", state.len());
        }
    }

    fn know_targets(&self, bytes: &[u8]) -> bool {
        // Another release may write it in another way: then it is found out again.
        let Ok(targets) = serde_json::from_slice::<BTreeMap<String, Vec<Known>>>(bytes) else { return false };
        let snapshot = self.snapshot();
        for (name, known) in &targets {
            if let Some(upstream) = snapshot.upstreams.get(name.as_str()) {
                upstream.know(known);
            }
        }
        true
    }
}
