//! The program itself, run against a served status.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use jiff::Timestamp;
use swarmset::status::document::Event;

use crate::server::{Served, file};
use crate::story::{BUSY, FAULTY, Memory, SETTLED, document, publish, quiet, report};

const PATIENCE: Duration = Duration::from_secs(20);

/// The program without anything from the environment that it would heed.
fn swarmset(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_swarmset"));
    command.args(arguments);
    for name in [
        "NO_COLOR",
        "CLICOLOR_FORCE",
        "CLICOLOR",
        "DOCKER_HOST",
        "SWARMSET_URL",
        "SWARMSET_TOKEN_FILE",
    ] {
        command.env_remove(name);
    }
    command
}

fn run(arguments: &[&str]) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = swarmset(arguments).output().expect("the program");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (
        status.code().expect("an exit code"),
        text(stdout),
        text(stderr),
    )
}

fn settled() -> Served {
    Served::start(publish(
        SETTLED,
        &mut Memory::default(),
        quiet(),
        Timestamp::now(),
    ))
}

#[test]
fn status_of_a_settled_set() {
    let served = settled();
    let (code, out, err) = run(&["status", "--url", &served.url()]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(
        out.starts_with("converged  stack app  the agent at http://127.0.0.1:"),
        "{out}"
    );
    assert!(
        out.contains("app/rs  converged  service mongo  3 of 3 members  configuration 1"),
        "{out}"
    );
    assert!(
        out.contains("  0    mongo-1-n1:27017  PRIMARY    yes   0 s  n1.example\n"),
        "{out}"
    );
    assert!(!out.contains('\x1b'), "{out}");
}

#[test]
fn status_says_not_yet_with_1_and_needs_a_person_with_2() {
    let served = Served::start(document(BUSY));
    let (code, out, _) = run(&["status", "--url", &served.url()]);
    assert_eq!(code, 1, "{out}");
    for part in [
        "not converged yet",
        "192  mongo-4-n5:27017  STARTUP2             not yet",
        "joining, 360 MB of 900 MB, 40 %",
        "leaving",
        "mongo-5-n6:27017  not yet initialised",
        "doing  reconfigure from version 3 term 1: add mongo-5-n6:27017 as 256 (2 s)",
        "waiting  mongo-4-n5:27017 is STARTUP2",
        "Wait for the copy.",
    ] {
        assert!(out.contains(part), "no {part:?} in\n{out}");
    }
    served.publish(document(FAULTY));
    let (code, out, _) = run(&["status", "--url", &served.url()]);
    assert_eq!(code, 2, "{out}");
    assert!(out.starts_with("needs a person"), "{out}");
    assert!(
        out.contains("fault  app/other: service other: label swarmset.votes=\"2\""),
        "{out}"
    );
}

#[test]
fn status_as_json_is_the_agents_own_document() {
    let published = document(BUSY);
    let expected = serde_json::to_value(&published).expect("JSON");
    let served = Served::start(published);
    let (code, out, _) = run(&["status", "--json", "--url", &served.url()]);
    assert_eq!(code, 1);
    let found: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(found, expected);
}

#[test]
fn plan_says_what_is_next_and_why_not() {
    let served = Served::start(publish(
        BUSY,
        &mut Memory::default(),
        quiet(),
        Timestamp::now(),
    ));
    let (code, out, _) = run(&["plan", "--url", &served.url()]);
    assert_eq!(code, 1);
    assert!(
        out.contains("next     app/rs: reconfigure from version 3 term 1"),
        "{out}"
    );
    assert!(out.contains("waiting  app/rs: "), "{out}");
    let (_, out, _) = run(&["plan", "--json", "--url", &served.url()]);
    let json: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(json["plan"][0]["kind"], "reconfigure");
    served.publish(publish(
        SETTLED,
        &mut Memory::default(),
        quiet(),
        Timestamp::now(),
    ));
    assert_eq!(run(&["plan", "--url", &served.url()]).1, "nothing to do\n");
}

#[test]
fn doctor_prints_findings_and_their_weight() {
    let served = Served::start(document(SETTLED));
    let (code, out, _) = run(&["doctor", "--url", &served.url()]);
    assert_eq!(code, 2, "{out}");
    assert!(out.contains("danger  service mongo: members are held, and the command has no --keyFile  held-without-key\n  why  mongod takes"), "{out}");
    assert!(
        out.contains("\n  fix  command: mongod … --keyFile"),
        "{out}"
    );
    let mut healthy = document(SETTLED);
    healthy.findings.clear();
    served.publish(healthy);
    let (code, out, _) = run(&["doctor", "--url", &served.url()]);
    assert_eq!((code, out.as_str()), (0, "nothing found\n"));
    let (_, out, _) = run(&["doctor", "--json", "--url", &served.url()]);
    assert_eq!(out, "[]\n");
}

#[test]
fn events_tell_steps_and_faults_in_order() {
    let mut history = Memory::default();
    let began = Timestamp::now() - jiff::SignedDuration::from_secs(600);
    publish(FAULTY, &mut history, report(), began);
    let now = publish(BUSY, &mut history, report(), Timestamp::now());
    let served = Served::start(now);
    let (code, out, _) = run(&["events", "--url", &served.url()]);
    assert_eq!(code, 1);
    let kinds: Vec<_> = out
        .lines()
        .map(|l| l.split_whitespace().nth(1).expect("a kind"))
        .collect();
    assert_eq!(kinds, ["step", "fault", "step", "mended"], "{out}");
    let (_, out, _) = run(&["events", "--json", "--url", &served.url()]);
    let first: serde_json::Value =
        serde_json::from_str(out.lines().next().expect("a line")).expect("JSON");
    assert_eq!(first["outcome"], "done");
}

/// A program that goes on, and the lines that it prints.
struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    fn start(arguments: &[&str]) -> Self {
        let mut child = swarmset(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program");
        let (tell, lines) = channel();
        let out = BufReader::new(child.stdout.take().expect("its output"));
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                let _ = tell.send(line);
            }
        });
        Self { child, lines }
    }

    fn until(&self, part: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("no line with {part:?}"));
            if line.contains(part) {
                return line;
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn watch_shows_changes() {
    let served = Served::start(document(BUSY));
    let running = Running::start(&["status", "--watch", "--url", &served.url()]);
    running.until("not converged yet");
    served.publish(publish(
        SETTLED,
        &mut Memory::default(),
        quiet(),
        Timestamp::now(),
    ));
    running.until("app/rs  converged");
}

#[test]
fn follow_shows_each_event_once() {
    let mut later = report();
    let before = publish(
        BUSY,
        &mut Memory::default(),
        later.clone(),
        Timestamp::now(),
    );
    let served = Served::start(before);
    let running = Running::start(&["events", "--follow", "--url", &served.url()]);
    running.until("add mongo-4-n5:27017 as 192");
    later.events.push(Event {
        at: Timestamp::now(),
        what: "remove mongo-3-n3:27017 (2)".into(),
        ..later.events[0].clone()
    });
    served.publish(publish(
        BUSY,
        &mut Memory::default(),
        later,
        Timestamp::now(),
    ));
    let next = running.lines.recv_timeout(PATIENCE).expect("a line");
    assert!(next.contains("remove mongo-3-n3:27017 (2)"), "{next}");
}

#[test]
fn colours_only_on_a_terminal_and_never_with_no_color() {
    let served = settled();
    let program = format!(
        "{} status --url {}",
        env!("CARGO_BIN_EXE_swarmset"),
        served.url()
    );
    let on_terminal = |no_color: Option<&str>| {
        let mut command = Command::new("script");
        command
            .args(["-qec", &program, "/dev/null"])
            .env("TERM", "xterm-256color")
            .stdin(Stdio::null());
        command.env_remove("NO_COLOR").env_remove("CLICOLOR");
        if let Some(value) = no_color {
            command.env("NO_COLOR", value);
        }
        let output = command
            .output()
            .expect("script, of Debian's essential package bsdutils");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let coloured = on_terminal(None);
    assert!(coloured.contains("\x1b[32mconverged"), "{coloured:?}");
    let plain = on_terminal(Some("1"));
    assert!(
        plain.contains("converged") && !plain.contains('\x1b'),
        "{plain:?}"
    );
}

#[test]
fn a_token_is_brought_from_a_file() {
    let right = file("cli-token", "word-of-32-letters\n");
    let served = Served::with_token(document(SETTLED), Some(&right));
    let (code, _, err) = run(&["status", "--url", &served.url()]);
    assert_eq!(code, 3);
    let expected = format!(
        "swarmset: {} wants a token: give --token-file with the file that its agent was given\n",
        served.url()
    );
    assert_eq!(err, expected);
    let right = right.to_str().expect("UTF-8");
    assert_eq!(
        run(&["doctor", "--url", &served.url(), "--token-file", right]).0,
        2
    );
    let (code, _, err) = run(&["status", "--token-file", "/nowhere", "--url", &served.url()]);
    assert_eq!(code, 3);
    assert!(
        err.starts_with("swarmset: --token-file /nowhere: No such file"),
        "{err}"
    );
}

/// An engine that says where the managers are.
fn engine(name: &str, info: String) -> Socket {
    let path = std::env::temp_dir().join(format!("swarmset-{}-{name}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).expect("a socket");
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut reader = BufReader::new(stream.try_clone().expect("the stream"));
            let mut first = String::new();
            let _ = reader.read_line(&mut first);
            let mut rest = String::new();
            while reader.read_line(&mut rest).is_ok_and(|n| n > 2) {}
            let mut stream = stream;
            assert!(first.starts_with("GET /info "), "{first}");
            let length = info.len();
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{info}"
            );
        }
    });
    Socket(path)
}

