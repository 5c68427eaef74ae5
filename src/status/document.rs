//! The answer of `GET /status`: one document a cycle, the same on every page and metric. Documented in the README.

mod clusters;
mod sets;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

pub use clusters::{BalancerEntry, ClusterEntry, DrainEntry, RouterEntry, ShardStatus};
pub use sets::{MemberEntry, SetEntry, TaskEntry};

use crate::agent::Report;
use crate::history::History;
use crate::intent::intents;
use crate::names::SetKey;
use crate::observation::{Observation, Reading};
use crate::step::{Fault, Plan, Subject};
use crate::swarm::client::Scope;
use crate::swarm::model::{Availability, Swarm};

/// The document's version: it rises when a field changes its meaning or goes.
pub const VERSION: u32 = 1;

/// The whole status.
#[derive(Clone, Debug, Serialize)]
pub struct Document {
    /// [`VERSION`].
    pub version: u32,
    /// Whether all is as the services ask for.
    pub converged: bool,
    /// Who answers.
    pub agent: Agent,
    /// The last cycle.
    pub cycle: Cycle,
    /// The Swarm.
    pub swarm: SwarmEntry,
    /// Each replica set.
    pub sets: Vec<SetEntry>,
    /// Each sharded cluster, as one thing.
    pub clusters: Vec<ClusterEntry>,
    /// What is waited for outside of any set.
    pub waiting: Vec<Reason>,
    /// What is wrong outside of any set.
    pub faults: Vec<Reason>,
    /// The last steps, newest last.
    pub events: Vec<Event>,
    /// How many steps of each kind had which outcome; for `/metrics`.
    #[serde(skip)]
    pub step_counts: BTreeMap<(&'static str, &'static str), u64>,
}

/// Who answers.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Agent {
    /// The program's version.
    pub version: &'static str,
    /// The node that it runs on.
    pub node: Option<String>,
    /// The stack that it looks after; all services that it sees, if there is none.
    pub stack: Option<String>,
    /// Whether it acts, or only watches.
    pub acts: bool,
}

/// One cycle.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Cycle {
    /// Counts from 1 since the agent started.
    pub number: u64,
    /// When it ended.
    pub at: Timestamp,
    /// How long it took.
    pub milliseconds: u64,
    /// Whether this agent acted.
    #[serde(skip)]
    pub acts: bool,
    /// Calls to the Docker engine since the agent started.
    pub docker_calls: u64,
}

/// The Swarm as a whole.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SwarmEntry {
    /// Whether it could be read.
    pub readable: bool,
    /// The node that is the Raft leader, whose agent acts.
    pub leader: Option<String>,
    /// All nodes.
    pub nodes: Vec<NodeEntry>,
}

/// One node.
#[derive(Clone, Debug, Serialize)]
pub struct NodeEntry {
    /// Its id.
    pub id: String,
    /// Its host name.
    pub hostname: String,
    /// Whether it is up, as Swarm says.
    pub ready: bool,
    /// Whether it takes tasks.
    pub availability: Availability,
    /// Whether it is a manager.
    pub manager: bool,
}

/// A reason, with its age.
#[derive(Clone, Debug, Serialize)]
pub struct Reason {
    /// The set or service concerned.
    pub about: String,
    /// The reason, as advice.
    pub what: String,
    /// Since when this agent has seen it so.
    pub since: Timestamp,
}

/// A step under way.
#[derive(Clone, Debug, Serialize)]
pub struct UnderWay {
    /// Its set.
    #[serde(serialize_with = "as_text")]
    pub set: SetKey,
    /// What is done.
    pub what: String,
    /// When it began.
    pub since: Timestamp,
}

/// A step that ended.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// Its set.
    #[serde(serialize_with = "as_text")]
    pub set: SetKey,
    /// What was done.
    pub what: String,
    /// What became of it.
    pub outcome: String,
    /// How long it took.
    pub milliseconds: u64,
}

fn as_text<S: serde::Serializer>(key: &SetKey, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(key)
}

