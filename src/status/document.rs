//! The answer of `GET /status`: one document a cycle, the same on every page and metric. Documented in the README.

mod clusters;
mod reasons;
mod sets;

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};

pub use clusters::{BalancerEntry, ClusterEntry, DrainEntry, RouterEntry, ShardStatus};
use reasons::Reasons;
pub use reasons::{FaultLog, PastFault, Reason};
pub use sets::{MemberEntry, SetEntry, TaskEntry};

use crate::agent::Report;
use crate::doctor::{Finding, examine};
use crate::history::History;
use crate::intent::intents;
use crate::names::{ClusterName, SetKey, SetName};
use crate::observation::{Observation, Reading};
use crate::step::{Plan, Step, Subject};
use crate::swarm::client::Scope;
use crate::swarm::model::{Availability, Node, Swarm};

/// The document's version: it rises when a field changes its meaning or goes.
pub const VERSION: u32 = 1;

/// The whole status.
#[derive(Clone, Debug, Serialize, Deserialize)]
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
    /// The steps that the last cycle planned, in order.
    pub plan: Vec<PlannedStep>,
    /// What the doctor found.
    pub findings: Vec<Finding>,
    /// The last steps, newest last.
    pub events: Vec<Event>,
    /// The last faults that are gone, newest last.
    pub past_faults: Vec<PastFault>,
    /// What only `/metrics` tells.
    #[serde(skip)]
    pub counts: Counts,
}

/// Counts since the agent started.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Steps by kind and outcome.
    pub steps: BTreeMap<(&'static str, &'static str), u64>,
    /// Calls to mongods that failed, by the kind of failure.
    pub mongo_errors: BTreeMap<&'static str, u64>,
    /// How long cycles took.
    pub cycles: CycleTimes,
}

/// A histogram of the cycles' lengths.
#[derive(Clone, Debug, Default)]
pub struct CycleTimes {
    /// How many fell under each of [`CycleTimes::BOUNDS`] and over the one before; the last, over all of them.
    pub buckets: [u64; Self::BOUNDS.len() + 1],
    /// Their seconds in all.
    pub seconds: f64,
}

impl CycleTimes {
    /// In seconds. A settled cycle takes some 10 ms; an answer is waited for 1.5 s, a manager for 12 s.
    pub const BOUNDS: [f64; 8] = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0];

    /// One more.
    pub fn note(&mut self, seconds: f64) {
        self.seconds += seconds;
        let over = Self::BOUNDS.iter().take_while(|bound| seconds > **bound);
        if let Some(bucket) = self.buckets.get_mut(over.count()) {
            *bucket += 1;
        }
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// Who answers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Agent {
    /// The program's version.
    pub version: Cow<'static, str>,
    /// The node that it runs on.
    pub node: Option<String>,
    /// The stack that it looks after; all services that it sees, if there is none.
    pub stack: Option<String>,
    /// Whether it acts, or only watches.
    pub acts: bool,
}

/// One cycle.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
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
    /// Those that failed.
    pub docker_errors: u64,
    /// Questions and commands to mongods that failed since the agent started.
    pub mongo_errors: u64,
}

/// The Swarm as a whole.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SwarmEntry {
    /// Whether it could be read.
    pub readable: bool,
    /// The node that is the Raft leader, whose agent acts.
    pub leader: Option<String>,
    /// All nodes.
    pub nodes: Vec<NodeEntry>,
}

/// One node.
#[derive(Clone, Debug, Serialize, Deserialize)]
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
    /// Its address, as Swarm knows it.
    pub address: Option<String>,
}

/// A step that is to be done next.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlannedStep {
    /// Its set.
    #[serde(serialize_with = "as_text", deserialize_with = "from_text")]
    pub set: SetKey,
    /// Its kind.
    pub kind: Cow<'static, str>,
    /// What is to be done.
    pub what: String,
}

/// A step under way.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UnderWay {
    /// Its set.
    #[serde(serialize_with = "as_text", deserialize_with = "from_text")]
    pub set: SetKey,
    /// What is done.
    pub what: String,
    /// When it began.
    pub since: Timestamp,
}

/// A step that ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// Its set.
    #[serde(serialize_with = "as_text", deserialize_with = "from_text")]
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

fn from_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SetKey, D::Error> {
    let text = String::deserialize(deserializer)?;
    let Some((cluster, set)) = text.split_once('/') else {
        return Err(serde::de::Error::custom(format!(
            "{text:?}: allowed <cluster>/<set>"
        )));
    };
    Ok(SetKey {
        cluster: ClusterName::new(cluster),
        set: SetName::new(set),
    })
}

impl Default for Document {
    fn default() -> Self {
        Self {
            version: VERSION,
            converged: false,
            agent: Agent {
                version: env!("CARGO_PKG_VERSION").into(),
                ..Agent::default()
            },
            cycle: Cycle::default(),
            swarm: SwarmEntry::default(),
            sets: Vec::new(),
            clusters: Vec::new(),
            waiting: vec![Reason {
                about: Subject::Swarm.to_string(),
                kind: "engine-not-reached".into(),
                what: "the Docker engine has not answered yet; check DOCKER_HOST and the socket's mount".into(),
                advice: "Look at the engine's log, and at the agent's.".into(),
                since: Timestamp::now(),
            }],
            faults: Vec::new(),
            plan: Vec::new(),
            findings: Vec::new(),
            events: Vec::new(),
            past_faults: Vec::new(),
            counts: Counts::default(),
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
        counts: Counts,
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
                version: env!("CARGO_PKG_VERSION").into(),
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
            plan: plan.steps.iter().map(planned).collect(),
            findings: examine(observation, scope.agent_service.as_ref()),
            events: lanes.events.clone(),
            past_faults: Vec::new(),
            counts: Counts {
                steps: lanes.counts.clone(),
                ..counts
            },
        }
    }

    /// Adds which faults came and went; they all stand in this document by now.
    pub fn remember(&mut self, log: &mut FaultLog) {
        let of_sets = self.sets.iter().flat_map(|s| &s.faults);
        self.past_faults = log.note(self.cycle.at, self.faults.iter().chain(of_sets));
    }
}

fn planned(step: &Step) -> PlannedStep {
    PlannedStep {
        set: step.key().clone(),
        kind: step.kind().into(),
        what: step.to_string(),
    }
}

fn swarm_entry(swarm: &Reading<Swarm>) -> SwarmEntry {
    let Some(swarm) = swarm.seen() else {
        return SwarmEntry::default();
    };
    let node = |node: &Node| NodeEntry {
        id: node.id.to_string(),
        hostname: node.hostname.clone(),
        ready: node.ready,
        availability: node.availability,
        manager: node.manager,
        address: node.details.address.clone(),
    };
    let leader = swarm.nodes.values().find(|n| n.leader);
    SwarmEntry {
        readable: true,
        leader: leader.map(|n| n.hostname.clone()),
        nodes: swarm.nodes.values().map(node).collect(),
    }
}
