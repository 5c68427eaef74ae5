//! One sharded cluster in the status, as one thing.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Reason, Reasons, SetEntry};
use crate::intent::{Intents, Role, RouterIntent};
use crate::mongo::model::{Balancer, ClusterReport, RemovalReply, ShardEntry as Books};
use crate::names::{ClusterName, SetKey};
use crate::observation::{Observation, Reading};
use crate::plan::router_host;
use crate::step::{Plan, Subject};
use crate::swarm::model::{Swarm, Task};

/// One sharded cluster.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClusterEntry {
    /// Its name.
    pub cluster: String,
    /// Whether all of it is as its services ask for: config servers, shards, routers, and nothing to be waited for.
    pub converged: bool,
    /// Its identity.
    pub cluster_id: Option<String>,
    /// Whether `config.*` could be read.
    pub readable: bool,
    /// The config servers: their entry in `sets`, by `<cluster>/<set>`.
    pub config_servers: Option<String>,
    /// The shards that `config.shards` lists, and sets that are to be.
    pub shards: Vec<ShardStatus>,
    /// The routers.
    pub routers: Vec<RouterEntry>,
    /// The balancer; `null` while it is not known.
    pub balancer: Option<BalancerEntry>,
    /// The versions of all members and routers that answer, with how many there are of each.
    pub versions: BTreeMap<String, u64>,
    /// When databases and chunks were counted.
    pub counted: Option<Timestamp>,
    /// What is waited for, for the cluster as a whole.
    pub waiting: Vec<Reason>,
    /// What a person has to mend, for the cluster as a whole.
    pub faults: Vec<Reason>,
}

/// One shard.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ShardStatus {
    /// Its name in `config.shards`.
    pub shard: String,
    /// Its set, as an entry in `sets`; `null`: no service stands for it.
    pub set: Option<String>,
    /// Its service.
    pub service: Option<String>,
    /// `not-added`, `serving`, `draining` or `removed` (drained, and no shard any more).
    pub state: Cow<'static, str>,
    /// The members that the cluster knows.
    pub hosts: Vec<String>,
    /// Databases whose primary it is, when they were counted.
    pub databases: Option<u64>,
    /// Chunks of sharded collections, when they were counted.
    pub chunks: Option<u64>,
    /// How far its removal is.
    pub drain: Option<DrainEntry>,
}

/// How far a removal is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct DrainEntry {
    /// `removeShard`'s last state.
    pub state: Cow<'static, str>,
    /// Chunks that are left.
    pub chunks: Option<u64>,
    /// Jumbo chunks among them, which the balancer does not move.
    pub jumbo_chunks: Option<u64>,
    /// Databases that are left.
    pub databases: Vec<String>,
    /// Bytes on disk in databases that are not MongoDB's own.
    pub bytes: Option<u64>,
    /// Chunks that have left in a minute.
    pub chunks_a_minute: Option<f64>,
    /// Seconds that are left at that rate.
    pub seconds_left: Option<i64>,
}

/// One router.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RouterEntry {
    /// Its service and slot.
    pub router: String,
    /// Its task.
    pub task: String,
    /// Its node's host name.
    pub node: Option<String>,
    /// Whether it answers.
    pub reachable: bool,
    /// Why it does not.
    pub why: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// Its `--configdb`.
    pub config_db: Option<String>,
}

/// The balancer's settings.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BalancerEntry {
    /// Whether it may run.
    pub enabled: bool,
    /// From when to when, if not all day.
    pub window: Option<[String; 2]>,
}

impl From<&Balancer> for BalancerEntry {
    fn from(balancer: &Balancer) -> Self {
        let window = balancer.window.clone();
        Self {
            enabled: balancer.enabled,
            window: window.map(|(start, stop)| [start, stop]),
        }
    }
}

/// All clusters that have config servers or routers.
pub(super) fn clusters(
    observation: &Observation,
    swarm: &Swarm,
    intents: &Intents,
    plan: &Plan,
    sets: &[SetEntry],
    reasons: &Reasons,
) -> Vec<ClusterEntry> {
    let tasks = observation.tasks_by_service(swarm);
    let seen = observation.sharding.clusters.iter();
    let entries = seen.map(|(name, reading)| {
        let routers = intents.routers.iter().filter(|r| r.cluster == *name);
        let routers = routers.flat_map(|intent| {
            let tasks = tasks.get(&intent.service).into_iter().flatten();
            let running = tasks.map(|(task, _)| *task).filter(|t| t.is_wanted());
            running.map(|task| router(observation, swarm, intent, task))
        });
        let cluster = Cluster {
            name,
            observation,
            intents,
            report: reading.seen(),
        };
        cluster.entry(routers.collect(), plan, sets, reasons)
    });
    entries.collect()
}

struct Cluster<'a> {
    name: &'a ClusterName,
    observation: &'a Observation,
    intents: &'a Intents,
    report: Option<&'a ClusterReport>,
}