/// It goes with the test.
struct Socket(std::path::PathBuf);

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn an_agent_is_found_by_the_engine_at_hand() {
    // 127.0.0.2 is a manager, of which only the engine knows.
    let port = TcpListener::bind("127.0.0.2:0")
        .expect("a port")
        .local_addr()
        .expect("it")
        .port();
    let served = Served::at(
        std::net::SocketAddr::from(([127, 0, 0, 2], port)),
        document(SETTLED),
    );
    let info =
        r#"{"Swarm": {"NodeAddr": "127.0.0.3", "RemoteManagers": [{"Addr": "127.0.0.2:2377"}]}}"#;
    let socket = engine("managers", info.to_owned());
    let docker_host = format!("unix://{}", socket.0.display());
    let port = port.to_string();
    let (code, out, err) = run(&["plan", "--docker-host", &docker_host, "--port", &port]);
    assert_eq!(code, 1, "{out}{err}");
    drop(served);
}

#[test]
fn who_was_tried_is_said_when_nobody_answers() {
    let free = TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("it")
        .port();
    let free = free.to_string();
    let (code, out, err) = run(&[
        "status",
        "--port",
        &free,
        "--docker-host",
        "unix:///nowhere",
    ]);
    assert_eq!((code, out.as_str()), (3, ""));
    let start = format!(
        "swarmset: no agent answers (http://127.0.0.1:{free}: Connection refused (os error 111); Docker engine unix:///nowhere: "
    );
    assert!(err.starts_with(&start), "{err}");
    assert!(
        err.ends_with("; give its address by --url or SWARMSET_URL\n"),
        "{err}"
    );
}

