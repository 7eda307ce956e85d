//! A store in memory, for as long as a case lasts.

use bytes::Bytes;
use palisade_contract::{Answer, Command, Store, StoreError, verdict::BoxFuture};
use parking_lot::Mutex;
use std::{collections::HashMap, time::Duration};

/// What stands in the place of a shared store.
pub(super) struct Memory {
    /// None: it is down.
    content: Option<Mutex<Content>>,
}

#[derive(Default)]
struct Content {
    now: Duration,
    values: HashMap<Bytes, (Bytes, Option<Duration>)>,
}

impl Memory {
    /// An empty one.
    pub(super) fn empty() -> Self {
        Memory { content: Some(Mutex::default()) }
    }

    /// One that does not answer.
    pub(super) fn down() -> Self {
        Memory { content: None }
    }

    /// Lets time pass.
    pub(super) fn advance(&self, time: Duration) {
        if let Some(content) = &self.content {
            content.lock().now += time;
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&self) {
        if let Some(content) = &self.content {
            content.lock().values.clear();
        }
    }
}

impl Store for Memory {
    fn run(&self, command: Command) -> BoxFuture<'static, Result<Answer, StoreError>> {
        let answer = match &self.content {
            Some(content) => content.lock().run(&command),
            None => Err(StoreError::Down),
        };
        Box::pin(async move { answer })
    }
}

impl Content {
    fn run(&mut self, command: &Command) -> Result<Answer, StoreError> {
        let now = self.now;
        self.values.retain(|_, (_, until)| until.is_none_or(|until| until > now));
        let args = command.args();
        let wrong = || StoreError::Refused("ERR".to_owned());
        let key = args.first().ok_or_else(wrong)?;
        match command.name() {
            "GET" => Ok(self.values.get(key).map_or(Answer::Nil, |(value, _)| Answer::Bytes(value.clone()))),
            "SET" => self.set(key, args.get(1..).unwrap_or_default()).ok_or_else(wrong),
            "DEL" | "UNLINK" => {
                let gone = args.iter().filter(|key| self.values.remove(*key).is_some()).count();
                Ok(Answer::Int(i64::try_from(gone).unwrap_or(i64::MAX)))
            }
            "EXISTS" => {
                let here = args.iter().filter(|key| self.values.contains_key(*key)).count();
                Ok(Answer::Int(i64::try_from(here).unwrap_or(i64::MAX)))
            }
            "INCR" | "INCRBY" => {
                let by = args.get(1).map_or(Some(1), |by| number(by)).ok_or_else(wrong)?;
                let (value, _) = self.values.entry(key.clone()).or_insert((Bytes::from_static(b"0"), None));
                let sum = number(value).and_then(|value| value.checked_add(by)).ok_or_else(wrong)?;
                *value = sum.to_string().into();
                Ok(Answer::Int(sum))
            }
            "EXPIRE" | "PEXPIRE" => {
                let time = args.get(1).and_then(|text| number(text)).ok_or_else(wrong)?;
                let time = span(time, command.name() == "PEXPIRE");
                let found = self.values.get_mut(key).map(|(_, until)| *until = Some(now + time));
                Ok(Answer::Int(found.map_or(0, |()| 1)))
            }
            other => Err(StoreError::Refused(format!("the mocked store does not know {other}"))),
        }
    }

    /// `SET key value [NX | XX] [GET] [EX seconds | PX milliseconds]`; none where it is something else.
    fn set(&mut self, key: &Bytes, rest: &[Bytes]) -> Option<Answer> {
        let (value, mut options) = rest.split_first()?;
        let (mut until, mut wanted, mut get) = (None, None, false);
        while let Some((option, more)) = options.split_first() {
            options = more;
            match option.to_ascii_uppercase().as_slice() {
                b"NX" => wanted = Some(false),
                b"XX" => wanted = Some(true),
                b"GET" => get = true,
                unit @ (b"EX" | b"PX") => {
                    let (time, more) = options.split_first()?;
                    (until, options) = (Some(self.now + span(number(time)?, unit == b"PX")), more);
                }
                _ => return None,
            }
        }
        let before = self.values.get(key).map(|(value, _)| Answer::Bytes(value.clone()));
        let met = wanted.is_none_or(|wanted| wanted == before.is_some());
        if met {
            self.values.insert(key.clone(), (value.clone(), until));
        }
        Some(match (get, met) {
            (true, _) => before.unwrap_or(Answer::Nil),
            (false, true) => Answer::Done,
            (false, false) => Answer::Nil,
        })
    }
}

fn number(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn span(time: i64, milliseconds: bool) -> Duration {
    let time = u64::try_from(time).unwrap_or(0);
    if milliseconds { Duration::from_millis(time) } else { Duration::from_secs(time) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::executor::block_on;

    #[test]
    fn what_is_set_is_there_until_its_time_is_over() {
        let store = Memory::empty();
        let set = || Command::new("SET").key("k").arg("v").arg("NX").arg("PX").arg("1500");
        let run = |command| block_on(store.run(command));
        assert_eq!(run(set()), Ok(Answer::Done));
        assert_eq!(run(set()), Ok(Answer::Nil));
        store.advance(Duration::from_secs(1));
        assert_eq!(run(Command::new("GET").key("k")), Ok(Answer::Bytes("v".into())));
        store.advance(Duration::from_secs(1));
        assert_eq!(run(Command::new("GET").key("k")), Ok(Answer::Nil));
        assert_eq!(run(Command::new("INCR").key("n")), Ok(Answer::Int(1)));
        assert_eq!(run(Command::new("INCRBY").key("n").arg("4")), Ok(Answer::Int(5)));
        store.clear();
        assert_eq!(run(Command::new("EXISTS").key("n")), Ok(Answer::Int(0)));
        assert!(matches!(run(Command::new("EVAL").arg("x")), Err(StoreError::Refused(_))));
        assert_eq!(block_on(Memory::down().run(set())), Err(StoreError::Down));
    }
}
