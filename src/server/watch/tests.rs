use super::*;
use crate::server::check_in;
use std::fs;

const CONF: &str = "
version: 1
state_dir: DIR/conf/var
listeners: {public: {address: 127.0.0.1:0}}
upstreams: {shop: {targets: [{address: '127.0.0.1:1'}]}}
errors: {404: {content_type: text/plain, file: ../else/404.txt}}
routes: {shop: {paths: [/*], upstream: shop, headers: {x-secret: '${file:../else/secret}'}}}
";

/// A directory with a configuration that names files elsewhere, and what it was read from.
fn conf() -> (tempfile::TempDir, Files) {
    let dir = tempfile::tempdir().unwrap();
    for folder in ["conf/routes", "conf/var", "else"] {
        fs::create_dir_all(dir.path().join(folder)).unwrap();
    }
    fs::write(dir.path().join("conf/a.yaml"), CONF.replace("DIR", dir.path().to_str().unwrap())).unwrap();
    fs::write(dir.path().join("else/404.txt"), "no").unwrap();
    fs::write(dir.path().join("else/secret"), "secret").unwrap();
    let files = files(dir.path());
    (dir, files)
}

fn files(dir: &Path) -> Files {
    let (config, snapshot) = check_in(&dir.join("conf"), palisade_plugins::PLUGINS, &|_| None).unwrap();
    Files::of(&config, &snapshot)
}

#[test]
fn what_changes_before_anybody_watches_is_seen() {
    let changes: [fn(&Path); 5] = [
        |dir| fs::write(dir.join("a.yaml"), "version: 2").unwrap(),
        |dir| fs::write(dir.join("routes/b.yaml"), "").unwrap(),
        |dir| fs::remove_file(dir.join("a.yaml")).unwrap(),
        |dir| fs::rename(dir.join("a.yaml"), dir.join("z.yaml")).unwrap(),
        |dir| {
            fs::write(dir.join("new"), "version: 1").unwrap();
            fs::rename(dir.join("new"), dir.join("a.yaml")).unwrap();
        },
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let (dir, _) = conf();
        let dir = dir.path().join("conf");
        let before = Fingerprint::of(&dir);
        assert_eq!(Fingerprint::of(&dir), before, "{index}: nothing has changed");
        change(&dir);
        assert_ne!(Fingerprint::of(&dir), before, "{index}: it was missed");
    }
}

#[test]
fn what_changes_elsewhere_while_it_is_read_is_seen() {
    let (dir, files) = conf();
    let later = SystemTime::now() + Duration::from_secs(3600);
    assert!(!files.changed_since(later, &Files::default()));
    assert!(files.changed_since(SystemTime::now() - Duration::from_secs(3600), &Files::default()));
    assert!(!files.changed_since(SystemTime::UNIX_EPOCH, &files), "what is looked at already tells itself");
    fs::remove_file(dir.path().join("else/secret")).unwrap();
    assert!(files.changed_since(later, &Files::default()));
}

#[tokio::test]
async fn files_elsewhere_are_looked_at_and_their_neighbours_are_not() {
    let (dir, files) = conf();
    let watched = Watched::new();
    let mut changes = watched.changes().unwrap();
    let later = SystemTime::now() + Duration::from_secs(3600);
    watched.follow(Some(files), later).unwrap();
    let write = |name: &str| fs::write(dir.path().join(name), "text").unwrap();
    for (name, seen) in [
        ("else/secret", true),
        ("else/404.txt", true),
        ("else/other", false),
        ("conf/var/audit.jsonl", false),
        ("conf/routes/b.txt", true),
        ("conf/a.yaml", true),
    ] {
        write(name);
        if !seen {
            // What comes after it would be told of after it.
            assert!(changes.0.try_recv().is_err(), "{name}");
            continue;
        }
        tokio::time::timeout(Duration::from_secs(30), changes.next()).await.expect(name).unwrap();
    }
    watched.follow(None, later).unwrap();
    write("else/secret");
    write("conf/a.yaml");
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(changes.0.try_recv().is_err(), "nobody looks any more");
}
