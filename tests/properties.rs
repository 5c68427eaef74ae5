//! What must hold of every plan, whatever the world is like. The rules (design, section 5) are judged here anew, by
//! their words, and not by asking the planner's own functions.
//!
//! A world is made of the lines that scenarios are made of: one that fails can be kept as a story.

#[allow(dead_code)]
#[path = "scenarios/fake.rs"]
mod fake;
#[allow(dead_code)]
#[path = "scenarios/text.rs"]
mod text;
#[allow(dead_code)]
#[path = "scenarios/world.rs"]
mod world;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use swarmset::mongo::model::{MemberState, Replication, ServerVersion, SetConfig, SetReport};
use swarmset::names::{Host, MemberId, TaskId};
use swarmset::observation::{Observation, Reading};
use swarmset::plan::plan;
use swarmset::step::{Ending, Lane, Plan, Step, Subject, Target};
use swarmset::swarm::model::{DesiredState, Swarm, Task};
use world::World;

/// More steps than any world of ten slots takes.
const ROUNDS: usize = 80;

// ---- worlds -------------------------------------------------------------------------------------

/// What is in one slot.
#[derive(Clone, Debug)]
enum Place {
    Nothing,
    /// A wanted task; its mongod as in these words; whether it is in the configuration.
    Wanted(&'static str, bool),
    /// A task that is to be forgotten.
    Removing(&'static str, bool),
    /// A member without any task.
    Ghost,
    /// An old task on one node, its successor on another.
    Moves(&'static str, &'static str, bool),
    /// An old task, and its successor on the same node.
    Restarts(&'static str, &'static str),
}

/// Attributes of a member, where it is one.
const ATTRIBUTES: &[&str] = &[
    "",
    "",
    "",
    "",
    "(hidden,priority=0)",
    "(votes=0)",
    "(priority=5)",
    "(beyond-seven)",
    "(newly-added)",
    "(tags.dc=east)",
];

#[derive(Clone, Debug)]
struct Shape {
    replicas: u64,
    service: &'static str,
    places: Vec<(Place, &'static str)>,
    primary: usize,
    version: i64,
    term: i64,
    config: &'static str,
    claim: &'static str,
}

fn place() -> impl Strategy<Value = Place> {
    let member = prop::sample::select(vec![
        "secondary",
        "secondary",
        "secondary",
        "secondary lag=5",
        "secondary lag=60",
        "secondary lag=unknown",
        "startup2",
        "startup2 resumes",
        "recovering",
        "rollback",
        "removed",
        "silent",
        "silent seen=secondary",
        "loading",
        "empty",
        "secondary of=B",
    ]);
    let newcomer = prop::sample::select(vec![
        "empty",
        "empty",
        "removed",
        "silent",
        "holding=3",
        "standalone",
        "loading",
        "empty version=4.4.1",
        "primary of=B",
    ]);
    let alive = prop::sample::select(vec![
        "secondary",
        "secondary",
        "secondary",
        "secondary lag=60",
        "silent",
        "silent seen=secondary",
    ]);
    let next = prop::sample::select(vec![
        "ready",
        "ready",
        "pending",
        "starting",
        "running silent",
    ]);
    prop_oneof![
        2 => Just(Place::Nothing),
        4 => member.clone().prop_map(|m| Place::Wanted(m, true)),
        20 => Just(Place::Wanted("secondary", true)),
        6 => Just(Place::Removing("secondary", true)),
        3 => newcomer.clone().prop_map(|m| Place::Wanted(m, false)),
        3 => member.prop_map(|m| Place::Removing(m, true)),
        1 => newcomer.clone().prop_map(|m| Place::Removing(m, false)),
        1 => Just(Place::Ghost),
        2 => (alive.clone(), newcomer).prop_map(|(old, new)| Place::Moves(old, new, false)),
        2 => alive.clone().prop_map(|old| Place::Moves(old, "secondary", true)),
        4 => (alive, next).prop_map(|(old, next)| Place::Restarts(old, next)),
    ]
}

fn shape() -> impl Strategy<Value = Shape> {
    let places = prop::collection::vec((place(), prop::sample::select(ATTRIBUTES)), 1..10);
    let service = prop::sample::select(vec![
        "",
        "",
        "",
        "stop=sigterm",
        "stop=sigterm grace=default",
        "hostname={{.Service.Name}}-{{.Task.Slot}}",
        "hostname={{.Node.Hostname}}",
        "port=27018",
    ]);
    let config = prop::sample::select(vec![
        "",
        "",
        "",
        "",
        "",
        "",
        "uncommitted",
        "commitment-unknown",
    ]);
    let claim = prop_oneof![
        12 => Just(""),
        1 => Just("claim missing"),
        1 => Just("claim age=1m"),
        1 => Just("claim id=B"),
    ];
    let numbers = (1i64..40, 1i64..5, 0usize..12);
    (0u64..9, service, places, numbers, config, claim).prop_map(
        |(replicas, service, places, (version, term, primary), config, claim)| Shape {
            replicas,
            service,
            places,
            primary,
            version,
            term,
            config,
            claim,
        },
    )
}

impl Shape {
    /// The world in lines. Of the members that could, one is primary.
    fn lines(&self, service: &str) -> Vec<String> {
        let mut tasks = Vec::new();
        let mut members: Vec<(u64, u64)> = Vec::new();
        for (slot, (place, _)) in (1u64..).zip(&self.places) {
            let away = slot + 20;
            let mut member = |is: bool, node| members.extend(is.then_some((slot, node)));
            let mut task = |name: &str, node: u64, state: &str, mongod: &str| {
                tasks.push(format!("task {slot}{name} n{node} {state} {mongod}"));
            };
            match place {
                Place::Nothing => {}
                Place::Wanted(mongod, is_member) => {
                    task("", slot, "running", mongod);
                    member(*is_member, slot);
                }
                Place::Removing(mongod, is_member) => {
                    task("", slot, "removing", mongod);
                    member(*is_member, slot);
                }
                Place::Ghost => member(true, slot),
                Place::Moves(old, new, is_member) => {
                    task("a", slot, "stopping", old);
                    task("", away, "running", new);
                    member(true, slot);
                    member(*is_member, away);
                }
                Place::Restarts(old, next) => {
                    task("a", slot, "stopping", old);
                    task("", slot, next, "");
                    member(true, slot);
                }
            }
        }
        let mut could: Vec<&mut String> = tasks
            .iter_mut()
            .filter(|t| t.ends_with(" secondary"))
            .collect();
        let count = could.len();
        if let Some(chosen) = could.get_mut(self.primary % count.max(1)) {
            **chosen = chosen.replace(" secondary", " primary");
        }
        let replicas = self.replicas;
        let mut lines = vec![format!(
            "service {service} set={service} replicas={replicas} {}",
            self.service
        )];
        lines.append(&mut tasks);
        if !members.is_empty() {
            let (version, term) = (self.version, self.term);
            let mut line = format!("config version={version} term={term} {} :", self.config);
            let mut votes = 0;
            let mut seen = BTreeSet::new();
            for (id, (slot, node)) in members.iter().enumerate() {
                let host = self.host(service, *slot, *node);
                if !seen.insert(host.clone()) {
                    continue;
                }
                let (_, attributes) = self.places[*slot as usize - 1];
                let free = attributes.contains("votes=0") || attributes.contains("beyond");
                let attributes = match (free, votes) {
                    (true, _) if votes == 0 => "",
                    (false, 7) => "(beyond-seven)",
                    _ => attributes,
                };
                votes +=
                    usize::from(!attributes.contains("votes=0") && !attributes.contains("beyond"));
                line += &format!(" {id}={host}{attributes}");
            }
            lines.push(line);
        }
        lines.extend((!self.claim.is_empty()).then(|| self.claim.to_owned()));
        lines
    }

    fn host(&self, service: &str, slot: u64, node: u64) -> String {
        match self.service {
            s if s.contains("Node.Hostname") => format!("n{node}.example"),
            s if s.contains("hostname=") => format!("{service}-{slot}"),
            _ => format!("{service}-{slot}-n{node}"),
        }
    }
}

fn make(lines: &[String]) -> World {
    let mut world = World::default();
    for line in lines {
        if let Err(why) = world.say(line) {
            panic!("{line:?}: {why}");
        }
    }
    world
}

// ---- judges -------------------------------------------------------------------------------------

type Judged = Result<(), TestCaseError>;

fn swarm(observation: &Observation) -> &Swarm {
    match &observation.swarm {
        Reading::Seen(swarm) => swarm,
        Reading::Unreachable { .. } => panic!("it was read"),
    }
}

fn task<'a>(observation: &'a Observation, id: &TaskId) -> &'a Task {
    &swarm(observation).tasks[id]
}

fn report<'a>(observation: &'a Observation, id: &TaskId) -> Option<&'a SetReport> {
    observation.members.get(id)?.seen()?.in_set()
}