impl Default for Document {
    fn default() -> Self {
        Self {
            version: VERSION,
            converged: false,
            agent: Agent {
                version: env!("CARGO_PKG_VERSION"),
                ..Agent::default()
            },
            cycle: Cycle::default(),
            swarm: SwarmEntry::default(),
            sets: Vec::new(),
            clusters: Vec::new(),
            waiting: vec![Reason {
                about: Subject::Swarm.to_string(),
                what: "the Docker engine has not answered yet; check DOCKER_HOST and the socket's mount".into(),
                since: Timestamp::now(),
            }],
            faults: Vec::new(),
            events: Vec::new(),
            step_counts: BTreeMap::new(),
        }
    }
}

impl Document {
    /// Puts together what one cycle saw, decided and did.
    pub fn new(
        observation: &Observation,
        plan: &Plan,
        lanes: &Report,
        cycle: Cycle,
        scope: &Scope,
        history: &mut History,
    ) -> Self {
        let reasons = Reasons::of(plan, lanes, observation.now, history);
        let swarm = observation.swarm.seen();
        let sets = swarm.map(|swarm| sets::sets(observation, swarm, plan, lanes, &reasons));
        let sets = sets.unwrap_or_default();
        let clusters = swarm.map(|swarm| {
            clusters::clusters(observation, swarm, &intents(swarm), plan, &sets, &reasons)
        });
        let in_a_set = |r: &Reason| sets.iter().any(|s| s.key() == r.about);
        let outside = |rs: &[Reason]| rs.iter().filter(|r| !in_a_set(r)).cloned().collect();
        let (waiting, faults): (Vec<_>, Vec<_>) =
            (outside(&reasons.waiting), outside(&reasons.faults));
        let all_well = waiting.is_empty() && faults.is_empty() && plan.steps.is_empty();
        Self {
            version: VERSION,
            converged: swarm.is_some() && all_well && sets.iter().all(|s| s.converged),
            agent: Agent {
                version: env!("CARGO_PKG_VERSION"),
                node: scope.node.as_ref().map(ToString::to_string),
                stack: scope.stack.clone(),
                acts: cycle.acts,
            },
            cycle,
            swarm: swarm_entry(&observation.swarm),
            sets,
            clusters: clusters.unwrap_or_default(),
            waiting,
            faults,
            events: lanes.events.clone(),
            step_counts: lanes.counts.clone(),
        }
    }
}

fn swarm_entry(swarm: &Reading<Swarm>) -> SwarmEntry {
    let Some(swarm) = swarm.seen() else {
        return SwarmEntry::default();
    };
    let node = |node: &crate::swarm::model::Node| NodeEntry {
        id: node.id.to_string(),
        hostname: node.hostname.clone(),
        ready: node.ready,
        availability: node.availability,
        manager: node.manager,
    };
    let leader = swarm.nodes.values().find(|n| n.leader);
    SwarmEntry {
        readable: true,
        leader: leader.map(|n| n.hostname.clone()),
        nodes: swarm.nodes.values().map(node).collect(),
    }
}

/// All reasons of a plan, with their ages.
struct Reasons {
    waiting: Vec<Reason>,
    faults: Vec<Reason>,
}

impl Reasons {
    fn of(plan: &Plan, lanes: &Report, now: Timestamp, history: &mut History) -> Self {
        let waiting = plan
            .waiting
            .iter()
            .map(|(about, w)| (about.to_string(), w.to_string()));
        let waiting: Vec<_> = waiting.collect();
        let faults = plan
            .faults
            .iter()
            .map(|(about, f)| (about.to_string(), f.to_string()));
        let refused = lanes.refused.iter().map(|(set, step, why)| {
            let (step, why) = (step.clone(), why.clone());
            let fault = Fault::StepRefused { step, why };
            (Subject::Set(set.clone()).to_string(), fault.to_string())
        });
        let faults: Vec<_> = faults.chain(refused).collect();
        let all = waiting
            .iter()
            .chain(&faults)
            .map(|(about, what)| format!("{about}: {what}"));
        let since = history.since(now, all);
        let reason = |(about, what): (String, String)| Reason {
            since: since
                .get(&format!("{about}: {what}"))
                .copied()
                .unwrap_or(now),
            about,
            what,
        };
        Self {
            waiting: waiting.into_iter().map(reason).collect(),
            faults: faults.into_iter().map(reason).collect(),
        }
    }
}
