//! A replica set's configuration: the fields that are decided here, and all others kept as they are.

use std::fmt;

use bson::{Bson, Document};
use serde::{Deserialize, Serialize};

use crate::names::{Host, MemberId, ReplicaSetId, SetName};

/// The tag that marks a member which has no vote only because seven others have one.
/// It tells such a member from one whose vote a person took away.
pub const BEYOND_SEVEN: &str = "swarmsetBeyondSeven";

/// The tag that keeps a member's name while it is reached at its address.
pub const NAME_OF_HELD: &str = "swarmsetName";

/// A replica set's configuration (manual, "Replica Set Configuration").
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SetConfig {
    /// The set's name.
    #[serde(rename = "_id")]
    pub set: SetName,
    /// Rises by one with each change.
    pub version: i64,
    /// The term in which it was made; not there before the first election.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub term: Option<i64>,
    /// The members.
    pub members: Vec<MemberConfig>,
    /// `settings`, `replicaSetId` among them.
    #[serde(default)]
    pub settings: Document,
    /// All other fields.
    #[serde(flatten)]
    pub other: Document,
}

/// One member in a configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemberConfig {
    /// Its `_id`.
    #[serde(rename = "_id")]
    pub id: MemberId,
    /// Its host and port.
    pub host: Host,
    /// 0 or 1.
    #[serde(default = "one")]
    pub votes: i32,
    /// 0 to 1000; 0: never primary.
    #[serde(default = "one_point_zero")]
    pub priority: f64,
    /// Not shown to clients.
    #[serde(default)]
    pub hidden: bool,
    /// Holds no data.
    #[serde(default, rename = "arbiterOnly")]
    pub arbiter_only: bool,
    /// Tags.
    #[serde(default)]
    pub tags: Document,
    /// All other fields.
    #[serde(flatten)]
    pub other: Document,
}

fn one() -> i32 {
    1
}

fn one_point_zero() -> f64 {
    1.0
}

/// Which configuration: by term, then version, as the server orders them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigVersion {
    /// The term; -1 where there is none.
    pub term: i64,
    /// The version.
    pub version: i64,
}

impl fmt::Display for ConfigVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version {} term {}", self.version, self.term)
    }
}

impl SetConfig {
    /// Which configuration this is.
    pub fn config_version(&self) -> ConfigVersion {
        ConfigVersion {
            term: self.term.unwrap_or(-1),
            version: self.version,
        }
    }

    /// The set's identity for life; `None` only before it is initiated.
    pub fn replica_set_id(&self) -> Option<ReplicaSetId> {
        match self.settings.get("replicaSetId") {
            Some(Bson::ObjectId(id)) => Some(ReplicaSetId::new(id.to_hex())),
            _ => None,
        }
    }

    /// The member with this `_id`.
    pub fn member(&self, id: MemberId) -> Option<&MemberConfig> {
        self.members.iter().find(|m| m.id == id)
    }

    /// The member with this host.
    pub fn member_at(&self, host: &Host) -> Option<&MemberConfig> {
        self.members.iter().find(|m| m.host == *host)
    }

    /// How many members have `votes: 1`, those that wait for their initial sync among them.
    pub fn votes(&self) -> usize {
        self.members.iter().filter(|m| m.votes > 0).count()
    }

    /// The next configuration: a copy with the version raised by one, ready to be changed.
    pub fn next(&self) -> Self {
        let mut next = self.clone();
        next.version += 1;
        next
    }

    /// The `index`-th (from 0) of the `_id`s that only this configuration can give: 64 for each version.
    ///
    /// The version only rises, so that an id never comes twice, also when the member that had the highest was
    /// removed. One that a person has chosen is passed over. Ids above 255 need servers of 5.0 or later.
    pub fn fresh_id(&self, index: usize) -> MemberId {
        let first = i32::try_from((self.version + 1) * 64).unwrap_or(i32::MAX - 64);
        let free = |id: &MemberId| self.member(*id).is_none();
        let mut fresh = (first..).map(MemberId).filter(free);
        fresh.nth(index).unwrap_or(MemberId(i32::MAX))
    }
}

impl MemberConfig {
    /// A member with MongoDB's defaults.
    pub fn new(id: MemberId, host: Host) -> Self {
        Self {
            id,
            host,
            votes: 1,
            priority: 1.0,
            hidden: false,
            arbiter_only: false,
            tags: Document::new(),
            other: Document::new(),
        }
    }

    /// The host that tells whose data it is: its name, also while it is reached at its address.
    pub fn identity(&self) -> Host {
        let name = self.tags.get(NAME_OF_HELD).and_then(Bson::as_str);
        name.map_or_else(|| self.host.clone(), Host::from)
    }

    /// Reaches it elsewhere; its name is kept in a tag for as long as that is not its name.
    pub fn rehost(&mut self, to: Host) {
        let name = self.identity();
        if to.is_address() {
            self.tags.insert(NAME_OF_HELD, name.as_str());
        } else {
            self.tags.remove(NAME_OF_HELD);
        }
        self.host = to;
    }

    /// How far it stays behind on purpose (`secondaryDelaySecs`), in seconds.
    pub fn delay_seconds(&self) -> i64 {
        match self.other.get("secondaryDelaySecs") {
            Some(Bson::Int32(seconds)) => i64::from(*seconds),
            Some(Bson::Int64(seconds)) => *seconds,
            Some(Bson::Double(seconds)) => *seconds as i64,
            _ => 0,
        }
    }

    /// Has no vote only because seven others have one.
    pub fn is_beyond_seven(&self) -> bool {
        self.votes == 0 && self.tags.contains_key(BEYOND_SEVEN)
    }

    /// Takes its vote away until there is one to give; its priority is kept in the tag's value.
    pub fn put_beyond_seven(&mut self) {
        self.tags.insert(BEYOND_SEVEN, self.priority.to_string());
        self.votes = 0;
        self.priority = 0.0;
    }

    /// Gives the vote that it was waiting for, and its priority back.
    pub fn give_vote(&mut self) {
        let priority = self.tags.remove(BEYOND_SEVEN);
        let priority = priority.as_ref().and_then(Bson::as_str).map(str::parse);
        self.votes = 1;
        self.priority = match priority {
            Some(Ok(priority)) => priority,
            _ => 1.0,
        };
    }
}
