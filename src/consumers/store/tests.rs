use super::*;
use palisade_contract::Place;
use std::path::Path;
use tokio::sync::Semaphore;

const HASH: [u8; 32] = [0xab; 32];
const STALENESS: Duration = Duration::from_secs(5);

/// A store that answers as a test says, once it may.
#[derive(Clone)]
struct Said(Arc<State>);

struct State {
    answer: Mutex<Result<Answer, StoreError>>,
    asked: AtomicU64,
    may: Semaphore,
}

impl Said {
    fn new(may: usize) -> Self {
        Said(Arc::new(State {
            answer: Mutex::new(Ok(Answer::Nil)),
            asked: AtomicU64::new(0),
            may: Semaphore::new(may),
        }))
    }

    fn says(&self, answer: Result<Answer, StoreError>) {
        *self.0.answer.lock() = answer;
    }

    fn holds(&self, record: &'static str) {
        self.says(Ok(Answer::Bytes(record.into())));
    }

    fn asked(&self) -> u64 {
        self.0.asked.load(Ordering::SeqCst)
    }

    fn source(&self, staleness: Duration) -> StoreSource {
        let place = Place::of_file(Path::new("a.yaml"));
        let reserved = Reserved { names: HashMap::from([("root".into(), place)]), keys: HashMap::new() };
        StoreSource::new("main", Arc::new(self.clone()), "p:".into(), staleness, reserved)
    }
}

impl Store for Said {
    fn run(&self, command: Command) -> BoxFuture<'static, Result<Answer, StoreError>> {
        let state = self.0.clone();
        state.asked.fetch_add(1, Ordering::SeqCst);
        assert_eq!(command.name(), "GET");
        assert_eq!(*command.first_key().unwrap(), format!("p:key:{}", "ab".repeat(32)));
        Box::pin(async move {
            state.may.acquire().await.unwrap().forget();
            state.answer.lock().clone()
        })
    }
}

/// Whose the key is, or the status of the fault.
async fn who(source: &StoreSource, now: Instant) -> Result<Option<String>, u16> {
    let found = source.find(&HASH, now).resolve().await;
    found.map(|held| held.map(|held| held.principal.id.to_string())).map_err(|fault| fault.status().as_u16())
}

fn alice() -> Result<Option<String>, u16> {
    Ok(Some("alice".to_owned()))
}

#[tokio::test]
async fn what_the_store_said_holds_for_staleness_and_no_longer() {
    let said = Said::new(100);
    let source = said.source(STALENESS);
    let begun = Instant::now();
    let at = |millis| begun + Duration::from_millis(millis);
    said.holds(r#"{"name":"alice"}"#);
    assert_eq!(who(&source, at(0)).await, alice());
    // Revoked, and then the store is gone too.
    said.says(Ok(Answer::Nil));
    assert_eq!((who(&source, at(4999)).await, said.asked()), (alice(), 1));
    assert_eq!((who(&source, at(5000)).await, said.asked()), (Ok(None), 2));
    said.holds(r#"{"name":"alice"}"#);
    assert_eq!((who(&source, at(9999)).await, said.asked()), (Ok(None), 2));
    assert_eq!((who(&source, at(10_000)).await, said.asked()), (alice(), 3));
    said.says(Err(StoreError::Down));
    assert_eq!(who(&source, at(14_999)).await, alice());
    assert_eq!(who(&source, at(15_000)).await, Err(503));
    // A fault is not remembered.
    said.holds(r#"{"name":"alice"}"#);
    assert_eq!(who(&source, at(15_001)).await, alice());
    assert_eq!(source.view().events["cached"], 3);
}

#[tokio::test]
async fn without_staleness_each_request_asks() {
    let said = Said::new(100);
    let source = said.source(Duration::ZERO);
    let now = Instant::now();
    said.holds(r#"{"name":"alice"}"#);
    assert_eq!(who(&source, now).await, alice());
    said.says(Ok(Answer::Nil));
    assert_eq!((who(&source, now).await, said.asked()), (Ok(None), 2));
}

#[tokio::test]
async fn what_makes_no_sense_lets_nobody_in() {
    let said = Said::new(100);
    let source = said.source(STALENESS);
    let now = Instant::now();
    for (answer, status) in [
        (Ok(Answer::Bytes("hunter2".into())), 502),
        (Ok(Answer::Bytes(r#"{"name":"alice","admin":true}"#.into())), 502),
        (Ok(Answer::Int(1)), 502),
        (Ok(Answer::Done), 502),
        (Ok(Answer::List(vec![])), 502),
        (Err(StoreError::Nonsense), 502),
        (Err(StoreError::Refused("WRONGTYPE".into())), 502),
        (Err(StoreError::Timeout), 504),
        (Err(StoreError::Busy), 503),
        (Err(StoreError::Broken), 503),
    ] {
        said.says(answer.clone());
        assert_eq!(who(&source, now).await, Err(status), "{answer:?}");
    }
    // Who may write to the store is not thereby one of the configuration's consumers.
    said.holds(r#"{"name":"root"}"#);
    assert_eq!(who(&source, now).await, Ok(None));
    let events = source.view().events;
    assert_eq!((events["nonsense"], events["failed"], events["conflict"]), (5, 5, 1));
}

#[tokio::test]
async fn those_who_ask_alike_wait_for_one_answer() {
    let said = Said::new(0);
    let source = said.source(STALENESS);
    let begun = Instant::now();
    let ask = |millis| source.find(&HASH, begun + Duration::from_millis(millis)).resolve();
    let mut first = Box::pin(ask(0));
    let (mut second, mut late) = (Box::pin(ask(4999)), Box::pin(ask(5000)));
    for waits in [&mut first, &mut second, &mut late] {
        assert!(waits.now_or_never().is_none());
    }
    // Whoever comes so late must not get an answer that old.
    assert_eq!(said.asked(), 2);
    said.holds(r#"{"name":"alice"}"#);
    // The first one leaves: the second keeps the question going.
    drop(first);
    said.0.may.add_permits(2);
    assert!(second.await.unwrap().is_some() && late.await.unwrap().is_some());
    assert!(source.0.flights.lock().is_empty());
    assert_eq!(said.asked(), 2);
}

#[tokio::test]
async fn questions_that_nobody_waits_for_are_forgotten() {
    let said = Said::new(0);
    let inner = said.source(STALENESS).0;
    let now = Instant::now();
    for number in 0..2 * FLIGHTS as u64 {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&number.to_le_bytes());
        drop(inner.flight(hash, now));
    }
    assert!(inner.flights.lock().len() <= FLIGHTS);
}
