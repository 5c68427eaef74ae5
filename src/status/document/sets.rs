//! One replica set in the status.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{Reason, Reasons, UnderWay};
use crate::agent::Report;
use crate::intent::{Intent, intents};
use crate::mongo::model::{InitialSync, Replication};
use crate::observation::{Observation, Reading};
use crate::plan::roster::{Member, Roster, Seat, Standing};
use crate::step::Plan;
use crate::swarm::model::{DesiredState, Swarm, Task, TaskState};

/// One replica set.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SetEntry {
    /// Its cluster.
    pub cluster: String,
    /// Its name.
    pub set: String,
    /// Its service.
    pub service: String,
    /// How many members the service asks for.
    pub replicas: u64,
    /// Whether it is as the service asks for.
    pub converged: bool,
    /// Its identity.
    pub replica_set_id: Option<String>,
    /// The configuration's version, as the primary has it.
    pub config_version: Option<i64>,
    /// The configuration's term.
    pub config_term: Option<i64>,
    /// Whether a majority has it.
    pub config_committed: Option<bool>,
    /// The primary's host.
    pub primary: Option<String>,
    /// The members of the configuration.
    pub members: Vec<MemberEntry>,
    /// The service's tasks that run, or are to run.
    pub tasks: Vec<TaskEntry>,
    /// Steps under way.
    pub doing: Vec<UnderWay>,
    /// What is waited for.
    pub waiting: Vec<Reason>,
    /// What a person has to mend.
    pub faults: Vec<Reason>,
}

impl SetEntry {
    /// As reasons name it.
    pub fn key(&self) -> String {
        format!("{}/{}", self.cluster, self.set)
    }
}

/// One member of the configuration.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MemberEntry {
    /// Its `_id`.
    pub id: i32,
    /// Its host.
    pub host: String,
    /// Its state, as the primary sees it.
    pub state: String,
    /// Whether heartbeats reach it.
    pub healthy: bool,
    /// Its `votes` in the configuration.
    pub votes: i32,
    /// Whether its vote counts today: not before its initial sync is done.
    pub voting: bool,
    /// Its priority.
    pub priority: f64,
    /// Seconds behind the newest position.
    pub lag_seconds: Option<i64>,
    /// `stays`, `restarts`, `leaves`, `no-word` or `stranger`: what Swarm has in mind for it.
    pub standing: Cow<'static, str>,
    /// Its task.
    pub task: Option<String>,
    /// Its node.
    pub node: Option<String>,
    /// How far its initial sync is.
    pub initial_sync: Option<InitialSync>,
}

/// One task of the service.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TaskEntry {
    /// Its id.
    pub id: String,
    /// Its slot.
    pub slot: Option<u64>,
    /// Its node's host name.
    pub node: Option<String>,
    /// The host under which it is, or would be, a member.
    pub host: Option<String>,
    /// What Swarm wants of it.
    pub desired: Cow<'static, str>,
    /// What its node says of it.
    pub state: Cow<'static, str>,
    /// What its mongod answered, in a word.
    pub mongod: String,
    /// The server's version.
    pub version: Option<String>,
    /// What its node says went wrong.
    pub error: Option<String>,
}

/// All sets that have a service.
pub(super) fn sets(
    observation: &Observation,
    swarm: &Swarm,
    plan: &Plan,
    lanes: &Report,
    reasons: &Reasons,
) -> Vec<SetEntry> {
    let intents = intents(swarm);
    let tasks = observation.tasks_by_service(swarm);
    let entry = |intent: &Intent| {
        let tasks = tasks.get(&intent.service).map_or(&[][..], Vec::as_slice);
        let roster = Roster::new(observation, swarm, tasks, intent);
        set(&roster, swarm, plan, lanes, reasons)
    };
    intents.sets.values().map(entry).collect()
}