/// Votes that count: newcomers have none before their initial sync is done.
fn voters(config: &SetConfig, newly_added: &BTreeSet<MemberId>) -> BTreeSet<MemberId> {
    let votes = config.members.iter().filter(|m| m.votes > 0).map(|m| m.id);
    votes.filter(|id| !newly_added.contains(id)).collect()
}

fn healthy(report: &SetReport, id: MemberId) -> bool {
    let works = [
        MemberState::Primary,
        MemberState::Secondary,
        MemberState::Arbiter,
    ];
    report
        .members
        .iter()
        .any(|m| m.id == id && m.healthy && works.contains(&m.state))
}

/// Whether a member's mongod was heard to work, if it has a task: the primary hears of an end only by its heartbeats.
fn answers(observation: &Observation, leader: &SetReport, id: MemberId) -> bool {
    let Some(member) = leader.config.member(id) else {
        return false;
    };
    let same_set = |r: &&SetReport| r.config.replica_set_id() == leader.config.replica_set_id();
    let mut reports = observation
        .members
        .keys()
        .filter_map(|t| report(observation, t))
        .filter(same_set);
    let heard = reports.any(|r| r.self_id == Some(id) && r.state.is_data_bearing());
    let name = member.identity();
    let mut tasks = swarm(observation).tasks.values();
    heard
        || !tasks.any(|t| {
            name.name()
                .ends_with(&format!("-{}", t.node.as_ref().map_or("?", |n| n.as_str())))
        })
}

