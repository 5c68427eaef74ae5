//! Documents as an agent would publish them, told in the language of the planner's stories (`tests/scenarios/text.rs`).

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use swarmset::agent::Report;
use swarmset::history::History;
use swarmset::names::{NodeId, SetKey};
use swarmset::plan::plan;
use swarmset::status::document::{Counts, Cycle, CycleTimes, Document, Event, FaultLog, UnderWay};
use swarmset::swarm::client::Scope;

use crate::world::World;

/// A set as it should be.
pub const SETTLED: &str = "
    service mongo replicas=3
    task 1 n1 running primary
    task 2..3 n* running secondary
";

/// A set that grows from three to five and has lost a node: a lot to look at.
pub const BUSY: &str = "
    service mongo replicas=5
    node n3 down
    task 1 n1 running primary
    task 2 n2 running secondary
    task 3a n3 stopping silent
    task 3 n4 running secondary
    task 4 n5 running startup2 copied=360/900
    task 5 n6 running empty
    config version=3 term=1: 0=mongo-1-n1 1=mongo-2-n2 2=mongo-3-n3 128=mongo-3-n4 192=mongo-4-n5(newly-added)
";

/// A service that nobody can follow, beside a set that waits.
pub const FAULTY: &str = "
    service mongo replicas=3
    task 1 n1 running primary
    task 2 n2 running secondary
    service other replicas=3 set=other swarmset.votes=2
";

/// What an agent keeps in mind.
#[derive(Default)]
pub struct Memory {
    history: History,
    faults: FaultLog,
}

/// What an agent publishes that sees this now.
pub fn document(story: &str) -> Document {
    publish(story, &mut Memory::default(), report(), Timestamp::now())
}

/// The same, by an agent with a memory.
pub fn publish(story: &str, memory: &mut Memory, report: Report, at: Timestamp) -> Document {
    let mut world = World::default();
    for line in story.lines() {
        if let Err(why) = world.say(line) {
            panic!("{line}: {why}");
        }
    }
    let mut observation = world.observe();
    observation.now = at;
    let mut times = CycleTimes::default();
    times.note(0.0234375);
    times.note(0.5);
    let counts = Counts {
        mongo_errors: BTreeMap::from([("no-connection", 2)]),
        cycles: times,
        ..Counts::default()
    };
    let cycle = Cycle {
        number: 2,
        at,
        milliseconds: 21,
        acts: true,
        docker_calls: 8,
        docker_errors: 1,
        mongo_errors: 2,
    };
    let scope = Scope {
        stack: Some("app".into()),
        agent_service: None,
        node: Some(NodeId::new("n1")),
    };
    let plan = plan(&observation);
    let history = &mut memory.history;
    let mut document = Document::new(&observation, &plan, &report, cycle, &scope, counts, history);
    document.remember(&mut memory.faults);
    document
}

/// One step under way, two that have ended.
pub fn report() -> Report {
    let set = SetKey {
        cluster: "app".into(),
        set: "rs".into(),
    };
    let ago = |seconds| Timestamp::now() - SignedDuration::from_secs(seconds);
    let event = |seconds, what: &str, outcome: &str| Event {
        at: ago(seconds),
        set: set.clone(),
        what: what.into(),
        outcome: outcome.into(),
        milliseconds: 1_950,
    };
    Report {
        under_way: vec![UnderWay {
            set: set.clone(),
            what: "reconfigure from version 3 term 1: add mongo-5-n6:27017 as 256".into(),
            since: ago(2),
        }],
        refused: Vec::new(),
        events: vec![
            event(4_000, "initiate on mongo-1-n1:27017 with 3 members", "done"),
            event(
                60,
                "reconfigure from version 2 term 1: add mongo-4-n5:27017 as 192",
                "done",
            ),
        ],
        counts: BTreeMap::from([(("reconfigure", "done"), 1), (("initiate", "done"), 1)]),
    }
}

/// Nothing under way, nothing done.
pub fn quiet() -> Report {
    Report::default()
}