impl Cluster<'_> {
    fn entry(
        &self,
        routers: Vec<RouterEntry>,
        plan: &Plan,
        sets: &[SetEntry],
        reasons: &Reasons,
    ) -> ClusterEntry {
        let about = Subject::Cluster(self.name.clone()).to_string();
        let of = |all: &[Reason]| all.iter().filter(|r| r.about == about).cloned().collect();
        let (waiting, faults): (Vec<_>, Vec<_>) = (of(&reasons.waiting), of(&reasons.faults));
        let its: Vec<_> = sets
            .iter()
            .filter(|s| s.cluster == self.name.as_str())
            .collect();
        let sets_converged = its.iter().all(|s| s.converged);
        let no_step = !plan.steps.iter().any(|s| s.key().cluster == *self.name);
        let reachable = routers.iter().all(|r| r.reachable);
        let quiet = waiting.is_empty() && faults.is_empty() && no_step;
        let mut versions: BTreeMap<String, u64> = BTreeMap::new();
        let members = its.iter().flat_map(|s| &s.tasks).map(|t| t.version.clone());
        let all = members.chain(routers.iter().map(|r| r.version.clone()));
        for version in all.flatten() {
            *versions.entry(version).or_default() += 1;
        }
        let config = self.sets_of(Role::ConfigServer).next();
        ClusterEntry {
            cluster: self.name.to_string(),
            converged: quiet && sets_converged && reachable && self.report.is_some(),
            cluster_id: self.report.and_then(|r| r.cluster_id.clone()),
            readable: self.report.is_some(),
            config_servers: config.map(|(key, ..)| key.to_string()),
            shards: self.shards(),
            routers,
            balancer: self.report.map(|r| (&r.balancer).into()),
            versions,
            counted: self.report.and_then(|r| Some(r.counts.as_ref()?.at)),
            waiting,
            faults,
        }
    }

    fn sets_of(&self, role: Role) -> impl Iterator<Item = (&SetKey, String, bool)> {
        let ours = self.intents.sets.values();
        let ours = ours.filter(move |i| i.role == role && i.key.cluster == *self.name);
        ours.map(|i| (&i.key, i.name.to_string(), i.drain))
    }

    fn shards(&self) -> Vec<ShardStatus> {
        let entries = self.report.map(|r| r.shards.as_slice()).unwrap_or_default();
        let mut by_set: BTreeMap<_, _> = entries.iter().map(|e| (&e.set, e)).collect();
        let mut shards = Vec::new();
        let config = self.sets_of(Role::ConfigServer);
        let config = config.filter(|(key, ..)| by_set.contains_key(&key.set));
        let config: Vec<_> = config.collect();
        for (key, service, drain) in self.sets_of(Role::Shard).chain(config) {
            let entry = by_set.remove(&key.set);
            shards.push(self.shard(entry, Some((key, service, drain))));
        }
        shards.extend(
            by_set
                .into_values()
                .map(|entry| self.shard(Some(entry), None)),
        );
        shards
    }

    fn shard(
        &self,
        entry: Option<&Books>,
        service: Option<(&SetKey, String, bool)>,
    ) -> ShardStatus {
        let drains = service.as_ref().is_some_and(|(.., drain)| *drain);
        let name = match (entry, &service) {
            (Some(entry), _) => entry.name.to_string(),
            (None, Some((key, ..))) => key.set.to_string(),
            (None, None) => String::new(),
        };
        let counts = self.report.and_then(|r| r.counts.as_ref());
        let count = |all: &BTreeMap<_, u64>| {
            let shard = &entry?.name;
            Some(all.get(shard).copied().unwrap_or(0))
        };
        let key = service.as_ref().map(|(key, ..)| *key);
        ShardStatus {
            shard: name,
            set: key.map(ToString::to_string),
            state: match entry {
                Some(entry) if entry.draining => "draining",
                Some(_) => "serving",
                None if drains && self.report.is_some() => "removed",
                None => "not-added",
            }
            .into(),
            hosts: entry
                .into_iter()
                .flat_map(|e| &e.hosts)
                .map(ToString::to_string)
                .collect(),
            databases: counts.and_then(|c| count(&c.databases)),
            chunks: counts.and_then(|c| count(&c.chunks)),
            drain: entry.filter(|e| e.draining).map(|e| self.drain(e, key)),
            service: service.map(|(_, service, _)| service),
        }
    }

    fn drain(&self, entry: &Books, key: Option<&SetKey>) -> DrainEntry {
        let contents = &self.observation.sharding.contents;
        let content = key.and_then(|key| contents.get(key)?.seen());
        let bytes = content.map(|c| c.databases.values().sum());
        let databases = self.report.and_then(|r| r.to_move.get(&entry.name));
        let removal = self.report.and_then(|r| r.removals.get(&entry.name));
        let mut drain = DrainEntry {
            state: "not asked".into(),
            databases: databases.cloned().unwrap_or_default(),
            bytes,
            ..DrainEntry::default()
        };
        if let Some(removal) = removal {
            drain.state = match &removal.reply {
                RemovalReply::Started => "started",
                RemovalReply::Ongoing(_) => "ongoing",
                RemovalReply::PendingCleanup => "pendingDataCleanup",
                RemovalReply::Completed => "completed",
            }
            .into();
            if let RemovalReply::Ongoing(left) = &removal.reply {
                drain.chunks = Some(left.chunks);
                drain.jumbo_chunks = Some(left.jumbo_chunks);
            }
            drain.chunks_a_minute = removal.chunks_a_minute();
            drain.seconds_left = removal.time_left().map(|left| left.as_secs());
        }
        drain
    }
}

fn router(
    observation: &Observation,
    swarm: &Swarm,
    intent: &RouterIntent,
    task: &Task,
) -> RouterEntry {
    let reading = observation.sharding.routers.get(&task.id);
    let report = reading.and_then(Reading::seen);
    let node = task.node.as_ref().and_then(|id| swarm.nodes.get(id));
    RouterEntry {
        router: router_host(intent, task).to_string(),
        task: task.id.to_string(),
        node: node.map(|n| n.hostname.clone()),
        reachable: report.is_some(),
        why: match reading {
            Some(Reading::Seen(_)) => None,
            Some(Reading::Unreachable { why, .. }) => Some(why.clone()),
            None => Some("not asked".to_owned()),
        },
        version: report.map(|r| r.version.to_string()),
        config_db: report.and_then(|r| r.config_db.clone()),
    }
}
