use super::*;
use std::time::Duration;

#[test]
fn addresses_are_counted_by_network() {
    let registry = Arc::new(Registry::default());
    let door = registry.door();
    let admit = |ip: &str, exempt| registry.admit(&door, ip.parse().unwrap(), 2, exempt);
    let held = [admit("2001:db8::1", false), admit("2001:db8::2", false)];
    assert!(held.iter().all(Option::is_some));
    assert!(admit("2001:db8:0:0:ffff::9", false).is_none());
    assert!(admit("2001:db8:0:1::1", false).is_some());
    assert!(admit("2001:db8::3", true).is_some());
    let v4 = [admit("1.2.3.4", false), admit("::ffff:1.2.3.4", false)];
    assert!(admit("1.2.3.4", false).is_none());
    assert_eq!(registry.stats().refused, [2, 0]);
    // Each listener counts for itself.
    assert!(registry.admit(&registry.door(), "1.2.3.4".parse().unwrap(), 2, false).is_some());
    drop((held, v4));
    assert_eq!(registry.live(), 0);
    assert!(door.per_ip.0.lock().is_empty());
}

#[test]
fn requests_of_clients_behind_proxies_are_counted_by_network() {
    let door = Registry::default().door();
    let enter = |ip: &str| door.enter(ip.parse().unwrap(), 2);
    let held = [enter("2001:db8::1"), enter("2001:db8::2")];
    assert!(held.iter().all(Option::is_some) && enter("2001:db8::3").is_none());
    assert!(enter("1.2.3.4").is_some());
    drop(held);
    assert!(enter("2001:db8::3").is_some());
    assert!(door.in_flight.0.lock().is_empty());
}

#[test]
fn every_limit_has_its_cause_and_room_is_made_where_it_is_wanted() {
    let registry = Arc::new(Registry::default());
    let (one, two) = (registry.door(), registry.door());
    let admit =
        |door: &Arc<Door>| registry.admit(door, "127.0.0.1".parse().unwrap(), usize::MAX, false).unwrap();
    let (first, second, third) = (admit(&one), admit(&two), admit(&two));
    assert_eq!(registry.full(&one, 1, 9), Some(Cause::Listener));
    assert_eq!(registry.full(&one, 2, 3), Some(Cause::Connections));
    assert_eq!(registry.full(&one, 2, 4), None);
    registry.set_descriptors(3);
    assert_eq!(registry.full(&one, 2, 4), Some(Cause::Descriptors));
    let told = |live: &Live| live.parked().is_told();
    let hour = Duration::from_secs(3600);
    let _tickets = [&first, &second, &third].map(|live| live.parked().park(hour));
    // The first has been idle longest, but it is not of that listener.
    assert!(registry.evict(Some(&two), Cause::Listener));
    assert_eq!((told(&first), told(&second), told(&third)), (false, true, false));
    assert!(registry.evict(None, Cause::Connections));
    assert_eq!((told(&first), told(&third)), (true, false));
    assert!(!registry.evict(Some(&one), Cause::Listener));
    assert_eq!(registry.stats().evicted, [1, 1, 0, 0, 0]);
}
