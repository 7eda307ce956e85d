//! Lockouts as an operator sees and ends them.

use super::{
    record::Record,
    shared::Shared,
    state::{Limits, Shown, State, network},
    table::Kind,
};
use palisade_contract::{Lockouts, StoreError, Whom, verdict::BoxFuture};
use serde_json::{Value, json};

impl Lockouts for State {
    fn list(&self) -> Vec<Value> {
        let now = self.clock.now();
        let shown: Vec<(u64, Shown)> =
            self.shown.lock().iter().map(|(key, shown)| (*key, shown.clone())).collect();
        let live = shown.into_iter().filter_map(|(key, shown)| {
            let record = self.failures.exact(key)?;
            let seconds = record.locked(now)?.div_ceil(1_000_000_000);
            let mut one = json!({
                "kind": super::word(shown.kind),
                "network": shown.network.to_string(),
                "seconds_left": seconds,
                "in_a_row": record.level,
            });
            if let (Some(account), Some(fields)) = (shown.account, one.as_object_mut()) {
                fields.insert("account".to_owned(), (*account).into());
            }
            Some(one)
        });
        live.collect()
    }

    fn end(&self, whom: Whom) -> BoxFuture<'_, usize> {
        let now = self.clock.now();
        let ended = match &whom {
            Whom::Ip(ip) => {
                let key = self.ip_key(*ip);
                self.failures.remove(self.clock.key(Kind::Told, &[&key.to_le_bytes()]));
                self.failures.remove(self.missed_key(key));
                self.failures.remove_all(now, |other, _| other == key)
            }
            Whom::Account(name) => {
                let account = self.account_key(name);
                // That it is attacked from many networks is no lockout.
                self.failures.remove(account);
                self.failures.remove_all(now, |_, record| record.owner == account)
            }
            Whom::All => {
                self.failures.clear_others();
                *self.all.lock() = Record::default();
                self.failures.remove_all(now, |_, _| true)
            }
        };
        let ends = self.ends.lock().clone();
        let shown = || self.shown.lock().iter().filter_map(|(_, shown)| shown.stored.clone()).collect();
        let stored: Vec<String> = if whom == Whom::All { shown() } else { Vec::new() };
        Box::pin(async move {
            let Some((shared, limits)) = ends else { return ended };
            match end_stored(&shared, whom, stored, &limits).await {
                Ok(there) => ended.max(there),
                Err(error) => {
                    log::warn!("credential-guard: lockouts were ended here and not in the store: {error}");
                    ended
                }
            }
        })
    }
}

/// Ends for other gateways what was ended here; how many that were.
async fn end_stored(
    shared: &Shared,
    whom: Whom,
    stored: Vec<String>,
    limits: &Limits,
) -> Result<usize, StoreError> {
    match whom {
        Whom::Ip(ip) => shared.end_ip(network(ip)).await.map(usize::from),
        Whom::Account(name) => shared.end_account(&name, &limits.pair).await.map(|()| 0),
        Whom::All => {
            let mut there = 0;
            for key in stored {
                there += usize::from(shared.end(key).await?);
            }
            Ok(there)
        }
    }
}
