//! Steps, reasons and faults of sharded clusters.

use std::fmt;

use jiff::SignedDuration;
use thiserror::Error;

use super::{Lane, Target};
use crate::mongo::model::ServerVersion;
use crate::names::{Host, ServiceName, SetKey, SetName, ShardName};

/// One command to a router, all of them public ones.
#[derive(Clone, Debug, PartialEq)]
pub enum ShardingStep {
    /// `addShard`: a set becomes a shard.
    AddShard {
        /// The set.
        key: SetKey,
        /// The router.
        on: Target,
        /// Members by which it is found.
        seeds: Vec<Host>,
    },
    /// `balancerStart`.
    StartBalancer {
        /// The set that drains.
        key: SetKey,
        /// The router.
        on: Target,
    },
    /// `removeShard`, the first time, or to ask how far it is; the last time removes the shard.
    Remove {
        /// The set.
        key: SetKey,
        /// The router.
        on: Target,
        /// The shard.
        shard: ShardName,
        /// Which command it is.
        command: RemovalCommand,
        /// Whether it drains already.
        draining: bool,
    },
    /// `movePrimary`: a database leaves a shard that drains.
    MovePrimary {
        /// The set that drains.
        key: SetKey,
        /// The router.
        on: Target,
        /// The database.
        database: String,
        /// Where it goes.
        to: ShardName,
    },
    /// `transitionFromDedicatedConfigServer`: the config servers become a shard, too.
    AddConfigShard {
        /// The config servers' set.
        key: SetKey,
        /// The router.
        on: Target,
    },
}

/// The command that empties and removes a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemovalCommand {
    /// `removeShard`.
    RemoveShard,
    /// `transitionToDedicatedConfigServer`, which answers alike.
    ToDedicatedConfigServer,
}

impl ShardingStep {
    /// The set that it is about.
    pub fn key(&self) -> &SetKey {
        match self {
            Self::AddShard { key, .. }
            | Self::StartBalancer { key, .. }
            | Self::Remove { key, .. }
            | Self::MovePrimary { key, .. }
            | Self::AddConfigShard { key, .. } => key,
        }
    }

    /// What it must not run beside. The server itself adds one shard after the other; one that it refuses must not
    /// hold up the next.
    pub(super) fn lane(&self) -> Lane {
        match self {
            Self::AddShard { key, .. } | Self::AddConfigShard { key, .. } => {
                Lane::Shard(key.clone())
            }
            Self::StartBalancer { key, .. }
            | Self::Remove { key, .. }
            | Self::MovePrimary { key, .. } => Lane::Cluster(key.cluster.clone()),
        }
    }

    /// Its kind, as metrics and events name it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::AddShard { .. } => "add-shard",
            Self::StartBalancer { .. } => "start-balancer",
            Self::Remove { .. } => "remove-shard",
            Self::MovePrimary { .. } => "move-primary",
            Self::AddConfigShard { .. } => "add-config-shard",
        }
    }
}

impl fmt::Display for ShardingStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddShard { key, on, seeds } => {
                let seeds: Vec<_> = seeds.iter().map(Host::as_str).collect();
                let (set, router) = (&key.set, &on.host);
                write!(f, "add shard {set}/{} through {router}", seeds.join(","))
            }
            Self::StartBalancer { on, .. } => write!(f, "start the balancer through {}", on.host),
            Self::Remove {
                on,
                shard,
                draining: false,
                ..
            } => write!(f, "begin to drain shard {shard} through {}", on.host),
            Self::Remove { on, shard, .. } => {
                write!(f, "go on removing shard {shard} through {}", on.host)
            }
            Self::MovePrimary {
                on, database, to, ..
            } => write!(f, "move database {database} to {to} through {}", on.host),
            Self::AddConfigShard { key, on } => {
                write!(
                    f,
                    "make config servers {} a shard through {}",
                    key.set, on.host
                )
            }
        }
    }
}

