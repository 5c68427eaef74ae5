//! What routers, `config.*` and shards say of a sharded cluster, reduced to what is used here.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::ServerVersion;
use crate::names::{Host, SetName, ShardName};

/// The `_id` that the config servers have as a shard (manual, "Config Shards").
pub const CONFIG_SHARD: &str = "config";

/// What one router answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterReport {
    /// Its version, as `buildInfo` gives it.
    pub version: ServerVersion,
    /// Its `--configdb`, as `getCmdLineOpts` gives it.
    pub config_db: Option<String>,
}

/// What `config.*` says of a cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClusterReport {
    /// The cluster's identity (`config.version`), as 24 hexadecimal digits.
    pub cluster_id: Option<String>,
    /// The shards (`config.shards`).
    pub shards: Vec<ShardEntry>,
    /// The balancer's settings (`config.settings`).
    pub balancer: Balancer,
    /// Databases whose primary is a shard that drains (`config.databases`).
    pub to_move: BTreeMap<ShardName, Vec<String>>,
    /// How far each removal is, as far as this agent has asked.
    pub removals: BTreeMap<ShardName, Removal>,
    /// What keeps ranges on a shard that drains.
    pub obstacles: BTreeMap<ShardName, Obstacles>,
    /// Databases and chunks, shard by shard, of a while ago.
    pub counts: Option<Counts>,
}

impl ClusterReport {
    /// The shards by their replica sets.
    pub fn by_set(&self) -> BTreeMap<&SetName, &ShardEntry> {
        self.shards.iter().map(|s| (&s.set, s)).collect()
    }

    /// The config servers as a shard.
    pub fn config_shard(&self) -> Option<&ShardEntry> {
        let is_config = |s: &&ShardEntry| s.name.as_str() == CONFIG_SHARD;
        self.shards.iter().find(is_config)
    }
}

/// One shard in `config.shards`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardEntry {
    /// Its `_id`.
    pub name: ShardName,
    /// Its replica set.
    pub set: SetName,
    /// The members that the cluster knows.
    pub hosts: Vec<Host>,
    /// Whether it is being emptied.
    pub draining: bool,
}

impl ShardEntry {
    /// Reads `_id` and `host`, which is `<set>/<host>,<host>...`.
    pub fn parse(name: &str, host: &str, draining: bool) -> Self {
        let (set, hosts) = host.split_once('/').unwrap_or((name, host));
        Self {
            name: ShardName::new(name),
            set: SetName::new(set),
            hosts: hosts.split(',').map(Host::from).collect(),
            draining,
        }
    }
}

/// The balancer's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balancer {
    /// Whether it may run at all.
    pub enabled: bool,
    /// The time of day in which it runs, if it is not the whole day.
    pub window: Option<(String, String)>,
}

impl Default for Balancer {
    /// MongoDB's default, where nothing is set.
    fn default() -> Self {
        Self {
            enabled: true,
            window: None,
        }
    }
}

/// What `removeShard` answered (manual, "removeShard").
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemovalReply {
    /// The shard begins to drain.
    Started,
    /// It drains.
    Ongoing(Remaining),
    /// It is empty, and its ranges are still being deleted (8.0 and later, for the config shard).
    PendingCleanup,
    /// It is no shard any more.
    Completed,
}

/// What is left on a shard that drains.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remaining {
    /// Chunks of sharded collections, jumbo chunks among them.
    pub chunks: u64,
    /// Databases whose primary it is.
    pub databases: u64,
    /// Chunks that are too large to be moved.
    pub jumbo_chunks: u64,
    /// Unsharded collections that were moved there (8.0 and later).
    pub collections_to_move: Vec<String>,
}

/// A removal that this agent has asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    /// When it first knew how much was left, and how many chunks that were.
    pub first: Option<(Timestamp, u64)>,
    /// When it last asked.
    pub asked: Timestamp,
    /// The last answer.
    pub reply: RemovalReply,
}

impl Removal {
    /// Chunks that have left in a minute, since this agent first asked.
    pub fn chunks_a_minute(&self) -> Option<f64> {
        let RemovalReply::Ongoing(now) = &self.reply else {
            return None;
        };
        let (since, before) = self.first?;
        let minutes = self.asked.duration_since(since).as_secs_f64() / 60.0;
        let gone = before.checked_sub(now.chunks).filter(|gone| *gone > 0)?;
        (minutes > 0.0).then(|| gone as f64 / minutes)
    }

    /// How long it will take at that rate.
    pub fn time_left(&self) -> Option<SignedDuration> {
        let RemovalReply::Ongoing(now) = &self.reply else {
            return None;
        };
        let minutes = now.chunks as f64 / self.chunks_a_minute()?;
        Some(SignedDuration::from_secs((minutes * 60.0).ceil() as i64))
    }
}

/// What keeps ranges on a shard that drains.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Obstacles {
    /// Some of its jumbo chunks: collection and lower bound.
    pub jumbo_chunks: Vec<String>,
    /// Collections with chunks there for which balancing is switched off.
    pub not_balanced: Vec<String>,
}

/// How much each shard has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    /// When it was counted.
    pub at: Timestamp,
    /// Databases by primary.
    pub databases: BTreeMap<ShardName, u64>,
    /// Chunks.
    pub chunks: BTreeMap<ShardName, u64>,
}

/// What the primary of a set that is to be a shard, or is drained, holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardContent {
    /// The cluster that it was added to.
    pub identity: Option<ShardIdentity>,
    /// Databases that are not MongoDB's own, with their size on disk in bytes where the shard drains, else 0.
    pub databases: BTreeMap<String, u64>,
}

/// The document `shardIdentity` on a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardIdentity {
    /// The cluster's identity.
    pub cluster_id: String,
    /// Its name there.
    pub shard: ShardName,
}
