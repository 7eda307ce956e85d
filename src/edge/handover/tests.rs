use super::{
    channel::{Channel, MAX_MESSAGE, PROMPT, check_user, next_message},
    *,
};
use bytes::BytesMut;
use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::{AsFd, OwnedFd},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    task::JoinHandle,
};

struct Place {
    _dir: TempDir,
    run: PathBuf,
    conf: PathBuf,
}

fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let (run, conf) = (dir.path().join("run"), dir.path().join("conf"));
    fs::create_dir(&conf).unwrap();
    Place { _dir: dir, run, conf }
}

fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// A process that has these sockets, and knows this.
struct Process {
    sockets: Vec<(&'static str, TcpListener)>,
    state: Vec<(String, Vec<u8>)>,
    launch: Option<Launch>,
}

impl Predecessor for Process {
    fn sockets(&self) -> io::Result<Vec<(String, TcpListener)>> {
        self.sockets.iter().map(|(name, socket)| Ok(((*name).to_owned(), socket.try_clone()?))).collect()
    }

    fn state(&self) -> Vec<(String, Vec<u8>)> {
        self.state.clone()
    }

    fn launch(&self) -> Option<&Launch> {
        self.launch.as_ref()
    }
}

fn process(sockets: Vec<(&'static str, TcpListener)>) -> Process {
    Process { sockets, state: Vec::new(), launch: None }
}

/// Waits for a successor in the background.
fn run(control: Control, process: Process) -> JoinHandle<Takeover> {
    tokio::spawn(async move { control.successor(&process).await })
}

fn frame(text: &str) -> Vec<u8> {
    [&u32::try_from(text.len()).unwrap().to_be_bytes()[..], text.as_bytes()].concat()
}

#[tokio::test]
async fn sockets_go_to_the_successor() {
    let at = place();
    let (public, admin) = (listen(), listen());
    let (public_at, admin_at) = (public.local_addr().unwrap(), admin.local_addr().unwrap());
    let control = Control::bind(&at.run, &at.conf).unwrap();
    let mut process = process(vec![("listener public", public), ("admin", admin)]);
    process.state = vec![("a name".to_owned(), vec![7; 100_000]), ("empty".to_owned(), Vec::new())];
    let known = process.state.clone();
    let predecessor = run(control, process);

    let mut taken = take(&at.run, &at.conf).await.unwrap().unwrap();
    let public = taken.claim("listener public", public_at).unwrap();
    assert!(taken.claim("listener public", public_at).is_none(), "a socket is handed out once");
    assert!(!predecessor.is_finished(), "the predecessor goes on until the successor is ready");

    let mut client = TcpStream::connect(public_at).unwrap();
    public.set_nonblocking(false).unwrap();
    let (mut served, _) = public.accept().unwrap();
    io::Write::write_all(&mut client, b"x").unwrap();
    let mut byte = [0];
    io::Read::read_exact(&mut served, &mut byte).unwrap();
    assert_eq!(&byte, b"x");

    assert_eq!(taken.state().await.unwrap(), known);
    taken.ready().await.unwrap();
    let control = Control::replace(&at.run, &at.conf).unwrap();
    assert!(!predecessor.is_finished(), "until the successor has told everybody");
    taken.serving().await.unwrap();
    predecessor.await.unwrap();
    // The one that was not claimed is closed on both sides now. A process that another test starts has a copy of it
    // from its fork to its exec.
    let closed = async {
        while TcpStream::connect(admin_at).is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PROMPT, closed).await.expect("nobody listens");
    assert!(TcpStream::connect(public_at).is_ok());
    assert!(Control::bind(&at.run, &at.conf).is_err());
    drop(control);
    Control::bind(&at.run, &at.conf).unwrap();
}

#[tokio::test]
async fn sockets_are_claimed_by_address() {
    let at = place();
    let (one, two) = (listen(), listen());
    let (one_at, two_at) = (one.local_addr().unwrap(), two.local_addr().unwrap());
    let control = Control::bind(&at.run, &at.conf).unwrap();
    let predecessor = run(control, process(vec![("one", one), ("two", two)]));
    let mut taken = take(&at.run, &at.conf).await.unwrap().unwrap();
    let any = |address: SocketAddr| SocketAddr::new(address.ip(), 0);
    assert!(taken.claim("three", any(one_at)).is_none(), "port 0 is not everybody's");
    assert!(taken.claim("one", "127.0.0.2:0".parse().unwrap()).is_none());
    assert!(taken.claim("one", "127.0.0.1:1".parse().unwrap()).is_none());
    // A listener that was renamed keeps its socket.
    assert_eq!(taken.claim("renamed", two_at).unwrap().local_addr().unwrap(), two_at);
    assert_eq!(taken.claim("one", any(one_at)).unwrap().local_addr().unwrap(), one_at);
    predecessor.abort();
}

#[tokio::test]
async fn a_successor_that_fails_changes_nothing() {
    let at = place();
    let socket = listen();
    let address = socket.local_addr().unwrap();
    let control = Control::bind(&at.run, &at.conf).unwrap();
    let predecessor = run(control, process(vec![("one", socket)]));
    // One dies before it says anything, one after it has the sockets, one speaks another language.
    drop(UnixStream::connect(socket_path(&at.run, &at.conf).unwrap()).await.unwrap());
    drop(take(&at.run, &at.conf).await.unwrap().unwrap());
    for message in ["hello 1", "ready", "", "hello 2 "] {
        let mut stream = UnixStream::connect(socket_path(&at.run, &at.conf).unwrap()).await.unwrap();
        stream.write_all(&frame(message)).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, frame("refused this process speaks version 2"), "{message:?}");
    }
    for message in [&[0, 0, 0xff, 0xff, b'x'][..], &[0xff; 8], &[0, 0, 0, 2, 0xc0, 0xae]] {
        let mut stream = UnixStream::connect(socket_path(&at.run, &at.conf).unwrap()).await.unwrap();
        stream.write_all(message).await.unwrap();
        let mut answer = Vec::new();
        // A close with unread bytes may also come as a reset.
        let _ = stream.read_to_end(&mut answer).await;
        assert!(answer.is_empty(), "{message:?}");
    }
    assert!(!predecessor.is_finished());
    let mut taken = take(&at.run, &at.conf).await.unwrap().unwrap();
    let _socket = taken.claim("one", address).unwrap();
    taken.state().await.unwrap();
    taken.refuse("no room").await;
    // One that has everything, has taken the control socket's place, and dies before it says so.
    let mut taken = take(&at.run, &at.conf).await.unwrap().unwrap();
    taken.state().await.unwrap();
    taken.ready().await.unwrap();
    let dead = Control::replace(&at.run, &at.conf).unwrap();
    drop((taken, dead));
    let again = async {
        loop {
            if let Some(taken) = take(&at.run, &at.conf).await.unwrap() {
                return taken;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let mut taken = tokio::time::timeout(PREPARE, again).await.expect("a control socket");
    taken.state().await.unwrap();
    taken.ready().await.unwrap();
    taken.serving().await.unwrap();
    predecessor.await.unwrap();
}

#[tokio::test]
async fn who_is_told_to_end_in_the_middle_says_so_and_who_dies_does_not() {
    for told in [true, false] {
        let at = place();
        let control = Control::bind(&at.run, &at.conf).unwrap();
        let predecessor = run(control, process(vec![("one", listen())]));
        let mut taken = take(&at.run, &at.conf).await.unwrap().unwrap();
        let error = if told {
            taken.state().await.unwrap();
            predecessor.abort();
            let _ = predecessor.await;
            taken.ready().await.unwrap_err()
        } else {
            let (mine, theirs) = UnixStream::pair().unwrap();
            drop(theirs);
            let mut gone = Taken::over(Channel::new(mine));
            gone.ready().await.unwrap_err()
        };
        assert_eq!(error.is_gone(), !told, "{error}");
    }
}

fn script(at: &Place, text: &str) -> PathBuf {
    let path = at.run.parent().unwrap().join("binary");
    // By another process: a file that anybody has open for writing cannot be executed, and a process that another test
    // starts has what this one has open, from its fork to its exec.
    let mut install = std::process::Command::new("install")
        .args(["-m", "700", "/dev/stdin"])
        .arg(&path)
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    io::Write::write_all(&mut install.stdin.take().unwrap(), format!("#!/bin/sh\n{text}\n").as_bytes())
        .unwrap();
    assert!(install.wait().unwrap().success());
    path
}

#[tokio::test]
async fn a_binary_that_cannot_take_over_is_told_of_and_changes_nothing() {
    let at = place();
    let launch = Launch::new(["run".into(), "--conf".into(), "x".into()], &at.conf);
    let control = Control::bind(&at.run, &at.conf).unwrap();
    let process = Process { launch: Some(launch), ..process(vec![("one", listen())]) };
    let predecessor = run(control, process);
    for (text, why) in [
        ("echo 'routes.x: this is wrong' >&2; exit 1", "routes.x: this is wrong"),
        ("exit 3", "says nothing and ends with exit status: 3"),
        ("[ $1 = check ] || exit 4", "ended before it took over (exit status: 4)"),
        ("[ $1 = check ] || kill -9 $$", "ended before it took over (signal: 9 (SIGKILL))"),
        // What it is started with.
        ("[ $1 = check ] && exit 0; [ \"$*\" = 'run --conf x --upgrade' ] && exit 5", "exit status: 5"),
    ] {
        let binary = script(&at, text);
        let done = upgrade(&at.run, &at.conf, &binary).await.unwrap();
        assert!(matches!(&done, Upgraded::Kept(kept) if kept.contains(why)), "{text}: {done:?}");
    }
    let missing = at.run.join("missing");
    let done = upgrade(&at.run, &at.conf, &missing).await.unwrap();
    assert!(matches!(&done, Upgraded::Kept(why) if why.contains("cannot start")), "{done:?}");
    assert!(upgrade(&at.run, &at.conf, Path::new("relative")).await.is_err());
    assert!(!predecessor.is_finished());
    predecessor.abort();
    let _ = predecessor.await;
    assert_eq!(upgrade(&at.run, &at.conf, &missing).await.unwrap(), Upgraded::Nobody);
}

#[tokio::test]
async fn whoever_asks_is_told_once_the_old_process_has_stopped() {
    let at = place();
    let control = Control::bind(&at.run, &at.conf).unwrap();
    let launch = Launch::new(["run".into(), "--upgrade".into()], &at.conf);
    let process = Process { launch: Some(launch), ..process(vec![("one", listen())]) };
    let predecessor = run(control, process);
    // The binary is there and waits; this test does what it would do.
    let started = at.run.join("started");
    let text = format!("[ $1 = check ] && exit 0; touch '{}'; exec sleep 300", started.display());
    let binary = script(&at, &text);
    let (run_dir, conf) = (at.run.clone(), at.conf.clone());
    let asked = tokio::spawn(async move { upgrade(&run_dir, &conf, &binary).await });
    let begun = std::time::Instant::now();
    while !started.exists() {
        assert!(begun.elapsed() < PREPARE && !asked.is_finished());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let second = upgrade(&at.run, &at.conf, Path::new("/bin/true")).await.unwrap();
    assert_eq!(second, Upgraded::Kept("another upgrade is under way".to_owned()));
    let mut taken = take(&at.run, &at.conf).await.unwrap().unwrap();
    taken.state().await.unwrap();
    taken.ready().await.unwrap();
    taken.serving().await.unwrap();
    let takeover = predecessor.await.unwrap();
    assert!(!asked.is_finished(), "the old process accepts as yet");
    takeover.stopped().await;
    let done = asked.await.unwrap().unwrap();
    let Upgraded::By(id) = done else { panic!("{done:?}") };
    let id = rustix::process::Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::KILL).expect("it was let go on by itself");
}

#[tokio::test]
async fn nobody_there() {
    let at = place();
    assert!(take(&at.run, &at.conf).await.unwrap().is_none());
    // The file of a process that died.
    fs::create_dir(&at.run).unwrap();
    let path = socket_path(&at.run, &at.conf).unwrap();
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    assert!(take(&at.run, &at.conf).await.unwrap().is_none());
    let control = Control::bind(&at.run, &at.conf).unwrap();
    assert!(fs::read_dir(&at.run).unwrap().count() == 1, "nothing is left lying about");
    drop(control);
    assert!(!path.exists());
}

#[tokio::test]
async fn one_process_for_a_directory() {
    let at = place();
    let control = Control::bind(&at.run, &at.conf).unwrap();
    let error = Control::bind(&at.run, &at.conf.join("../conf")).unwrap_err().to_string();
    assert!(error.contains("another process runs on") && error.contains("`palisade upgrade`"), "{error}");
    let other = at.conf.parent().unwrap().join("other");
    fs::create_dir(&other).unwrap();
    Control::bind(&at.run, &other).unwrap();
    drop(control);
    Control::bind(&at.run, &at.conf).unwrap();
}

#[tokio::test]
async fn a_file_that_is_a_successors_stays() {
    let at = place();
    let old = Control::bind(&at.run, &at.conf).unwrap();
    fs::remove_file(&old.path).unwrap();
    let new = Control::bind(&at.run, &at.conf).unwrap();
    drop(old);
    assert!(new.path.exists());
}

#[tokio::test]
async fn the_directory_is_ours_alone() {
    let at = place();
    let mode = || fs::metadata(&at.run).unwrap().mode() & 0o777;
    drop(Control::bind(&at.run, &at.conf).unwrap());
    assert_eq!(mode(), 0o700);
    fs::set_permissions(&at.run, fs::Permissions::from_mode(0o755)).unwrap();
    drop(Control::bind(&at.run, &at.conf).unwrap());
    assert_eq!(mode(), 0o700);
    assert!(check_user(1000, 1000).is_ok());
    assert!(check_user(1000, 0).is_err() && check_user(0, 1000).is_err());
}

/// A predecessor that says this, with a descriptor beside the first message.
async fn told(messages: &[&str], fd: Option<OwnedFd>) -> Result<Option<Taken>> {
    let at = place();
    fs::create_dir(&at.run).unwrap();
    let listener = UnixListener::bind(socket_path(&at.run, &at.conf).unwrap()).unwrap();
    let answer = async {
        let (stream, _) = listener.accept().await.unwrap();
        let mut channel = Channel::new(stream);
        assert_eq!(channel.receive(PROMPT).await.unwrap(), "hello 2");
        let mut fd = fd.as_ref().map(AsFd::as_fd);
        for message in messages {
            channel.send(message, fd.take()).await.unwrap();
        }
    };
    tokio::join!(take(&at.run, &at.conf), answer).0
}

#[tokio::test]
async fn what_is_handed_over_is_looked_at() {
    let listener = || Some(OwnedFd::from(listen()));
    assert_eq!(told(&["socket a", "sockets 1"], listener()).await.unwrap().unwrap().sockets.len(), 1);
    assert_eq!(told(&["sockets 0"], None).await.unwrap().unwrap().sockets.len(), 0);
    let (unix, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    let unix_listener = || {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::net::UnixListener::bind(dir.path().join("s")).unwrap()
    };
    for (messages, fd, expected) in [
        (&["socket a", "sockets 1"][..], None, "protocol"),
        (&["socket a", "sockets 2"], listener(), "protocol"),
        (&["sockets 0"], listener(), "protocol"),
        (&["socket a", "sockets 1"], Some(OwnedFd::from(unix)), "protocol"),
        (&["socket a", "sockets 1"], Some(OwnedFd::from(unix_listener())), "protocol"),
        (&["socket a", "sockets x"], listener(), "protocol"),
        (&["yours"], None, "protocol"),
        (&["refused go\naway"], None, r"refuses: go\naway"),
        (&["socket a"], listener(), "cannot read"),
        (&[], None, "cannot read"),
    ] {
        let error = told(messages, fd).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{messages:?}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn silence_ends() {
    let (one, _two) = UnixStream::pair().unwrap();
    let mut channel = Channel::new(one);
    assert!(matches!(channel.receive(PROMPT).await, Err(HandoverError::Timeout)));
}

#[tokio::test]
async fn messages_are_bounded() {
    let (one, _two) = UnixStream::pair().unwrap();
    let channel = Channel::new(one);
    assert!(channel.send(&"x".repeat(MAX_MESSAGE + 1), None).await.is_err());
    channel.send(&"x".repeat(MAX_MESSAGE), None).await.unwrap();
    let at = place();
    let long = at.run.join("x".repeat(120));
    assert!(socket_path(&long, &at.conf).unwrap_err().to_string().contains("too long"));
    assert!(socket_path(&at.run, &at.conf.join("none")).is_err());
}

proptest::proptest! {
    /// Messages come out as they went in, however they are cut.
    #[test]
    fn messages_are_put_together(texts in proptest::collection::vec("[a-z ]{0,20}", 0..5), cut in 1usize..9) {
        let wire: Vec<u8> = texts.iter().flat_map(|text| frame(text)).collect();
        let (mut buffer, mut found) = (BytesMut::new(), Vec::new());
        for piece in wire.chunks(cut) {
            buffer.extend_from_slice(piece);
            while let Some(text) = next_message(&mut buffer).unwrap() {
                found.push(text);
            }
        }
        proptest::prop_assert_eq!(found, texts);
        proptest::prop_assert!(buffer.is_empty());
    }
}
