//! Sharded clusters: their config servers, shards and routers as one thing. Config servers come first, shards are added
//! and removed through a router, and no shard is given up before it is empty (rule 17).

mod addition;
mod removal;
mod turn;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Verdict;
use super::roster::Roster;
use crate::intent::{Intent, Intents, Role, RouterIntent, Stop, mongod_port, option_value};
use crate::mongo::model::{CONFIG_SHARD, ClusterReport, RouterReport, ShardEntry};
use crate::names::{ClusterName, Host, ServiceId, SetName};
use crate::observation::{Observation, Reading, TaskSeen};
use crate::step::{Plan, ShardingFault, ShardingWait, Subject, Target};
use crate::swarm::model::{Task, TaskState};

/// One sharded cluster, as it is asked for and seen.
pub(super) struct Cluster<'a> {
    name: ClusterName,
    observation: &'a Observation,
    config: Vec<&'a Intent>,
    shards: Vec<&'a Intent>,
    routers: Vec<Routers<'a>>,
    /// Sets that a service stands for, also one with a mistake, which is left alone.
    explained: BTreeSet<&'a SetName>,
    report: Option<&'a Reading<ClusterReport>>,
    /// The shards in the books, by their sets.
    entries: BTreeMap<&'a SetName, &'a ShardEntry>,
    /// All its sets, in the order in which they may be disturbed; and what was planned for each.
    pub(super) sets: Vec<Roster<'a>>,
    pub(super) verdicts: Vec<Verdict>,
}

/// One service of routers, with its tasks.
struct Routers<'a> {
    intent: &'a RouterIntent,
    tasks: Vec<&'a Task>,
}

/// All clusters that have a service of a sharded cluster's own role.
pub(super) fn clusters<'a>(
    observation: &'a Observation,
    intents: &'a Intents,
    tasks: &HashMap<&ServiceId, Vec<TaskSeen<'a>>>,
) -> BTreeMap<ClusterName, Cluster<'a>> {
    let mut clusters: BTreeMap<ClusterName, Cluster<'a>> = BTreeMap::new();
    let new = |name: &ClusterName| {
        let report = observation.sharding.clusters.get(name);
        Cluster {
            name: name.clone(),
            observation,
            config: Vec::new(),
            shards: Vec::new(),
            routers: Vec::new(),
            explained: BTreeSet::new(),
            report,
            entries: report
                .and_then(Reading::seen)
                .map(ClusterReport::by_set)
                .unwrap_or_default(),
            sets: Vec::new(),
            verdicts: Vec::new(),
        }
    };
    for intent in intents.sets.values() {
        let name = &intent.key.cluster;
        if intent.role == Role::ReplicaSet {
            continue;
        }
        let cluster = clusters.entry(name.clone()).or_insert_with(|| new(name));
        cluster.explained.insert(&intent.key.set);
        match intent.role {
            Role::ReplicaSet => {}
            Role::ConfigServer => cluster.config.push(intent),
            Role::Shard => cluster.shards.push(intent),
        }
    }
    for intent in &intents.routers {
        let name = &intent.cluster;
        let cluster = clusters.entry(name.clone()).or_insert_with(|| new(name));
        let tasks = tasks.get(&intent.service).into_iter().flatten();
        let tasks = tasks.map(|(task, _)| *task).collect();
        cluster.routers.push(Routers { intent, tasks });
    }
    let bad = intents.bad.iter().filter_map(|b| b.key.as_ref());
    for key in bad.chain(intents.contested.keys()) {
        if let Some(cluster) = clusters.get_mut(&key.cluster) {
            cluster.explained.insert(&key.set);
        }
    }
    clusters
}