/// A name says whose data it is; an address says nothing.
fn may_be_called(before: &Host, after: &Host) -> bool {
    before == after || before.is_address()
}

/// Rules 1, 3, 7, 9, 10, 11 and 14 of a reconfiguration.
fn judge_reconfiguration(
    observation: &Observation,
    on: &Target,
    base: &SetConfig,
    config: &SetConfig,
) -> Judged {
    let Some(seen) = report(observation, &on.task) else {
        return Err(TestCaseError::fail("it is sent to one that is no member"));
    };
    // 14
    prop_assert_eq!(base, &seen.config, "rule 14: it starts from what was seen");
    prop_assert_eq!(config.version, base.version + 1, "rule 14");
    prop_assert_eq!(config.term, base.term, "rule 14");
    prop_assert_eq!(seen.state, MemberState::Primary);
    // 1
    let before = voters(base, &seen.newly_added);
    let known = |id: &MemberId| base.member(*id).is_some();
    let mut after = voters(config, &seen.newly_added);
    after.retain(known);
    let changed = before.symmetric_difference(&after).count();
    prop_assert!(changed <= 1, "rule 1: {before:?} to {after:?}");
    // 3
    let ids: BTreeSet<_> = config.members.iter().map(|m| m.id).collect();
    let names: BTreeSet<_> = config.members.iter().map(|m| m.identity()).collect();
    prop_assert_eq!(ids.len(), config.members.len(), "rule 3: ids twice");
    prop_assert_eq!(names.len(), config.members.len(), "rule 3: names twice");
    for member in &config.members {
        if let Some(was) = base.member(member.id) {
            let same = may_be_called(&was.identity(), &member.identity());
            prop_assert!(same, "rule 3: {} was {}", member.identity(), was.identity());
        }
    }
    // 7
    prop_assert_eq!(&config.set, &base.set, "rule 7");
    prop_assert_eq!(
        config.settings.get("replicaSetId"),
        base.settings.get("replicaSetId")
    );
    // 9
    if let Some(gone) = before.difference(&after).next() {
        let well = after.iter().filter(|id| healthy(seen, **id)).count();
        prop_assert!(
            2 * well > after.len(),
            "rule 9: {gone} leaves {well} of {}",
            after.len()
        );
    }
    // 10
    let stays = seen.self_id.is_some_and(|id| config.member(id).is_some());
    prop_assert!(stays, "rule 10: the primary would be removed");
    // 11
    let votes = config.members.iter().filter(|m| m.votes > 0).count();
    prop_assert!((1..=7).contains(&votes), "rule 11: {votes} votes");
    prop_assert!(config.members.len() <= 50, "rule 11");
    let powerless = config.members.iter().filter(|m| m.votes == 0);
    prop_assert!(powerless.map(|m| m.priority).all(|p| p == 0.0), "rule 11");
    judge_newcomers(observation, base, config)
}

