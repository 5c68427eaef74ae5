//! What a mongod says of itself and of its replica set, reduced to what is used here.

mod config;
mod sharding;

use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use config::{BEYOND_SEVEN, ConfigVersion, MemberConfig, SetConfig};
pub use sharding::{
    Balancer, CONFIG_SHARD, ClusterReport, Counts, Obstacles, Remaining, Removal, RemovalReply,
    RouterReport, ShardContent, ShardEntry, ShardIdentity,
};

use crate::names::{Host, MemberId, ReplicaSetId, SetName};

/// What one mongod answered.
#[derive(Clone, Debug, PartialEq)]
pub struct MemberReport {
    /// The server's version, as `buildInfo` gives it.
    pub version: ServerVersion,
    /// How long it quiesces after SIGTERM, in milliseconds (`shutdownTimeoutMillisForSignaledShutdown`); asked only
    /// of one that is told to stop.
    pub quiesce_ms: Option<u64>,
    /// Where it stands in replication.
    pub replication: Replication,
}

impl MemberReport {
    /// Its report as a member of a set, if it is one.
    pub fn in_set(&self) -> Option<&SetReport> {
        match &self.replication {
            Replication::InSet(report) => Some(report),
            Replication::NotEnabled
            | Replication::NotYetInitialised { .. }
            | Replication::LoadingConfig => None,
        }
    }
}

/// A server version: major, minor, patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ServerVersion(pub u32, pub u32, pub u32);

impl ServerVersion {
    /// The oldest that is supported: the first with `newlyAdded` members and any `_id` above 255
    /// (manual, "Replica Set Configuration").
    pub const OLDEST: Self = Self(5, 0, 0);

    /// Reads `6.0.5`, also with a suffix such as `-rc1`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(['.', '-', '+']);
        let mut next = || parts.next()?.parse().ok();
        Some(Self(next()?, next()?, next()?))
    }
}

impl fmt::Display for ServerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// Where a mongod stands in replication.
#[derive(Clone, Debug, PartialEq)]
pub enum Replication {
    /// It was started without `--replSet` (code 76).
    NotEnabled,
    /// It has no configuration, neither in use nor on its disk (code 94 and an empty `local.system.replset`).
    NotYetInitialised {
        /// Collections other than MongoDB's own: an initial sync would erase them.
        collections: u64,
    },
    /// It has a configuration on its disk, and is not yet done reading it (code 94 all the same).
    LoadingConfig,
    /// It has a configuration.
    InSet(Box<SetReport>),
}

/// What a mongod with a configuration says of its set.
#[derive(Clone, Debug, PartialEq)]
pub struct SetReport {
    /// Its own state.
    pub state: MemberState,
    /// Its own `_id`; `None` if it does not find itself in the configuration.
    pub self_id: Option<MemberId>,
    /// The election term that it knows.
    pub term: i64,
    /// The configuration, as it has it.
    pub config: SetConfig,
    /// Whether this configuration is committed (`commitmentStatus`); only a primary tells.
    pub committed: Option<bool>,
    /// Members that do not vote yet, although the configuration says so: the server gives them their vote when
    /// their initial sync is done (`newlyAdded`, kept in `local.system.replset`).
    pub newly_added: BTreeSet<MemberId>,
    /// How it sees all members.
    pub members: Vec<MemberStatus>,
    /// How far its own initial sync is, while one is under way.
    pub initial_sync: Option<InitialSync>,
}

impl SetReport {
    /// Who is in which state, and who is reached, as it sees it.
    pub fn member_states(&self) -> Vec<(MemberId, MemberState, bool)> {
        self.members
            .iter()
            .map(|m| (m.id, m.state, m.healthy))
            .collect()
    }

    /// How it sees one member.
    pub fn member(&self, id: MemberId) -> Option<&MemberStatus> {
        self.members.iter().find(|m| m.id == id)
    }