impl<'a> Cluster<'a> {
    /// The config servers, if it is clear which they are.
    fn config_servers(&self) -> Option<&Roster<'a>> {
        let [intent] = self.config.as_slice() else {
            return None;
        };
        self.sets.iter().find(|r| r.intent.key == intent.key)
    }

    /// The whole cluster is scaled to zero, so that nobody needs any part of it. A service with a mistake may ask for
    /// anything.
    fn is_stopped(&self) -> bool {
        let known = self.config.len() + self.shards.len();
        let mut all = self.config.iter().chain(&self.shards);
        known > 0 && known == self.explained.len() && all.all(|i| i.replicas == 0)
    }

    /// Whether a set that is scaled to zero is still needed, and why (rule 17). What cannot be read may be a shard.
    pub(super) fn keeps(&self, intent: &Intent) -> Option<ShardingFault> {
        if intent.replicas > 0 || self.is_stopped() {
            return None;
        }
        match intent.role {
            Role::ReplicaSet => None,
            Role::ConfigServer => Some(ShardingFault::ConfigServersNeeded {
                what: "scaled to 0",
            }),
            Role::Shard => {
                let is_no_shard = match self.report {
                    Some(Reading::Seen(_)) => !self.entries.contains_key(&intent.key.set),
                    Some(Reading::Unreachable { .. }) => false,
                    None => true,
                };
                (!is_no_shard).then(|| ShardingFault::ScaledToZero {
                    service: intent.name.clone(),
                    shard: intent.key.set.clone(),
                    is_known: self.entries.contains_key(&intent.key.set),
                })
            }
        }
    }

    /// Whether a mongod whose service is gone is still needed. A whole stack that goes takes all of the cluster's
    /// services with it, and then there is no cluster to ask.
    pub(super) fn keeps_orphan(&self, task: &Task) -> bool {
        let command = &task.container.command;
        let has = |option: &str| command.iter().any(|w| w == option);
        let Some(set) = option_value(command, "--replSet").map(SetName::new) else {
            return false;
        };
        if self.is_stopped() || self.explained.contains(&set) {
            return false;
        }
        if has("--configsvr") {
            return self.config.is_empty();
        }
        has("--shardsvr")
            && match self.report {
                Some(Reading::Seen(_)) => self.entries.contains_key(&set),
                Some(Reading::Unreachable { .. }) => true,
                None => false,
            }
    }

    /// What is done about the cluster as a whole.
    pub(super) fn plan(&mut self, plan: &mut Plan) {
        self.tell_structure(plan);
        self.tell_routers(plan);
        if let Some(Reading::Seen(report)) = self.report {
            self.tell_services_gone(report, plan);
        }
        let Some(config) = self.config_servers() else {
            return;
        };
        let primary = config.primary();
        if primary.is_none() && config.intent.replicas > 0 {
            let set = config.intent.key.set.clone();
            self.wait(plan, ShardingWait::ConfigServersFirst { set });
        }
        let report = match self.report {
            Some(Reading::Seen(report)) => report,
            Some(Reading::Unreachable { why, .. }) => {
                if primary.is_some() {
                    let why = why.clone();
                    self.wait(plan, ShardingWait::ClusterUnread { why });
                }
                return;
            }
            None => return,
        };
        let router = self.router();
        if router.is_none() && self.routers.iter().any(|r| r.intent.replicas != Some(0)) {
            self.wait(plan, ShardingWait::NoRouter);
        }
        self.add_shards(report, router.as_ref(), plan);
        self.add_config_shard(report, router.as_ref(), plan);
        self.drain(report, router.as_ref(), plan);
    }

    fn wait(&self, plan: &mut Plan, waiting: ShardingWait) {
        let subject = Subject::Cluster(self.name.clone());
        plan.waiting.push((subject, waiting.into()));
    }

    fn fault(&self, plan: &mut Plan, fault: ShardingFault) {
        let subject = Subject::Cluster(self.name.clone());
        plan.faults.push((subject, fault.into()));
    }

    fn tell_structure(&self, plan: &mut Plan) {
        match self.config.as_slice() {
            [] => {
                let what = match self.shards.is_empty() {
                    true => "routers",
                    false => "shards",
                };
                self.fault(plan, ShardingFault::NoConfigServers { what });
            }
            [config] => {
                let told = |r: &Routers<'a>| {
                    let found = &r.intent.config_db.as_ref()?.set;
                    (*found != config.key.set).then(|| (r.intent.name.clone(), found.clone()))
                };
                for (service, found) in self.routers.iter().filter_map(told) {
                    let wanted = config.key.set.clone();
                    let fault = ShardingFault::OtherConfigServers {
                        service,
                        found,
                        wanted,
                    };
                    self.fault(plan, fault);
                }
            }
            several => {
                let services = several.iter().map(|i| i.name.clone()).collect();
                self.fault(plan, ShardingFault::SeveralConfigServers { services });
            }
        }
        if self.routers.is_empty() && !self.config.is_empty() {
            self.fault(plan, ShardingFault::NoRouterService);
        }
    }

    fn tell_routers(&self, plan: &mut Plan) {
        for routers in &self.routers {
            let wanted: Vec<_> = routers.tasks.iter().filter(|t| t.is_wanted()).collect();
            let placed = wanted.iter().filter(|t| t.node.is_some()).count();
            if let Some(replicas) = routers.intent.replicas
                && (placed as u64) < replicas
            {
                let missing = ShardingWait::RoutersMissing {
                    service: routers.intent.name.clone(),
                    found: placed,
                    wanted: replicas,
                };
                self.wait(plan, missing);
            }
            for task in wanted.iter().filter(|t| t.node.is_some()) {
                let reading = self.observation.sharding.routers.get(&task.id);
                let why = match reading {
                    Some(Reading::Seen(_)) => continue,
                    Some(Reading::Unreachable { why, .. }) => why.clone(),
                    None => "its task is not running yet".to_owned(),
                };
                let router = router_host(routers.intent, task);
                let why = task.error.clone().unwrap_or(why);
                self.wait(plan, ShardingWait::RouterNotAnswering { router, why });
            }
        }
    }

    /// Shards in the books that no service stands for any more.
    fn tell_services_gone(&self, report: &ClusterReport, plan: &mut Plan) {
        let is_config = |name: &str| name == CONFIG_SHARD;
        let gone = report
            .shards
            .iter()
            .filter(|s| !is_config(s.name.as_str()) && !self.explained.contains(&s.set));
        for entry in gone {
            let shard = entry.name.clone();
            self.fault(plan, ShardingFault::ServiceGone { shard });
        }
    }

    /// The router that is asked: the first that answers.
    fn router(&self) -> Option<Target> {
        let answers = |task: &&&Task| {
            let reading = self.observation.sharding.routers.get(&task.id);
            task.is_wanted()
                && task.state == TaskState::Running
                && reading.is_some_and(|r| r.seen().is_some())
        };
        self.routers.iter().find_map(|routers| {
            let task = routers.tasks.iter().find(answers)?;
            let port = mongod_port(&task.container)?;
            Some(Target {
                task: task.id.clone(),
                host: router_host(routers.intent, task),
                address: (*task.addresses.first()?, port).into(),
            })
        })
    }

    /// All routers that answered.
    fn router_reports(&self) -> impl Iterator<Item = (Host, &'a RouterReport)> {
        self.routers.iter().flat_map(|routers| {
            routers.tasks.iter().filter_map(|task| {
                let report = self.observation.sharding.routers.get(&task.id)?.seen()?;
                Some((router_host(routers.intent, task), report))
            })
        })
    }
}

/// How a router is named for people: by service and slot, or node.
pub fn router_host(intent: &RouterIntent, task: &Task) -> Host {
    let place = match (task.slot, &task.node) {
        (Some(slot), _) => slot.to_string(),
        (None, Some(node)) => node.to_string(),
        (None, None) => task.id.to_string(),
    };
    Host::new(format!("{}.{place}", intent.name))
}

/// Whether a task serves on when it is told to stop.
fn is_held(task: &Task) -> bool {
    Stop::of(&task.container) == Stop::Held
}
