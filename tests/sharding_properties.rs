//! What must hold of every plan for a sharded cluster, whatever it is like: judged by the rules' words (design,
//! sections 4 and 5), and not by asking the planner's own functions.

#[allow(dead_code)]
#[path = "scenarios/fake.rs"]
mod fake;
#[allow(dead_code)]
#[path = "scenarios/text.rs"]
mod text;
#[allow(dead_code)]
#[path = "scenarios/world.rs"]
mod world;

use std::collections::BTreeSet;

use proptest::prelude::*;
use swarmset::mongo::model::{ClusterReport, MemberState};
use swarmset::observation::{Observation, Reading};
use swarmset::plan::plan;
use swarmset::step::{Ending, Plan, ShardingStep, Step};
use swarmset::swarm::model::DesiredState;
use world::World;

/// More rounds than three shards and config servers take.
const ROUNDS: usize = 120;

/// How one set is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Set {
    Whole,
    /// All its members have a successor that waits.
    Updating,
    NoPrimary,
    OneDown,
    /// Scaled to 0, its members still there.
    Zero,
    /// Its service is gone, its members still there.
    Gone,
    Empty,
}

/// What the books say of one shard, and what its service asks for.
#[derive(Clone, Copy, Debug)]
struct Shard {
    set: Set,
    listed: bool,
    draining: bool,
    drain: bool,
    chunks: u64,
    database: bool,
    /// What an unlisted one holds.
    content: Content,
    /// Whether the books know all its members.
    books_follow: bool,
}

#[derive(Clone, Copy, Debug)]
enum Content {
    Nothing,
    Databases,
    OtherCluster,
    Unread,
}

#[derive(Clone, Debug)]
struct Shape {
    config: Set,
    shards: Vec<Shard>,
    router: bool,
    readable: bool,
    balancer: bool,
}

fn set() -> impl Strategy<Value = Set> {
    prop_oneof![
        6 => Just(Set::Whole),
        3 => Just(Set::Updating),
        1 => Just(Set::NoPrimary),
        1 => Just(Set::OneDown),
        2 => Just(Set::Zero),
        1 => Just(Set::Gone),
        1 => Just(Set::Empty),
    ]
}

fn shard() -> impl Strategy<Value = Shard> {
    let content = prop_oneof![
        4 => Just(Content::Nothing),
        1 => Just(Content::Databases),
        1 => Just(Content::OtherCluster),
        1 => Just(Content::Unread),
    ];
    let flags = (
        any::<bool>(),
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.4),
    );
    let held = (0..3_u64, any::<bool>(), prop::bool::weighted(0.8));
    (set(), flags, held, content).prop_map(
        |(set, (listed, draining, drain), (chunks, database, books_follow), content)| Shard {
            set,
            listed,
            draining,
            drain,
            chunks,
            database,
            content,
            books_follow,
        },
    )
}

fn shape() -> impl Strategy<Value = Shape> {
    let shards = prop::collection::vec(shard(), 1..4);
    let often = || prop::bool::weighted(0.8);
    (set(), shards, often(), often(), any::<bool>()).prop_map(
        |(config, shards, router, readable, balancer)| Shape {
            config,
            shards,
            router,
            readable,
            balancer,
        },
    )
}

impl Set {
    fn lines(self, service: &str, role: &str, labels: &str) -> Vec<String> {
        let replicas = match self {
            Self::Zero => "replicas=0",
            Self::Gone => "gone",
            Self::Whole | Self::Updating | Self::NoPrimary | Self::OneDown | Self::Empty => "",
        };
        let tasks: &[&str] = match self {
            Self::Whole => &["1 n1 running primary", "2..3 n* running secondary"],
            Self::Updating => &[
                "1..3 n* ready silent",
                "1a n1 stopping primary",
                "2a n2 stopping secondary",
                "3a n3 stopping secondary",
            ],
            Self::NoPrimary => &["1 n1 running secondary", "2..3 n* running silent"],
            Self::OneDown => &[
                "1 n1 running primary",
                "2 n2 running secondary",
                "3 n3 running recovering",
            ],
            Self::Zero | Self::Gone => &["1 n1 removing primary", "2..3 n* removing secondary"],
            Self::Empty => &["1..3 n* running empty"],
        };
        let service = format!("service {service} role={role} {replicas} {labels}");
        let tasks = tasks.iter().map(|task| format!("task {task}"));
        [service].into_iter().chain(tasks).collect()
    }
}