/// Something that comes by itself.
#[derive(Clone, Debug, PartialEq, Error, strum::IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum ShardingWait {
    /// A router does not answer.
    #[error(
        "router {router} does not answer yet ({why}); it listens once it has reached the config servers: see docker service logs"
    )]
    RouterNotAnswering {
        /// Which.
        router: Host,
        /// The last error.
        why: String,
    },
    /// Swarm has not made all routers yet.
    #[error("{found} of {wanted} routers of {service} are assigned to a node")]
    RoutersMissing {
        /// The service.
        service: ServiceName,
        /// How many there are.
        found: usize,
        /// How many the service asks for.
        wanted: u64,
    },
    /// Nothing can be asked for.
    #[error("no router answers: shards are added and removed through one")]
    NoRouter,
    /// The cluster's own books cannot be read.
    #[error(
        "config.shards cannot be read ({why}): until it can, no shard is added, drained or given up"
    )]
    ClusterUnread {
        /// The last error.
        why: String,
    },
    /// Config servers before shards.
    #[error("config servers {set} have no primary yet: shards are added once they have one")]
    ConfigServersFirst {
        /// Their set.
        set: SetName,
    },
    /// A set that is to be a shard is not ready for it.
    #[error("{set} is added as a shard once it has a primary")]
    ShardWithoutPrimary {
        /// The set.
        set: SetName,
    },
    /// What a set holds is not known.
    #[error("{set} is added as a shard once its primary has told which databases it holds ({why})")]
    ContentUnread {
        /// The set.
        set: SetName,
        /// The last error.
        why: String,
    },
    /// The books lag behind the members.
    #[error(
        "config.shards does not list {} of shard {shard} yet: no member is restarted or removed until it does (a router tells the config servers; if it stays so, restart one)",
        join(hosts)
    )]
    BooksBehind {
        /// The shard.
        shard: ShardName,
        /// Members that are missing there.
        hosts: Vec<Host>,
    },
    /// One voluntary disruption at a time.
    #[error(
        "it waits for its turn, one restart at a time over the whole cluster: {set} is not whole ({why})"
    )]
    InTurn {
        /// Who comes first.
        set: SetName,
        /// What is the matter there.
        why: String,
    },
    /// A shard drains.
    #[error(
        "shard {shard} drains: {chunks} chunks ({jumbo} jumbo) and {databases} databases are left{}",
        progress(*rate, *left)
    )]
    Draining {
        /// The shard.
        shard: ShardName,
        /// Chunks left.
        chunks: u64,
        /// Jumbo chunks among them.
        jumbo: u64,
        /// Databases left.
        databases: u64,
        /// Chunks in a minute.
        rate: Option<f64>,
        /// How long it will take.
        left: Option<SignedDuration>,
    },
    /// A database is being moved.
    #[error(
        "database {database} moves from {shard} to {to}: leave its unsharded collections alone until it has (MongoDB refuses writes there meanwhile, and its manual warns of losing them)"
    )]
    MovingDatabase {
        /// The database.
        database: String,
        /// From.
        shard: ShardName,
        /// To.
        to: ShardName,
    },
    /// A shard begins to drain.
    #[error("shard {shard} begins to drain")]
    DrainBegins {
        /// The shard.
        shard: ShardName,
    },
    /// A shard is empty, and files are being tidied up.
    #[error("shard {shard} is empty; its moved ranges are still being deleted")]
    PendingCleanup {
        /// The shard.
        shard: ShardName,
    },
    /// Without the balancer nothing leaves a shard.
    #[error("the balancer is off, and shard {shard} cannot drain without it: it is started")]
    BalancerOff {
        /// The shard.
        shard: ShardName,
    },
    /// The balancer rests for a part of the day.
    #[error("the balancer runs from {start} to {stop} only: shard {shard} drains in this time")]
    BalancerWindow {
        /// The shard.
        shard: ShardName,
        /// From.
        start: String,
        /// To.
        stop: String,
    },
    /// One shard drains at a time.
    #[error("shard {shard} is to be drained, and waits until {other} is removed: one at a time")]
    DrainInTurn {
        /// Who waits.
        shard: ShardName,
        /// For whom.
        other: ShardName,
    },
    /// Somebody else drains it.
    #[error(
        "shard {shard} is being drained, and its service does not ask for it: set swarmset.drain: \"true\" to have it finished here"
    )]
    DrainNotAsked {
        /// The shard.
        shard: ShardName,
    },
    /// Done, and the rest is a person's.
    #[error("{set} is no shard of this cluster any more: safe to remove service {service}")]
    SafeToRemove {
        /// The set.
        set: SetName,
        /// Its service.
        service: ServiceName,
    },
    /// The config servers are no shard any more.
    #[error("config servers {set} are no shard any more: swarmset.drain can be taken away")]
    ConfigShardDrained {
        /// Their set.
        set: SetName,
    },
}

