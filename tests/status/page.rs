//! The page as it comes from the server, without a browser.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use jiff::Timestamp;
use swarmset::status::document::Document;

use crate::server::Served;
use crate::story::{BUSY, FAULTY, Memory, SETTLED, document, publish, quiet};

#[test]
fn it_says_all_in_plain_html() {
    let served = Served::start(document(BUSY));
    let answer = served.get("/");
    assert_eq!(answer.code, 200);
    assert!(
        answer
            .head
            .contains("content-type: text/html; charset=utf-8"),
        "{}",
        answer.head
    );
    for part in [
        "<title>app: not converged yet – swarmset</title>",
        "On its way",
        "stack <strong>app</strong> · this agent acts",
        "3 of 4 votes answer, 3 decide<strong> – none may be lost</strong>",
        "<span class=\"name\">n3.example</span> <span class=\"tag alarm\">down</span>",
        "<strong>DOWN</strong> <span class=\"mark\">leaving</span>",
        "<strong>STARTUP2</strong> <span class=\"mark\">joining</span>",
        "<progress max=\"100\" value=\"40\" aria-label=\"initial sync\">40 %</progress>",
        "360 MB of 900 MB, 40 %",
        "<strong>no member yet</strong>",
        "<span class=\"word\">now</span><div><p>reconfigure from version 3 term 1",
        "it votes once it has caught up",
        "<p class=\"advice\">Wait for the copy.",
        "initiate on mongo-1-n1:27017 with 3 members",
        "<noscript><meta http-equiv=\"refresh\" content=\"5\"></noscript>",
    ] {
        assert!(
            answer.body.contains(part),
            "no {part:?} in\n{}",
            answer.body
        );
    }
    served.publish(document(FAULTY));
    let body = served.get("/").body;
    assert!(body.contains("One fault needs you"), "{body}");
    assert!(
        body.contains("label swarmset.votes=&quot;2&quot;: allowed 0, 1"),
        "{body}"
    );
    served.publish(publish(
        SETTLED,
        &mut Memory::default(),
        quiet(),
        Timestamp::now(),
    ));
    let body = served.get("/").body;
    assert!(
        body.contains("All is well") && body.contains("Nothing since this agent started."),
        "{body}"
    );
    served.publish(Document::default());
    let body = served.get("/").body;
    assert!(
        body.contains("The Swarm cannot be read") && body.contains("check DOCKER_HOST"),
        "{body}"
    );
}

#[test]
fn nothing_from_outside_and_nothing_inline() {
    let served = Served::start(document(BUSY));
    let html = served.get("/").body;
    for word in ["//", "style=", "<style", "onclick", "javascript:"] {
        assert!(!html.contains(word), "{word} in\n{html}");
    }
    for path in [
        "/page.css",
        "/page.js",
        "/icon-good.svg",
        "/icon-pending.svg",
        "/icon-bad.svg",
    ] {
        let answer = served.get(path);
        assert_eq!(answer.code, 200, "{path}");
        let without_namespace = answer.body.replace("http://www.w3.org/2000/svg", "");
        assert!(!without_namespace.contains("http"), "{path}");
    }
    assert_eq!(served.get("/icon-blue.svg").code, 404);
    assert!(
        served
            .get("/page.js")
            .head
            .contains("content-type: text/javascript")
    );
}

#[test]
fn what_mongods_and_people_say_is_shown_and_not_obeyed() {
    let mut document = document(BUSY);
    let nasty = "</p><script>alert(1)</script>\"'&";
    document.sets[0].waiting[0].what = nasty.into();
    document.sets[0].members[0].host = nasty.into();
    document.sets[0].tasks[5].error = Some(nasty.into());
    document.swarm.nodes[0].hostname = nasty.into();
    document.agent.stack = Some(nasty.into());
    document.agent.acts = false;
    document.swarm.leader = Some(nasty.into());
    document.swarm.nodes[0].address = Some("10.0.0.1/\"><script>".into());
    let served = Served::start(document);
    let html = served.get("/").body;
    assert!(!html.contains("<script>"), "{html}");
    assert_eq!(html.matches("<script ").count(), 1, "{html}");
}

#[test]
fn an_agent_that_watches_leads_to_the_one_that_acts() {
    let mut document = document(BUSY);
    document.agent.acts = false;
    document.swarm.nodes[0].address = Some("10.0.0.1".into());
    let served = Served::start(document);
    let html = served.get("/").body;
    assert!(
        html.contains(
            "only watches, <a href=\"http://10.0.0.1:27080/\">the one on the leader</a> acts"
        ),
        "{html}"
    );
}

#[test]
fn with_many_sets_those_that_are_well_are_folded_and_come_last() {
    let set = |name: &str, third: &str| {
        format!(
            "service {name} replicas=3 set={name}\ntask 1..2 n* running secondary\n{third}\ntask 1 n1 running primary\n"
        )
    };
    let well = "task 3 n3 running secondary";
    let story: String =
        ["a", "b", "c", "d"].map(|n| set(n, well)).concat() + &set("z", "task 3 n3 running down");
    let served = Served::start(publish(
        &story,
        &mut Memory::default(),
        quiet(),
        Timestamp::now(),
    ));
    let html = served.get("/").body;
    assert!(html.contains("1 of 5 sets is on its way"), "{html}");
    let sets: Vec<_> = html.split("<details class=\"card set ").skip(1).collect();
    let heads: Vec<_> = sets
        .iter()
        .map(|s| s.split('>').next().unwrap_or_default())
        .collect();
    assert_eq!(heads[0], "pending\" id=\"app/z\" open");
    assert_eq!(heads[1], "good\" id=\"app/a\"");
    assert_eq!(heads.len(), 5);
}

/// Lines of `/live`, until the connection ends.
fn listen(served: &Served) -> impl Iterator<Item = String> + use<> {
    let mut stream = TcpStream::connect(served.address).expect("a connection");
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a time-out");
    stream
        .write_all(b"GET /live HTTP/1.1\r\nHost: a\r\n\r\n")
        .expect("it takes it");
    BufReader::new(stream).lines().map_while(Result::ok)
}

#[test]
fn live_sends_the_body_now_and_when_it_changes() {
    let served = Served::start(document(BUSY));
    let mut lines = listen(&served);
    let mut until = |part: &str| {
        lines
            .find(|l| l.contains(part))
            .unwrap_or_else(|| panic!("no {part}"))
    };
    assert_eq!(until("HTTP/1.1"), "HTTP/1.1 200 OK");
    until("content-type: text/event-stream");
    until("event: now");
    until("event: page");
    until("data: <header class=\"top pending\"");
    served.publish(document(FAULTY));
    assert!(until("data: <header").contains("One fault needs you"));
}

#[test]
fn live_has_room_for_so_many() {
    let served = Served::start(document(SETTLED));
    let mut open: Vec<_> = (0..32).map(|_| listen(&served)).collect();
    for lines in &mut open {
        assert_eq!(lines.next().as_deref(), Some("HTTP/1.1 200 OK"));
    }
    assert_eq!(served.get("/live").code, 503);
    assert_eq!(served.get("/").code, 200);
    drop(open);
    // A stream's place is free when the server writes next, and finds nobody.
    served.publish(document(BUSY));
    let mut tries = 0;
    while listen(&served).next().as_deref() != Some("HTTP/1.1 200 OK") {
        tries += 1;
        assert!(tries < 100, "there is no room again");
        std::thread::sleep(Duration::from_millis(50));
        served.publish(document(BUSY));
    }
}