/// Who joins is empty or one of ours, new enough, wanted, and comes under an `_id` that nobody has.
fn judge_newcomers(observation: &Observation, base: &SetConfig, config: &SetConfig) -> Judged {
    for member in &config.members {
        if let Some(was) = base.member(member.id) {
            if was.votes == 0 && member.votes > 0 {
                let all = observation.members.values().filter_map(Reading::seen);
                let all: Vec<_> = all.filter_map(|r| r.in_set()).collect();
                let well = all
                    .iter()
                    .any(|r| r.state == MemberState::Primary && healthy(r, member.id));
                prop_assert!(well, "rule 5: {} gets a vote", member.host);
            }
            continue;
        }
        let wanted: Vec<_> = swarm(observation)
            .tasks
            .values()
            .filter(|t| t.is_wanted())
            .filter_map(|t| observation.members.get(&t.id)?.seen())
            .filter(|r| r.version >= ServerVersion::OLDEST)
            .filter(|r| match &r.replication {
                Replication::NotYetInitialised { collections } => *collections == 0,
                Replication::InSet(r) => r.config.replica_set_id() == base.replica_set_id(),
                Replication::NotEnabled | Replication::LoadingConfig => false,
            })
            .collect();
        prop_assert!(!wanted.is_empty(), "nobody could be {}", member.host);
    }
    Ok(())
}

/// Only what Swarm has told to stop is shut down; a member only if the set can spare it.
fn judge_shutdown(observation: &Observation, on: &Target, why: Ending) -> Judged {
    let told = [DesiredState::Shutdown, DesiredState::Remove];
    let desired = task(observation, &on.task).desired;
    prop_assert!(told.contains(&desired), "rule 12: {} is wanted", on.host);
    let own = report(observation, &on.task);
    let sees = |r: &&SetReport| {
        r.state == MemberState::Primary
            && own.is_some_and(|o| o.config.replica_set_id() == r.config.replica_set_id())
    };
    let reports = observation
        .members
        .keys()
        .filter_map(|t| report(observation, t));
    let leader = reports.filter(sees).max_by_key(|r| r.term);
    let id = own.and_then(|r| r.self_id);
    let claims = swarm(observation).claims.values();
    let recorded = claims.filter_map(|c| c.replica_set_id.clone()).next();
    let identity = own.and_then(|r| r.config.replica_set_id());
    if why == Ending::Removed && recorded.is_some() && identity != recorded {
        return Ok(());
    }
    match (why, leader) {
        (Ending::Removed, Some(leader)) => {
            let is_member = id.is_some_and(|id| leader.config.member(id).is_some());
            prop_assert!(!is_member, "rule 9: {} is still a member", on.host);
        }
        (Ending::Restart, Some(leader)) => {
            prop_assert_ne!(leader.self_id, id, "rule 10: the primary is handed over");
            let all = voters(&leader.config, &leader.newly_added);
            let others = all.iter().filter(|v| Some(**v) != id);
            let well = |v: &&MemberId| healthy(leader, **v) && answers(observation, leader, **v);
            let well = others.filter(well).count();
            let enough = 2 * well > all.len() || all.len() <= 2;
            prop_assert!(enough, "rule 9: {well} of {} are left", all.len());
            prop_assert_eq!(leader.committed, Some(true), "rule 2");
        }
        (Ending::Restart, None) => prop_assert!(false, "a restart without a primary"),
        (Ending::RestartAlone, _) => {
            let alone =
                own.is_some_and(|r| r.voters().len() <= 1 || r.state == MemberState::Primary);
            prop_assert!(alone, "rule 9: {} is not alone", on.host);
        }
        (Ending::Removed | Ending::Dissolved, _) => {}
    }
    Ok(())
}

