//! How often each kind of thing has happened. A kind that never happens is a gap in the proof.

use std::collections::BTreeMap;

use swarmset::step::{Fault, Plan, Waiting};

use crate::faults::Kind;

#[derive(Clone, Debug, Default)]
pub struct Coverage(BTreeMap<(&'static str, &'static str), u64>);

/// Kinds that cannot occur here, and why.
pub const OUT_OF_REACH: &[(&str, &str, &str)] = &[
    (
        "waiting",
        "beyond fifty",
        "no world has so many tasks: golden stories have",
    ),
    (
        "waiting",
        "held back",
        "it would be the planner's own fault; the mutants do not go through its last check",
    ),
];

const STEPS: &[&str] = &[
    "claim",
    "record-identity",
    "initiate",
    "stand-for-election",
    "hand-over",
    "reconfigure",
    "extend-quiesce",
    "shut-down",
];

const WAITING: &[&str] = &[
    "swarm unreadable",
    "tasks missing",
    "tasks surplus",
    "not answering",
    "loading config",
    "no primary",
    "primary elsewhere",
    "not committed",
    "catching up",
    "unhealthy",
    "successor not ready",
    "no word from swarm",
    "majority at risk",
    "no candidate",
    "successor behind",
    "restart in turn",
    "restarting",
    "two tasks",
    "old task unheard",
    "dissolving",
    "held back",
    "beyond fifty",
    "stranger",
];

impl Coverage {
    pub fn count(&mut self, class: &'static str, kind: &'static str) {
        *self.0.entry((class, kind)).or_default() += 1;
    }

    pub fn add(&mut self, other: &Self) {
        for (key, count) in &other.0 {
            *self.0.entry(*key).or_default() += count;
        }
    }

    pub fn note_plan(&mut self, plan: &Plan) {
        for (_, waiting) in &plan.waiting {
            self.count("waiting", waiting_kind(waiting));
        }
        for (_, fault) in &plan.faults {
            self.count("told", fault_kind(fault));
        }
    }

    /// Kinds that should occur and did not.
    pub fn missing(&self) -> Vec<String> {
        let faults = Kind::ALL.iter().map(|k| ("fault", k.name()));
        let steps = STEPS.iter().map(|k| ("step", *k));
        let waiting = WAITING.iter().map(|k| ("waiting", *k));
        let excused = |class: &str, kind: &str| {
            OUT_OF_REACH
                .iter()
                .any(|(c, k, _)| *c == class && *k == kind)
        };
        let all = faults.chain(steps).chain(waiting);
        all.filter(|(class, kind)| !self.0.contains_key(&(*class, *kind)) && !excused(class, kind))
            .map(|(class, kind)| format!("{class} {kind}"))
            .collect()
    }

    /// One line a class.
    pub fn lines(&self) -> Vec<String> {
        let mut lines: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for ((class, kind), count) in &self.0 {
            lines
                .entry(class)
                .or_default()
                .push(format!("{kind} {count}"));
        }
        lines
            .into_iter()
            .map(|(class, kinds)| format!("{class}: {}", kinds.join(", ")))
            .collect()
    }
}

fn waiting_kind(waiting: &Waiting) -> &'static str {
    match waiting {
        Waiting::SwarmUnreadable { .. } => "swarm unreadable",
        Waiting::TasksMissing { .. } => "tasks missing",
        Waiting::TasksSurplus { .. } => "tasks surplus",
        Waiting::NotAnswering { .. } => "not answering",
        Waiting::LoadingConfig { .. } => "loading config",
        Waiting::NoPrimary { .. } => "no primary",
        Waiting::PrimaryElsewhere { .. } => "primary elsewhere",
        Waiting::NotCommitted { .. } => "not committed",
        Waiting::CatchingUp { .. } => "catching up",
        Waiting::Unhealthy { .. } => "unhealthy",
        Waiting::SuccessorNotReady { .. } => "successor not ready",
        Waiting::NoWordFromSwarm { .. } => "no word from swarm",
        Waiting::MajorityAtRisk { .. } => "majority at risk",
        Waiting::NoCandidate { .. } => "no candidate",
        Waiting::SuccessorBehind { .. } => "successor behind",
        Waiting::RestartInTurn { .. } => "restart in turn",
        Waiting::Restarting { .. } => "restarting",
        Waiting::TwoTasks { .. } => "two tasks",
        Waiting::OldTaskUnheard { .. } => "old task unheard",
        Waiting::Dissolving { .. } => "dissolving",
        Waiting::HeldBack { .. } => "held back",
        Waiting::BeyondFifty { .. } => "beyond fifty",
        Waiting::Stranger { .. } => "stranger",
        Waiting::Sharding(_) => "sharding",
    }
}

fn fault_kind(fault: &Fault) -> &'static str {
    match fault {
        Fault::BadService { .. } => "bad service",
        Fault::ContestedName { .. } => "contested name",
        Fault::ForeignMember { .. } => "foreign member",
        Fault::SeveralSets { .. } => "several sets",
        Fault::HoldsData { .. } => "holds data",
        Fault::DataMissing { .. } => "data missing",
        Fault::ClaimDiffers { .. } => "claim differs",
        Fault::ClaimUnreadable { .. } => "claim unreadable",
        Fault::NotReplicated { .. } => "not replicated",
        Fault::TooOld { .. } => "too old",
        Fault::OtherSetName { .. } => "other set name",
        Fault::EmptyDisk { .. } => "empty disk",
        Fault::StepRefused { .. } => "step refused",
        Fault::IdentityDiffers { .. } => "identity differs",
        Fault::Sharding(_) => "sharding",
    }
}