fn set(
    roster: &Roster<'_>,
    swarm: &Swarm,
    plan: &Plan,
    lanes: &Report,
    reasons: &Reasons,
) -> SetEntry {
    let intent = roster.intent;
    let primary = roster.primary();
    let members = primary.map(|p| roster.members(p)).unwrap_or_default();
    let key = intent.key.to_string();
    let about =
        |rs: &[Reason]| -> Vec<Reason> { rs.iter().filter(|r| r.about == key).cloned().collect() };
    let (waiting, faults) = (about(&reasons.waiting), about(&reasons.faults));
    let doing: Vec<_> = lanes
        .under_way
        .iter()
        .filter(|u| u.set == intent.key)
        .cloned()
        .collect();
    let no_step = doing.is_empty() && !plan.steps.iter().any(|s| *s.key() == intent.key);
    // What is left of a task on a node that is down says nothing of the set.
    let may_still_run = |seat: &Seat<'_>| {
        let node = seat.task.node.as_ref().and_then(|id| swarm.nodes.get(id));
        seat.report().is_some() || node.is_some_and(|n| n.ready)
    };
    let all_left = !roster.leaving.iter().any(may_still_run);
    let quiet = waiting.is_empty() && faults.is_empty() && no_step && all_left;
    let whole = match intent.replicas {
        0 => roster.wanted.is_empty(),
        wanted => {
            members.len() as u64 == wanted && members.iter().all(|m| m.stays() && m.is_ready())
        }
    };
    let report = primary.map(|p| p.report);
    let seats = roster
        .seats()
        .map(|seat| task(swarm, seat.task, Some(seat)));
    let unassigned = roster.unassigned.iter().map(|t| task(swarm, t, None));
    SetEntry {
        cluster: intent.key.cluster.to_string(),
        set: intent.key.set.to_string(),
        service: intent.name.to_string(),
        replicas: intent.replicas,
        converged: quiet && whole,
        replica_set_id: roster.identity().map(|id| id.to_string()),
        config_version: report.map(|r| r.config.version),
        config_term: report.and_then(|r| r.config.term),
        config_committed: report.and_then(|r| r.committed),
        primary: primary.map(|p| p.seat.host.to_string()),
        members: members.iter().map(|m| member(swarm, m)).collect(),
        tasks: seats.chain(unassigned).collect(),
        doing,
        waiting,
        faults,
    }
}

fn member(swarm: &Swarm, member: &Member<'_>) -> MemberEntry {
    let seat = member.seat();
    MemberEntry {
        id: member.config.id.0,
        host: member.config.host.to_string(),
        state: member.state().to_string(),
        healthy: member.is_healthy(),
        votes: member.config.votes,
        voting: member.votes,
        priority: member.config.priority,
        lag_seconds: member.lag_seconds,
        standing: Cow::Borrowed(match member.standing {
            Standing::Stays(_) => "stays",
            Standing::Restarts { .. } => "restarts",
            Standing::Leaves { .. } => "leaves",
            Standing::NoWord { .. } => "no-word",
            Standing::Stranger => "stranger",
        }),
        task: seat.map(|s| s.task.id.to_string()),
        node: seat.and_then(|s| node_name(swarm, s.task)),
        initial_sync: seat.and_then(Seat::in_set).and_then(|r| r.initial_sync),
    }
}

fn task(swarm: &Swarm, task: &Task, seat: Option<&Seat<'_>>) -> TaskEntry {
    let reading = seat.and_then(|s| s.reading);
    let report = reading.and_then(Reading::seen);
    let mongod = match reading {
        None => "not asked".to_owned(),
        Some(Reading::Unreachable { why, .. }) => format!("unreachable: {why}"),
        Some(Reading::Seen(report)) => match &report.replication {
            Replication::NotEnabled => "without --replSet".to_owned(),
            Replication::NotYetInitialised { .. } => "not yet initialised".to_owned(),
            Replication::LoadingConfig => "loading its configuration".to_owned(),
            Replication::InSet(set) => set.state.to_string(),
        },
    };
    TaskEntry {
        id: task.id.to_string(),
        slot: task.slot.map(|s| s.0),
        node: node_name(swarm, task),
        host: seat.map(|s| s.host.to_string()),
        desired: Cow::Borrowed(match task.desired {
            DesiredState::Ready => "ready",
            DesiredState::Running => "running",
            DesiredState::Shutdown => "shutdown",
            DesiredState::Remove => "remove",
        }),
        state: Cow::Borrowed(match task.state {
            TaskState::Pending => "pending",
            TaskState::Starting => "starting",
            TaskState::Running => "running",
            TaskState::Ended => "ended",
            TaskState::Orphaned => "orphaned",
        }),
        mongod,
        version: report.map(|r| r.version.to_string()),
        error: task.error.clone(),
    }
}

fn node_name(swarm: &Swarm, task: &Task) -> Option<String> {
    let node = swarm.nodes.get(task.node.as_ref()?)?;
    Some(node.hostname.clone())
}
