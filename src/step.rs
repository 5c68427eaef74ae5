//! What a plan is made of: steps, each one change to the world, and reasons for waiting.

mod advice;
mod remedy;
mod sharding;
mod waiting;

use std::fmt;
use std::net::SocketAddr;

pub use advice::advice;
pub use sharding::{RemovalCommand, ShardingFault, ShardingStep, ShardingWait};
pub use waiting::{Fault, Waiting};

use crate::mongo::model::SetConfig;
use crate::names::{ClusterName, Host, MemberId, ReplicaSetId, SetKey, TaskId};
use crate::swarm::model::{Claim, ClaimContent};

/// All that is to be done now, and why the rest is not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Steps. Those of one lane come one at a time.
    pub steps: Vec<Step>,
    /// What is waited for, with the set or service concerned.
    pub waiting: Vec<(Subject, Waiting)>,
    /// What a person has to mend.
    pub faults: Vec<(Subject, Fault)>,
}

/// What a wait or a fault is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// The whole Swarm.
    Swarm,
    /// A service whose set is not known.
    Service(crate::names::ServiceName),
    /// A replica set.
    Set(SetKey),
    /// A sharded cluster as a whole.
    Cluster(ClusterName),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Swarm => f.write_str("swarm"),
            Self::Service(name) => write!(f, "service {name}"),
            Self::Set(key) => write!(f, "{key}"),
            Self::Cluster(name) => write!(f, "cluster {name}"),
        }
    }
}

/// A mongod, or a router, that a step talks to: its host for people, its address for the connection. The address goes on
/// working when the name has left DNS.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// The task that it is.
    pub task: TaskId,
    /// Its host.
    pub host: Host,
    /// Its address.
    pub address: SocketAddr,
}

/// One change to the world. It leaves no choice, and names the state that it starts from.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Create the config object that gives the right to initiate, and records it for good.
    Claim {
        /// The set.
        key: SetKey,
        /// What is claimed.
        content: ClaimContent,
        /// The identity of a set that is adopted.
        replica_set_id: Option<ReplicaSetId>,
    },
    /// Keep the set's identity in its claim.
    RecordIdentity {
        /// The set.
        key: SetKey,
        /// The claim, as it was seen.
        claim: Claim,
        /// The identity.
        replica_set_id: ReplicaSetId,
    },
    /// `replSetInitiate`.
    Initiate {
        /// The set.
        key: SetKey,
        /// The claimed initiator.
        on: Target,
        /// The claimed members.
        config: Box<SetConfig>,
    },
    /// `replSetStepUp`: this member stands for election now.
    StandForElection {
        /// The set.
        key: SetKey,
        /// The candidate.
        on: Target,
        /// Why.
        why: Candidacy,
    },
    /// `replSetStepDown` on the primary, and `replSetStepUp` on its successor.
    HandOver {
        /// The set.
        key: SetKey,
        /// The primary.
        from: Target,
        /// Its successor.
        to: Target,
        /// All others that could be elected: they stand back for this moment (`replSetFreeze`).
        others: Vec<Target>,
        /// Whether the old primary has the higher priority, and would take the lead back while it is still needed: it
        /// then stands back for long.
        outranks: bool,
    },
    /// `replSetReconfig`, never with `force`.
    Reconfigure {
        /// The set.
        key: SetKey,
        /// The primary.
        on: Target,
        /// The configuration that it starts from, as the primary reported it.
        base: Box<SetConfig>,
        /// What changes, for people.
        changes: Vec<MemberChange>,
        /// The whole new configuration.
        config: Box<SetConfig>,
    },
    /// Lengthen the quiesce of members that are about to get SIGTERM, so that they can leave in order.
    ExtendQuiesce {
        /// The set.
        key: SetKey,
        /// The members.
        on: Vec<Target>,
        /// `shutdownTimeoutMillisForSignaledShutdown`.
        milliseconds: u64,
    },
    /// `shutdown`: end a mongod that Swarm has told to stop.
    ShutDown {
        /// The set.
        key: SetKey,
        /// The mongod.
        on: Target,
        /// Why it may end now.
        why: Ending,
    },
    /// A command to a router of a sharded cluster.
    Sharding(ShardingStep),
}

/// Why a member stands for election.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Candidacy {
    /// The set was just initiated.
    FirstElection,
    /// All voters are there, and none is primary.
    NoPrimary,
}

/// Why a mongod may end now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It is no longer a member.
    Removed,
    /// Its successor under the same name and data waits for it.
    Restart,
    /// The same, for the only member of a set: nobody can take over.
    RestartAlone,
    /// Its service is scaled to zero, or gone.
    Dissolved,
}

/// A change to one member of a configuration.
#[derive(Clone, Debug, PartialEq)]
pub enum MemberChange {
    /// A new member under a new `_id`; the server gives it its vote when it has caught up.
    Add {
        /// Its `_id`.
        id: MemberId,
        /// Its host.
        host: Host,
        /// Whether it is to vote.
        votes: bool,
    },
    /// A member leaves.
    Remove {
        /// Its `_id`.
        id: MemberId,
        /// Its host.
        host: Host,
    },
    /// A member that waited for one of the seven votes gets it.
    GiveVote {
        /// Its `_id`.
        id: MemberId,
        /// Its host.
        host: Host,
    },
    /// The same member is to be reached under another name or address.
    Rehost {
        /// Its `_id`.
        id: MemberId,
        /// Its host so far.
        from: Host,
        /// Its host from now on.
        to: Host,
    },
}

