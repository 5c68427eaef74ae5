//! Who gets what from the server, and who does not.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use base64::Engine as _;

use crate::server::{Served, file};
use crate::story::{BUSY, FAULTY, SETTLED, document};

const PATHS: [&str; 4] = ["/status", "/healthz", "/readyz", "/metrics"];

#[test]
fn every_answer_has_headers_that_keep_browsers_careful() {
    let served = Served::start(document(SETTLED));
    let token = file("headers-token", "secret");
    let locked = Served::with_token(document(SETTLED), Some(&token));
    let answers = PATHS
        .iter()
        .chain(&["/nowhere"])
        .map(|path| served.get(path));
    for answer in answers.chain([
        served.ask("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
        locked.get("/status"),
    ]) {
        for header in [
            "content-security-policy: default-src 'none'; ",
            "frame-ancestors 'none'",
            "x-content-type-options: nosniff",
            "x-frame-options: deny",
            "referrer-policy: no-referrer",
            "cache-control: no-store",
            "cross-origin-resource-policy: same-origin",
        ] {
            assert!(
                answer.head.contains(header),
                "no {header} in\n{}",
                answer.head
            );
        }
    }
}

#[test]
fn codes_say_how_it_is() {
    let served = Served::start(document(SETTLED));
    let code = |path| served.get(path).code;
    assert_eq!(PATHS.map(code), [200, 200, 503, 200]);
    assert_eq!(code("/nowhere"), 404);
    served.publish(document(FAULTY));
    let ready = served.get("/readyz");
    assert_eq!(ready.code, 503);
    assert!(ready.body.starts_with("not converged\n"), "{}", ready.body);
    assert!(ready.body.contains("allowed 0, 1\n"), "{}", ready.body);
    let mut old = document(BUSY);
    old.cycle.at -= jiff::SignedDuration::from_secs(90);
    served.publish(old);
    let health = served.get("/healthz");
    assert_eq!(
        (health.code, health.body.as_str()),
        (503, "the last cycle was 90 s ago\n")
    );
}

#[test]
fn only_reading_is_allowed() {
    let served = Served::start(document(SETTLED));
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"] {
        let answer = served.ask(&format!(
            "{method} /status HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        ));
        assert_eq!(answer.code, 405, "{method}");
        assert!(answer.head.contains("allow: get, head"), "{}", answer.head);
    }
    let head = served.ask("HEAD /status HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!((head.code, head.body.as_str()), (200, ""));
}

#[test]
fn bodies_long_heads_and_nonsense_are_refused() {
    let served = Served::start(document(SETTLED));
    let get = |rest: &str| {
        served
            .ask(&format!("GET /status HTTP/1.1\r\nHost: a\r\n{rest}"))
            .code
    };
    assert_eq!(get("Content-Length: 5\r\n\r\nhello"), 413);
    assert_eq!(
        get("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
        413
    );
    assert_eq!(get("Content-Length: 0\r\nConnection: close\r\n\r\n"), 200);
    let long = "x".repeat(40_000);
    assert_eq!(get(&format!("X: {long}\r\n\r\n")), 431);
    let many = "X: y\r\n".repeat(100);
    assert_eq!(get(&format!("{many}\r\n")), 431);
    assert_eq!(
        served
            .ask(&format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"))
            .code,
        431
    );
    assert_eq!(served.ask("\u{1}\u{2}\r\n\r\n").code, 400);
    assert_eq!(served.get("/status").code, 200);
}

#[test]
fn a_head_that_does_not_come_to_an_end_is_not_waited_for() {
    let served = Served::start(document(SETTLED));
    let began = Instant::now();
    let mut slow = TcpStream::connect(served.address).expect("a connection");
    slow.write_all(b"GET /status HTTP/1.1\r\n")
        .expect("it takes it");
    let mut idle = TcpStream::connect(served.address).expect("a connection");
    for stream in [&mut slow, &mut idle] {
        stream
            .set_read_timeout(Some(Duration::from_secs(25)))
            .expect("a time-out");
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).expect("the server closes");
    }
    let took = began.elapsed();
    assert!(
        took > Duration::from_secs(8) && took < Duration::from_secs(20),
        "{took:?}"
    );
}

#[test]
fn more_connections_than_there_is_room_for_are_closed_at_once() {
    let served = Served::start(document(SETTLED));
    let open: Vec<_> = (0..128)
        .map(|_| TcpStream::connect(served.address).expect("a connection"))
        .collect();
    let began = Instant::now();
    // The server takes them in the order in which they came.
    let answer = served.get("/healthz");
    assert_eq!(answer.code, 0, "{}", answer.head);
    assert!(began.elapsed() < Duration::from_secs(5));
    drop(open);
    let until = Instant::now() + Duration::from_secs(5);
    while served.get("/healthz").code != 200 {
        assert!(Instant::now() < until, "there is no room again");
    }
}

#[test]
fn a_token_opens_everything_and_health_needs_none() {
    let token = file("http-token", "  a-long-token_0123456789\n");
    let served = Served::with_token(document(SETTLED), Some(&token));
    assert_eq!(served.get("/healthz").code, 200);
    for path in [
        "/status",
        "/readyz",
        "/metrics",
        "/nowhere",
        "/healthz/",
        "//healthz",
    ] {
        let answer = served.get(path);
        assert_eq!(answer.code, 401, "{path}");
        assert!(
            answer
                .head
                .contains("www-authenticate: bearer realm=\"swarmset\""),
            "{}",
            answer.head
        );
        assert!(
            answer
                .head
                .contains("www-authenticate: basic realm=\"swarmset\""),
            "{}",
            answer.head
        );
        assert!(!answer.body.contains("mongo-1"), "{}", answer.body);
    }
    let basic = |pair: &str| {
        let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
        format!("Authorization: Basic {encoded}\r\n")
    };
    for (header, code) in [
        (
            "Authorization: Bearer a-long-token_0123456789\r\n".to_owned(),
            200,
        ),
        (
            "authorization: bearer  a-long-token_0123456789 \r\n".to_owned(),
            200,
        ),
        (basic("anybody:a-long-token_0123456789"), 200),
        (basic("a-long-token_0123456789"), 401),
        (basic(":a-long-token_012345678"), 401),
        ("Authorization: Basic !!!\r\n".to_owned(), 401),
        (
            "Authorization: Bearer a-long-token_0123456780\r\n".to_owned(),
            401,
        ),
        (
            "Authorization: Bearer a-long-token_01234567890\r\n".to_owned(),
            401,
        ),
        ("Authorization: Bearer\r\n".to_owned(), 401),
        ("Authorization: Bearer \r\n".to_owned(), 401),
        ("Authorization: a-long-token_0123456789\r\n".to_owned(), 401),
        (
            "Authorization: Digest a-long-token_0123456789\r\n".to_owned(),
            401,
        ),
    ] {
        assert_eq!(served.get_with("/status", &header).code, code, "{header}");
    }
}

#[test]
fn a_file_that_holds_no_token_is_refused_by_name() {
    for (name, content, why) in [
        ("empty-token", " \n", "it is empty; write one word into it"),
        (
            "two-words-token",
            "two words",
            "it is no token: allowed is one word of up to 4096 letters, digits and signs, without spaces",
        ),
    ] {
        let path = file(name, content);
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_swarmset"))
            .args(["agent", "--listen", "127.0.0.1:0", "--token-file"])
            .arg(&path)
            .output()
            .expect("the program");
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{err}");
        let expected = format!(
            "Error: --token-file {}\n\nCaused by:\n    {why}\n",
            path.display()
        );
        assert!(err.starts_with(&expected), "{err}");
    }
}
