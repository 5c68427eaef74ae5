//! From an observation to a plan: pure, total, and without memory. The order of concerns, and nothing else.

mod departure;
mod election;
mod identity;
mod initiate;
mod membership;
mod restart;
pub mod roster;
pub mod safety;
mod sharding;

use crate::intent::{Intent, Role, intents};
use crate::observation::{Observation, Reading};
use crate::step::{Fault, Plan, Step, Subject, Waiting};
use crate::swarm::model::Task;

use roster::Roster;
pub use sharding::router_host;

/// How far behind a member may be and still count as caught up, in seconds of the oplog: as much as a set that is
/// idle shows between two of its own no-op writes.
pub const MAX_LAG_SECONDS: i64 = 10;

/// What is to be done now, and why the rest is not.
pub fn plan(observation: &Observation) -> Plan {
    let mut plan = Plan::default();
    let swarm = match &observation.swarm {
        Reading::Seen(swarm) => swarm,
        Reading::Unreachable { why, .. } => {
            let why = why.clone();
            let waiting = Waiting::SwarmUnreadable { why };
            plan.waiting.push((Subject::Swarm, waiting));
            return plan;
        }
    };
    let intents = intents(swarm);
    for bad in &intents.bad {
        let subject = match &bad.key {
            Some(key) => Subject::Set(key.clone()),
            None => Subject::Service(bad.name.clone()),
        };
        for error in &bad.errors {
            let (service, error) = (bad.name.clone(), error.clone());
            let fault = Fault::BadService { service, error };
            plan.faults.push((subject.clone(), fault));
        }
    }
    for (key, services) in &intents.contested {
        let (set, services) = (key.set.clone(), services.clone());
        let fault = Fault::ContestedName { set, services };
        plan.faults.push((Subject::Set(key.clone()), fault));
    }
    let tasks = observation.tasks_by_service(swarm);
    let mut clusters = sharding::clusters(observation, &intents, &tasks);
    for intent in intents.sets.values() {
        let tasks = tasks.get(&intent.service).map_or(&[][..], Vec::as_slice);
        let roster = Roster::new(observation, swarm, tasks, intent);
        let cluster = match intent.role {
            Role::ReplicaSet => None,
            Role::ConfigServer | Role::Shard => clusters.get_mut(&intent.key.cluster),
        };
        let Some(cluster) = cluster else {
            let verdict = plan_set(&roster);
            conclude(intent, verdict, &mut plan);
            continue;
        };
        let verdict = match cluster.keeps(intent) {
            Some(fault) => Verdict::fault(fault),
            None => plan_set(&roster),
        };
        cluster.sets.push(roster);
        cluster.verdicts.push(verdict);
    }
    for cluster in clusters.values_mut() {
        cluster.one_at_a_time();
        cluster.plan(&mut plan);
        let verdicts = std::mem::take(&mut cluster.verdicts);
        for (roster, verdict) in cluster.sets.iter().zip(verdicts) {
            conclude(roster.intent, verdict, &mut plan);
        }
    }
    let keeps = |task: &Task| clusters.values().any(|c| c.keeps_orphan(task));
    departure::dissolve_orphans(observation, swarm, &keeps, &mut plan);
    plan
}

/// Takes what one set's concerns have come to into the plan, as far as it is safe.
fn conclude(intent: &Intent, mut verdict: Verdict, plan: &mut Plan) {
    keep_safe(&mut verdict);
    let subject = Subject::Set(intent.key.clone());
    let about = |w| (subject.clone(), w);
    plan.waiting.extend(verdict.waiting.into_iter().map(about));
    let about = |f| (subject.clone(), f);
    plan.faults.extend(verdict.faults.into_iter().map(about));
    plan.steps.extend(verdict.steps);
}

/// What one set's concerns have come to.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    steps: Vec<Step>,
    waiting: Vec<Waiting>,
    faults: Vec<Fault>,
}

impl Verdict {
    /// Nothing is done, for this reason.
    fn fault(fault: impl Into<Fault>) -> Self {
        Self {
            faults: vec![fault.into()],
            ..Self::default()
        }
    }

    /// Takes a step of the set's own lane, unless there is one already: one at a time.
    fn step(&mut self, step: Step) {
        let lane = step.lane();
        if !self.steps.iter().any(|s| s.lane() == lane) {
            self.steps.push(step);
        }
    }

    fn wait(&mut self, waiting: Waiting) {
        if !self.waiting.contains(&waiting) {
            self.waiting.push(waiting);
        }
    }
}

/// One set, concern by concern. The first that has a step for the set's lane wins; the others still say what
/// they wait for.
fn plan_set(roster: &Roster<'_>) -> Verdict {
    let mut verdict = Verdict::default();
    identity::refuse_unfit(roster, &mut verdict);
    if roster.intent.replicas == 0 {
        departure::dissolve(roster, &mut verdict);
        return verdict;
    }
    roster.tell_missing_tasks(&mut verdict);
    departure::extend_quiesce(roster, &mut verdict);
    if !roster.exists() {
        initiate::initiate(roster, &mut verdict);
        return verdict;
    }
    if !identity::settle(roster, &mut verdict) {
        return verdict;
    }
    let Some(primary) = roster.primary() else {
        election::without_primary(roster, &mut verdict);
        return verdict;
    };
    if primary.report.committed != Some(true) {
        let version = primary.report.config.config_version();
        verdict.wait(Waiting::NotCommitted { version });
        return verdict;
    }
    let members = roster.members(primary);
    membership::tell(roster, primary, &members, &mut verdict);
    membership::replace_empty_disks(roster, primary, &members, &mut verdict);
    membership::rehost(roster, primary, &members, &mut verdict);
    election::hand_over_leaver(roster, &members, primary, &mut verdict);
    membership::add_newcomers(roster, primary, &members, &mut verdict);
    membership::give_votes(roster, primary, &members, &mut verdict);
    membership::remove_leavers(roster, primary, &members, &mut verdict);
    restart::restart_in_place(roster, primary, &members, &mut verdict);
    departure::end_former_members(roster, primary, &mut verdict);
    verdict
}

/// The last word: no step that breaks a rule leaves the planner, whatever thought of it.
fn keep_safe(verdict: &mut Verdict) {
    let steps = std::mem::take(&mut verdict.steps);
    for step in steps {
        match safety::check(&step) {
            Ok(()) => verdict.steps.push(step),
            Err(violation) => verdict.wait(Waiting::HeldBack {
                rule: violation.rule,
                why: violation.why,
            }),
        }
    }
}