fn judge(observation: &Observation, plan: &Plan) -> Judged {
    let mut lanes: BTreeMap<Lane, usize> = BTreeMap::new();
    for step in &plan.steps {
        *lanes.entry(step.lane()).or_default() += 1;
        match step {
            Step::Reconfigure {
                on, base, config, ..
            } => {
                judge_reconfiguration(observation, on, base, config)?;
                let committed = report(observation, &on.task).and_then(|r| r.committed);
                prop_assert_eq!(committed, Some(true), "rule 2");
            }
            Step::ShutDown { on, why, .. } => judge_shutdown(observation, on, *why)?,
            Step::Initiate { .. } | Step::Claim { .. } => {
                let expected = |t: &&Task| t.is_wanted();
                let tasks = swarm(observation).tasks.values().filter(expected);
                let reports: Vec<_> = tasks.map(|t| report(observation, &t.id)).collect();
                let initiates = match step {
                    Step::Claim { content, .. } => content.initiator.is_some(),
                    _ => true,
                };
                let fresh = reports.iter().all(Option::is_none);
                prop_assert!(fresh || !initiates, "rule 6: a set is there");
            }
            Step::RecordIdentity { claim, .. } => {
                prop_assert_eq!(&claim.replica_set_id, &None, "rule 7: once");
            }
            Step::StandForElection { on, .. } => {
                let state = report(observation, &on.task).map(|r| r.state);
                prop_assert_eq!(state, Some(MemberState::Secondary));
                prop_assert!(task(observation, &on.task).is_wanted());
            }
            Step::HandOver {
                from, to, others, ..
            } => {
                let state = |t: &Target| report(observation, &t.task).map(|r| r.state);
                prop_assert_eq!(state(from), Some(MemberState::Primary));
                prop_assert_eq!(state(to), Some(MemberState::Secondary));
                prop_assert!(task(observation, &to.task).is_wanted());
                prop_assert!(!others.contains(from) && !others.contains(to));
            }
            Step::ExtendQuiesce { on, .. } => {
                for target in on {
                    prop_assert!(!task(observation, &target.task).is_wanted());
                }
            }
            Step::Sharding(step) => prop_assert!(false, "no cluster is there: {}", step),
        }
    }
    let most = lanes.values().max().copied().unwrap_or(0);
    prop_assert!(most <= 1, "several steps in one lane: {:?}", plan.steps);
    Ok(())
}

// ---- properties ---------------------------------------------------------------------------------