/// Something that a person has to mend.
#[derive(Clone, Debug, PartialEq, Error, strum::IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum ShardingFault {
    /// Shards or routers without config servers.
    #[error(
        "it has {what}, and no service with swarmset.role: config-server that can be followed; deploy one, or set the same swarmset.cluster on all of the cluster's services"
    )]
    NoConfigServers {
        /// What it has.
        what: &'static str,
    },
    /// Two services of config servers.
    #[error("config servers are what services {} say they are; a cluster has one such service", services.iter().map(ServiceName::as_str).collect::<Vec<_>>().join(" and "))]
    SeveralConfigServers {
        /// The services.
        services: Vec<ServiceName>,
    },
    /// No service of routers.
    #[error("no service with swarmset.role: router: shards are added and removed through one")]
    NoRouterService,
    /// A router of another cluster.
    #[error(
        "routers of {service} are told --configdb {found}/..., and the config servers are {wanted}: make them the same"
    )]
    OtherConfigServers {
        /// The routers' service.
        service: ServiceName,
        /// The set that they are told.
        found: SetName,
        /// The set that there is.
        wanted: SetName,
    },
    /// A set with databases is no shard yet.
    #[error(
        "{set} holds databases of its own ({}) and is not added as a shard: drop them, or deploy it with an empty volume; to take them into the cluster, run addShard by hand",
        databases.join(", ")
    )]
    HoldsData {
        /// The set.
        set: SetName,
        /// Its databases.
        databases: Vec<String>,
    },
    /// A shard of another cluster.
    #[error(
        "{set} is shard {shard} of another cluster ({found}), and this one is {ours}: it is not added; deploy it there, or with an empty volume"
    )]
    OtherCluster {
        /// The set.
        set: SetName,
        /// Its name there.
        shard: ShardName,
        /// That cluster.
        found: String,
        /// Ours.
        ours: String,
    },
    /// Another set is a shard under this name.
    #[error(
        "shard {set} is already {}, and none of these is a member of service {service}: give the service another --replSet",
        join(hosts)
    )]
    NameTaken {
        /// The name.
        set: SetName,
        /// Who has it.
        hosts: Vec<Host>,
        /// Who wants it.
        service: ServiceName,
    },
    /// The last shard holds everything.
    #[error(
        "shard {shard} is the last one that is to stay, and holds the cluster's data: it is not drained; deploy another shard first"
    )]
    LastShard {
        /// The shard.
        shard: ShardName,
    },
    /// Chunks that the balancer does not move.
    #[error(
        "shard {shard} has {count} jumbo chunks, which the balancer does not move{}: split them (sh.splitAt), refine the shard key, or clear the mark (clearJumboFlag)",
        named(chunks)
    )]
    JumboChunks {
        /// The shard.
        shard: ShardName,
        /// How many.
        count: u64,
        /// Some of them.
        chunks: Vec<String>,
    },
    /// Collections that are not balanced.
    #[error("shard {shard} cannot drain: balancing is off for {}: sh.enableBalancing(...)", collections.join(", "))]
    NotBalanced {
        /// The shard.
        shard: ShardName,
        /// The collections.
        collections: Vec<String>,
    },
    /// Collections that only a person moves.
    #[error("shard {shard} cannot drain before these unsharded collections are moved away: {} (moveCollection)", collections.join(", "))]
    CollectionsToMove {
        /// The shard.
        shard: ShardName,
        /// The collections.
        collections: Vec<String>,
    },
    /// A shard that was not drained is scaled to zero.
    #[error(
        "service {service} is scaled to 0, and {}: its members are kept for as long as Swarm lets them; scale it back, or deploy it with swarmset.drain: \"true\" and wait until it is safe",
        if *is_known { format!("shard {shard} was not drained to its end") } else { format!("whether shard {shard} was drained cannot be read") }
    )]
    ScaledToZero {
        /// The service.
        service: ServiceName,
        /// The shard.
        shard: SetName,
        /// Whether it stands in the books; otherwise these cannot be read.
        is_known: bool,
    },
    /// The service of a shard that was not drained is gone.
    #[error(
        "shard {shard} has no service any more and was not drained to its end: its data is kept where it is; deploy its service again, and drain it (swarmset.drain: \"true\") before it is removed"
    )]
    ServiceGone {
        /// The shard.
        shard: ShardName,
    },
    /// Nothing works without the config servers.
    #[error(
        "the config servers are {what}, and the cluster has shards that are to run: they are kept for as long as Swarm lets them; bring the service back"
    )]
    ConfigServersNeeded {
        /// What became of their service.
        what: &'static str,
    },
    /// Servers that know no config shard.
    #[error("swarmset.config-shard needs MongoDB 8.0 or later everywhere; {host} runs {found}")]
    ConfigShardTooOld {
        /// Which.
        host: Host,
        /// Its version.
        found: ServerVersion,
    },
}

fn join(hosts: &[Host]) -> String {
    let hosts: Vec<_> = hosts.iter().map(Host::as_str).collect();
    hosts.join(", ")
}

fn named(chunks: &[String]) -> String {
    match chunks.is_empty() {
        true => String::new(),
        false => format!(" ({})", chunks.join(", ")),
    }
}

fn progress(rate: Option<f64>, left: Option<SignedDuration>) -> String {
    match (rate, left) {
        (Some(rate), Some(left)) => format!("; {rate:.1} chunks a minute, about {left:#} to go"),
        _ => String::new(),
    }
}