impl Shape {
    fn lines(&self) -> Vec<String> {
        let mut lines = self.config.lines("cfg", "config-server", "");
        for (number, shard) in self.shards.iter().enumerate() {
            let label = if shard.drain {
                "swarmset.drain=true"
            } else {
                ""
            };
            lines.extend(shard.set.lines(&format!("s{number}"), "shard", label));
        }
        lines.push("service router role=router configdb=cfg/cfg:27017 replicas=1".into());
        let router = if self.router { "router" } else { "silent" };
        lines.push(format!("task 1 n1 running {router}"));
        for (number, shard) in self.shards.iter().enumerate() {
            let name = format!("s{number}");
            if shard.listed && shard.set != Set::Empty {
                let draining = if shard.draining { "draining" } else { "" };
                let hosts = if shard.books_follow {
                    "usual".into()
                } else {
                    format!("{name}-1-n1")
                };
                lines.push(format!(
                    "shard {name} hosts={hosts} {draining} chunks={}",
                    shard.chunks
                ));
                if shard.database {
                    lines.push(format!("cluster databases=db{number}:{name}"));
                }
            }
            match shard.content {
                Content::Nothing => {}
                Content::Databases => lines.push(format!("content {name} databases=old")),
                Content::OtherCluster => lines.push(format!("content {name} of=another")),
                Content::Unread => lines.push(format!("content {name} unreadable")),
            }
        }
        if !self.readable {
            lines.push("cluster unreadable \"no answer\"".into());
        }
        if !self.balancer {
            lines.push("cluster balancer=off".into());
        }
        lines
    }

    /// Everything that has a service is scaled to zero.
    fn is_stopped(&self) -> bool {
        let all = || self.shards.iter().map(|s| s.set).chain([self.config]);
        let mut asked = all().filter(|s| *s != Set::Gone).peekable();
        asked.peek().is_some() && asked.all(|s| s == Set::Zero)
    }
}

fn make(lines: &[String]) -> World {
    let mut world = World::default();
    for line in lines {
        world
            .say(line)
            .unwrap_or_else(|why| panic!("{line:?}: {why}"));
    }
    world
}

fn books(observation: &Observation) -> Option<&ClusterReport> {
    observation.sharding.clusters.values().next()?.seen()
}

type Judged = Result<(), TestCaseError>;

fn judge(shape: &Shape, observation: &Observation, plan: &Plan) -> Judged {
    let (mut restarts, mut removals) = (BTreeSet::new(), 0);
    for step in &plan.steps {
        match step {
            Step::ShutDown {
                key,
                why: Ending::Restart | Ending::RestartAlone,
                ..
            } => {
                restarts.insert(key.clone());
            }
            Step::HandOver { key, .. } => {
                restarts.insert(key.clone());
            }
            Step::ShutDown {
                on,
                why: Ending::Dissolved,
                ..
            } => {
                judge_ending(shape, observation, on.task.as_str())?;
            }
            Step::Sharding(step) => {
                prop_assert!(shape.router, "nobody to ask: {}", step);
                prop_assert!(books(observation).is_some(), "books unread: {}", step);
                removals += usize::from(!matches!(step, ShardingStep::AddShard { .. }));
                judge_sharding(shape, observation, step)?;
            }
            Step::ShutDown {
                why: Ending::Removed,
                ..
            }
            | Step::StandForElection { .. }
            | Step::Claim { .. }
            | Step::RecordIdentity { .. }
            | Step::Initiate { .. }
            | Step::Reconfigure { .. }
            | Step::ExtendQuiesce { .. } => {}
        }
    }
    prop_assert!(
        restarts.len() <= 1,
        "several restarts at once: {:?}",
        restarts
    );
    prop_assert!(removals <= 1, "several changes to the cluster at once");
    Ok(())
}

/// Rule 17: what is ended is no shard, and nothing that shards need.
fn judge_ending(shape: &Shape, observation: &Observation, task: &str) -> Judged {
    if shape.is_stopped() {
        return Ok(());
    }
    let service = task.split('.').next().unwrap_or_default();
    prop_assert!(service != "cfg", "config servers are ended: {}", task);
    let listed = books(observation).map(|b| b.shards.iter().any(|s| s.name.as_str() == service));
    // Without any books (the config servers' service is gone for good) nothing says that it is a shard.
    let known = observation.sharding.clusters.is_empty() || listed == Some(false);
    prop_assert!(known, "{} is a shard, or may be one, and is ended", service);
    Ok(())
}