    /// Ids of the members whose vote counts in elections and commits today.
    pub fn voters(&self) -> BTreeSet<MemberId> {
        let votes = |m: &&MemberConfig| m.votes > 0 && !self.newly_added.contains(&m.id);
        self.config
            .members
            .iter()
            .filter(votes)
            .map(|m| m.id)
            .collect()
    }

    /// How far a member is behind the most recent position that this one knows, in whole seconds.
    pub fn lag_seconds(&self, id: MemberId) -> Option<i64> {
        let newest = self.members.iter().filter_map(|m| m.applied).max()?;
        let applied = self.member(id)?.applied?;
        Some(i64::from(newest.seconds) - i64::from(applied.seconds))
    }
}

/// How one member sees another, or itself.
#[derive(Clone, Debug, PartialEq)]
pub struct MemberStatus {
    /// The other's `_id`.
    pub id: MemberId,
    /// Its host.
    pub host: Host,
    /// Its state.
    pub state: MemberState,
    /// Whether heartbeats reach it.
    pub healthy: bool,
    /// The last position in the oplog that it has applied.
    pub applied: Option<OpTime>,
    /// Whom it replicates from.
    pub sync_source: Option<Host>,
    /// What its last heartbeat complained of.
    pub message: Option<String>,
}

/// How far an initial sync is (`initialSyncStatus`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitialSync {
    /// Bytes to be copied, as far as is known.
    pub bytes_in_all: Option<i64>,
    /// Bytes copied.
    pub bytes_copied: Option<i64>,
}

/// A position in the oplog. Orders as the server does: by term, then by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OpTime {
    /// The election term.
    pub term: i64,
    /// Seconds since 1970.
    pub seconds: u32,
    /// Count within the second.
    pub increment: u32,
}

/// A member's state (manual, "Replica Set Member States").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum MemberState {
    /// Not yet a member of any set.
    Startup,
    /// Takes writes.
    Primary,
    /// Replicates.
    Secondary,
    /// Cannot serve reads for now.
    Recovering,
    /// Has joined, and is copying the data.
    Startup2,
    /// Not known to the one who was asked.
    Unknown,
    /// Votes, and holds no data.
    Arbiter,
    /// Cannot be reached by the one who was asked.
    Down,
    /// Takes back writes that no majority has.
    Rollback,
    /// Was once in the set.
    Removed,
}

impl MemberState {
    /// The state with this number; `Unknown` for one that MongoDB does not list.
    pub fn from_number(number: i32) -> Self {
        match number {
            0 => Self::Startup,
            1 => Self::Primary,
            2 => Self::Secondary,
            3 => Self::Recovering,
            5 => Self::Startup2,
            7 => Self::Arbiter,
            8 => Self::Down,
            9 => Self::Rollback,
            10 => Self::Removed,
            _ => Self::Unknown,
        }
    }

    /// Whether it holds a complete copy of the data and takes part.
    pub fn is_data_bearing(self) -> bool {
        matches!(self, Self::Primary | Self::Secondary)
    }
}

impl fmt::Display for MemberState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Startup => "STARTUP",
            Self::Primary => "PRIMARY",
            Self::Secondary => "SECONDARY",
            Self::Recovering => "RECOVERING",
            Self::Startup2 => "STARTUP2",
            Self::Unknown => "UNKNOWN",
            Self::Arbiter => "ARBITER",
            Self::Down => "DOWN",
            Self::Rollback => "ROLLBACK",
            Self::Removed => "REMOVED",
        })
    }
}

/// The smallest number of votes that decides among so many.
pub fn majority(voters: usize) -> usize {
    voters / 2 + 1
}

/// When a `replicaSetId` was made, which its first four bytes tell (BSON specification, ObjectId).
pub fn initiated_at(id: &ReplicaSetId) -> Option<Timestamp> {
    let seconds = i64::from_str_radix(id.as_str().get(..8)?, 16).ok()?;
    Timestamp::from_second(seconds).ok()
}

/// A set's name and identity together, as messages show them.
pub fn describe(set: &SetName, id: Option<&ReplicaSetId>) -> String {
    match id {
        Some(id) => format!("{set} ({id})"),
        None => set.to_string(),
    }
}