/// What runs one at a time: the changes of one set, or the end of one task.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// A replica set's configuration, primary or members.
    Set(SetKey),
    /// A set's claim in the Swarm.
    Claim(SetKey),
    /// The parameters of members that are about to get SIGTERM.
    Quiesce(SetKey),
    /// A mongod that nothing depends on any more.
    Task(TaskId),
    /// A set that becomes a shard.
    Shard(SetKey),
    /// Balancer, removals and moves of a sharded cluster.
    Cluster(ClusterName),
}

impl Step {
    /// The set that it is about.
    pub fn key(&self) -> &SetKey {
        match self {
            Self::Claim { key, .. }
            | Self::RecordIdentity { key, .. }
            | Self::Initiate { key, .. }
            | Self::StandForElection { key, .. }
            | Self::HandOver { key, .. }
            | Self::Reconfigure { key, .. }
            | Self::ExtendQuiesce { key, .. }
            | Self::ShutDown { key, .. } => key,
            Self::Sharding(step) => step.key(),
        }
    }

    /// What it must not run beside.
    pub fn lane(&self) -> Lane {
        match self {
            Self::ShutDown {
                on,
                why: Ending::Removed | Ending::Dissolved,
                ..
            } => Lane::Task(on.task.clone()),
            Self::Claim { key, .. } | Self::RecordIdentity { key, .. } => Lane::Claim(key.clone()),
            Self::ExtendQuiesce { key, .. } => Lane::Quiesce(key.clone()),
            Self::Initiate { .. }
            | Self::StandForElection { .. }
            | Self::HandOver { .. }
            | Self::Reconfigure { .. }
            | Self::ShutDown {
                why: Ending::Restart | Ending::RestartAlone,
                ..
            } => Lane::Set(self.key().clone()),
            Self::Sharding(step) => step.lane(),
        }
    }

    /// Its kind, as metrics and events name it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Claim { .. } => "claim",
            Self::RecordIdentity { .. } => "record-identity",
            Self::Initiate { .. } => "initiate",
            Self::StandForElection { .. } => "stand-for-election",
            Self::HandOver { .. } => "hand-over",
            Self::Reconfigure { .. } => "reconfigure",
            Self::ExtendQuiesce { .. } => "extend-quiesce",
            Self::ShutDown { .. } => "shut-down",
            Self::Sharding(step) => step.kind(),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Claim {
                content,
                replica_set_id,
                ..
            } => match (&content.initiator, replica_set_id) {
                (Some(host), _) => {
                    let members = content.members.join(", ");
                    write!(f, "claim: initiate on {host} with {members}")
                }
                (None, Some(id)) => write!(f, "claim: adopt the set {id}"),
                (None, None) => f.write_str("claim: adopt the set"),
            },
            Self::RecordIdentity { replica_set_id, .. } => {
                write!(f, "record in the claim: the set is {replica_set_id}")
            }
            Self::Initiate { on, config, .. } => {
                write!(
                    f,
                    "initiate on {} with {} members",
                    on.host,
                    config.members.len()
                )
            }
            Self::StandForElection { on, why, .. } => {
                write!(f, "stand for election: {} ({why})", on.host)
            }
            Self::HandOver {
                from, to, outranks, ..
            } => {
                let (from, to) = (&from.host, &to.host);
                write!(f, "hand over from {from} to {to}")?;
                match outranks {
                    true => write!(f, ", and keep {from} from taking it back"),
                    false => Ok(()),
                }
            }
            Self::Reconfigure { base, changes, .. } => {
                let changes: Vec<_> = changes.iter().map(ToString::to_string).collect();
                let from = base.config_version();
                write!(f, "reconfigure from {from}: {}", changes.join(", "))
            }
            Self::ExtendQuiesce {
                on, milliseconds, ..
            } => {
                let hosts: Vec<_> = on.iter().map(|t| t.host.as_str()).collect();
                write!(
                    f,
                    "extend quiesce to {milliseconds} ms: {}",
                    hosts.join(", ")
                )
            }
            Self::ShutDown { on, why, .. } => write!(f, "shut down {} ({why})", on.host),
            Self::Sharding(step) => step.fmt(f),
        }
    }
}

impl fmt::Display for Candidacy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FirstElection => "first election",
            Self::NoPrimary => "all voters are there, none is primary",
        })
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Removed => "no longer a member",
            Self::Restart => "its successor waits",
            Self::RestartAlone => "its successor waits; it is the only member",
            Self::Dissolved => "scaled to zero, or service gone",
        })
    }
}

impl fmt::Display for MemberChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Add { id, host, votes } => {
                let votes = if *votes { "" } else { " without a vote" };
                write!(f, "add {host} as {id}{votes}")
            }
            Self::Remove { id, host } => write!(f, "remove {host} ({id})"),
            Self::GiveVote { id, host } => write!(f, "give {host} ({id}) its vote"),
            Self::Rehost { id, from, to } => write!(f, "reach {from} ({id}) at {to}"),
        }
    }
}