/// What a plan says of one set.
fn about(plan: &Plan, name: &str) -> Plan {
    let is_it = |s: &Subject| matches!(s, Subject::Set(key) if key.set.as_str() == name);
    let mut part = plan.clone();
    part.steps.retain(|s| s.key().set.as_str() == name);
    part.waiting.retain(|(s, _)| is_it(s));
    part.faults.retain(|(s, _)| is_it(s));
    part
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_step_keeps_the_rules(shape in shape()) {
        let lines = shape.lines("mongo");
        let observation = make(&lines).observe();
        let judged = judge(&observation, &plan(&observation));
        prop_assert!(judged.is_ok(), "{}\n{judged:?}", lines.join("\n"));
    }

    #[test]
    fn the_same_observation_has_the_same_plan(shape in shape()) {
        let observation = make(&shape.lines("mongo")).observe();
        prop_assert_eq!(plan(&observation), plan(&observation.clone()));
    }

    #[test]
    fn nothing_is_done_while_the_swarm_cannot_be_read(shape in shape(), answer in 0..2) {
        let mut lines = shape.lines("mongo");
        lines.push(["swarm empty", "swarm unreadable why"][answer as usize].to_owned());
        let plan = plan(&make(&lines).observe());
        prop_assert_eq!(plan.steps, vec![]);
    }

    /// Rule 12, for a reading that lacks tasks: what it does not show may be there.
    #[test]
    fn nothing_is_removed_because_tasks_are_not_listed(shape in shape(), kept in 0usize..3) {
        let mut lines = shape.lines("mongo");
        lines[0] = lines[0].replace("replicas=", "replicas=1");
        let mut left = kept;
        lines.retain(|l| !l.starts_with("task") || { let keep = left > 0; left = left.saturating_sub(1); keep });
        lines.retain(|l| !l.contains(" removing "));
        let observation = make(&lines).observe();
        for step in plan(&observation).steps {
            if let Step::Reconfigure { base, config, .. } = &step {
                let names: BTreeSet<_> = swarm(&observation).tasks.values().filter_map(|t| t.slot).collect();
                let gone = base.members.iter().filter(|m| config.member(m.id).is_none());
                for member in gone {
                    let of = |slot: &&swarmset::names::Slot| {
                        member.host.as_str().starts_with(&format!("mongo-{slot}-"))
                            || member.host.as_str().starts_with(&format!("mongo-{slot}:"))
                            || shape.service.contains("Node.Hostname")
                    };
                    prop_assert!(names.iter().any(|s| of(&s)), "{step}\n{}", lines.join("\n"));
                }
            }
        }
    }

    #[test]
    fn one_set_does_not_change_what_is_planned_for_another(one in shape(), other in shape()) {
        let (first, second) = (one.lines("mongo"), other.lines("shop"));
        let both = plan(&make(&[first.clone(), second.clone()].concat()).observe());
        prop_assert_eq!(about(&both, "mongo"), about(&plan(&make(&first).observe()), "mongo"));
        prop_assert_eq!(about(&both, "shop"), about(&plan(&make(&second).observe()), "shop"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    /// Rules 3 and 15: the plans come to an end, each keeps the rules, and no `_id` ever stands for two members.
    #[test]
    fn plans_come_to_an_end(shape in shape()) {
        let lines = shape.lines("mongo");
        let mut world = make(&lines);
        let mut known: BTreeMap<MemberId, Host> = BTreeMap::new();
        let mut told = Vec::new();
        for _ in 0..ROUNDS {
            let observation = world.observe();
            let plan = plan(&observation);
            told.extend(plan.steps.iter().map(ToString::to_string));
            let judged = judge(&observation, &plan);
            prop_assert!(judged.is_ok(), "{}\n{}\n{judged:?}", lines.join("\n"), told.join("\n"));
            for step in &plan.steps {
                let Step::Reconfigure { config, .. } = step else { continue };
                for member in &config.members {
                    let was = known.entry(member.id).or_insert_with(|| member.identity());
                    let same = may_be_called(was, &member.identity());
                    prop_assert!(same, "rule 3\n{}\n{}", lines.join("\n"), told.join("\n"));
                }
            }
            if plan.steps.is_empty() {
                return Ok(());
            }
            world.apply_plan();
            world.catch_up();
        }
        prop_assert!(false, "no end\n{}\n{}", lines.join("\n"), told.join("\n"));
    }
}

/// A task listens where its own specification says, which is not the service's any more while that is being updated.
#[test]
fn steps_go_where_the_task_listens() {
    let lines = [
        "service mongo replicas=1 port=27018",
        "task 1 n1 running primary address=10.0.1.1",
        "task 2 n2 removing empty port=27017 address=10.0.1.2",
    ];
    let observation = make(&lines.map(str::to_owned)).observe();
    let plan = plan(&observation);
    let [Step::ShutDown { on, .. }] = plan.steps.as_slice() else {
        panic!("{:?}", plan.steps);
    };
    assert_eq!(on.address.to_string(), "10.0.1.2:27017");
}