fn judge_sharding(shape: &Shape, observation: &Observation, step: &ShardingStep) -> Judged {
    let books = books(observation).expect("books");
    let entry = |name: &str| books.shards.iter().find(|s| s.name.as_str() == name);
    let number = |name: &str| {
        name.trim_start_matches('s')
            .parse::<usize>()
            .expect("a number")
    };
    let asked = |name: &str| shape.shards[number(name)].drain;
    let runs = |name: &str| !matches!(shape.shards[number(name)].set, Set::Gone | Set::Zero);
    let stays = |name: &str| {
        let remains = entry(name).is_some_and(|e| !e.draining);
        remains && runs(name) && !asked(name)
    };
    match step {
        ShardingStep::AddShard { key, .. } => {
            let shard = shape.shards[number(key.set.as_str())];
            prop_assert!(entry(key.set.as_str()).is_none(), "added twice");
            prop_assert!(!shard.drain, "added although it is to be drained");
            prop_assert!(
                matches!(shard.content, Content::Nothing),
                "{:?}",
                shard.content
            );
        }
        ShardingStep::Remove {
            shard, draining, ..
        } => {
            prop_assert!(asked(shard.as_str()), "nobody asked for it");
            prop_assert_eq!(entry(shard.as_str()).map(|e| e.draining), Some(*draining));
            prop_assert!(books.balancer.enabled, "the balancer is off");
            let others = books.shards.iter().filter(|e| e.name != *shard);
            let left = others.filter(|e| stays(e.name.as_str())).count();
            prop_assert!(left > 0, "the last shard");
        }
        ShardingStep::MovePrimary { key, to, .. } => {
            prop_assert!(entry(key.set.as_str()).is_some_and(|e| e.draining));
            prop_assert!(stays(to.as_str()), "it would go to {}", to);
        }
        ShardingStep::StartBalancer { .. } => prop_assert!(!books.balancer.enabled),
        ShardingStep::AddConfigShard { .. } => prop_assert!(false, "nobody asked for it"),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_step_keeps_the_rules(shape in shape()) {
        let lines = shape.lines();
        let observation = make(&lines).observe();
        let judged = judge(&shape, &observation, &plan(&observation));
        prop_assert!(judged.is_ok(), "{}\n{judged:?}", lines.join("\n"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    /// Rule 15: plans come to an end, and each on the way keeps the rules.
    #[test]
    fn plans_come_to_an_end(shape in shape()) {
        let lines = shape.lines();
        let mut world = make(&lines);
        let mut told = Vec::new();
        for _ in 0..ROUNDS {
            let observation = world.observe();
            let plan = plan(&observation);
            let judged = judge(&shape, &observation, &plan);
            prop_assert!(judged.is_ok(), "{}\n{judged:?}", lines.join("\n"));
            if plan.steps.is_empty() {
                return Ok(());
            }
            told.extend(plan.steps.iter().map(|s| format!("{}: {s}", s.key())));
            world.apply_plan();
            world.catch_up();
        }
        prop_assert!(false, "{}\nno end:\n{}", lines.join("\n"), told.join("\n"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    /// One set in trouble, and books that cannot be read, stop no other set from healing: what is planned for a set
    /// that needs no restart is the same with and without the others.
    #[test]
    fn a_set_in_trouble_stops_no_healing(trouble in set(), readable in any::<bool>()) {
        let shard = |set| Shard {
            set,
            listed: true,
            draining: false,
            drain: false,
            chunks: 0,
            database: false,
            content: Content::Nothing,
            books_follow: true,
        };
        let shape = Shape {
            config: Set::Whole,
            shards: vec![shard(trouble), shard(Set::NoPrimary)],
            router: true,
            readable,
            balancer: true,
        };
        let mut world = make(&shape.lines());
        let observation = world.observe();
        let healed = |s: &&Step| s.key().set.as_str() == "s1";
        let steps = plan(&observation).steps;
        let elects = steps.iter().filter(healed).any(|s| matches!(s, Step::StandForElection { .. }));
        let votes = observation.members.iter().any(|(id, reading)| {
            let state = reading.seen().and_then(|r| r.in_set()).map(|r| r.state);
            id.as_str().starts_with("s1.") && state == Some(MemberState::Secondary)
        });
        prop_assert_eq!(elects, votes, "{:?}", steps);
        let Reading::Seen(swarm) = &observation.swarm else {
            return Ok(());
        };
        prop_assert!(swarm.tasks.values().any(|t| t.desired == DesiredState::Running));
    }
}