#[test]
fn somebody_else_at_that_address_is_told_from_an_agent() {
    for (body, why) in [
        ("hello", "expected value at line 1 column 1"),
        ("{}", "no document"),
        (
            r#"{"version": 2}"#,
            "its document has version 2, known is 1",
        ),
        (r#"{"version": 1}"#, "missing field `converged`"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("it"));
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(answer.as_bytes());
        });
        let (code, _, err) = run(&["status", "--url", &url]);
        assert_eq!(code, 3);
        assert_eq!(
            err,
            format!("swarmset: {url} answers, but not as an agent of this version: {why}\n")
        );
    }
    let (code, _, err) = run(&["status", "--url", "https://a"]);
    assert_eq!(code, 3);
    assert_eq!(
        err,
        "swarmset: --url \"https://a\": allowed http://<host>[:<port>], as in http://10.0.0.1:27080\n"
    );
}

#[test]
fn completions_and_help() {
    for (shell, part) in [
        ("bash", "complete -F _swarmset"),
        ("zsh", "#compdef swarmset"),
        ("fish", "complete -c swarmset"),
    ] {
        let (code, out, _) = run(&["completions", shell]);
        assert_eq!(code, 0);
        assert!(out.contains(part) && out.contains("doctor"), "{shell}");
    }
    for command in ["status", "plan", "events", "doctor", "completions"] {
        let (code, out, _) = run(&[command, "--help"]);
        assert_eq!(code, 0);
        assert!(
            out.contains("Example") && out.contains(&format!("swarmset {command}")),
            "{out}"
        );
    }
    let (code, _, err) = run(&["statsu"]);
    assert_eq!(code, 2);
    assert!(err.contains("status"), "{err}");
}
