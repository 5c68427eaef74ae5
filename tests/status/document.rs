//! `/status` itself.

use jiff::{SignedDuration, Timestamp};
use swarmset::doctor::Check;
use swarmset::status::document::Document;

use crate::story::{BUSY, FAULTY, Memory, SETTLED, document, publish, quiet};

fn settled(story: &str) -> Document {
    publish(story, &mut Memory::default(), quiet(), Timestamp::now())
}

#[test]
fn what_the_doctor_finds_does_not_count_for_converged() {
    let document = settled(SETTLED);
    let found: Vec<_> = document.findings.iter().map(|f| f.check).collect();
    assert!(found.contains(&Check::DefaultCache), "{found:?}");
    assert!(document.converged);
    assert!(!settled(BUSY).converged);
}

#[test]
fn it_reads_back_as_it_was_written() {
    for story in [SETTLED, BUSY, FAULTY] {
        let written = serde_json::to_value(document(story)).expect("JSON");
        let read: Document = serde_json::from_value(written.clone()).expect("a document");
        assert_eq!(serde_json::to_value(read).expect("JSON"), written);
    }
}

#[test]
fn reasons_have_a_kind_and_say_what_to_do() {
    let document = document(BUSY);
    let set = &document.sets[0];
    assert!(
        set.waiting.iter().any(|w| w.kind == "catching-up"),
        "{:?}",
        set.waiting
    );
    for reason in &set.waiting {
        assert!(!reason.advice.is_empty(), "{reason:?}");
    }
    assert!(
        document.plan.iter().any(|p| p.kind == "reconfigure"),
        "{:?}",
        document.plan
    );
}

#[test]
fn faults_that_are_gone_are_remembered() {
    let mut history = Memory::default();
    let began = Timestamp::now();
    let first = publish(FAULTY, &mut history, quiet(), began);
    assert_eq!(first.past_faults, []);
    let kinds: Vec<_> = first.faults.iter().map(|f| f.kind.as_ref()).collect();
    assert_eq!(kinds, ["bad-service"]);
    let later = began + SignedDuration::from_secs(60);
    let second = publish(SETTLED, &mut history, quiet(), later);
    let [gone] = second.past_faults.as_slice() else {
        panic!("{:?}", second.past_faults);
    };
    assert_eq!((gone.since, gone.until), (began, later));
    assert_eq!(gone.what, first.faults[0].what);
}
