//! Names and identifiers, each a type of its own, so that none is taken for another.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! text_name {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes the name as it stands.
            pub fn new(name: impl Into<String>) -> Self {
                Self(name.into())
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(name: &str) -> Self {
                Self(name.to_owned())
            }
        }
    )+};
}

text_name! {
    /// A Swarm service's id.
    ServiceId,
    /// A Swarm service's name, with its stack's prefix.
    ServiceName,
    /// A Swarm task's id.
    TaskId,
    /// A Swarm node's id.
    NodeId,
    /// What this project calls a deployment: by default the stack's namespace.
    ClusterName,
    /// A MongoDB replica set's name (`--replSet`).
    SetName,
    /// A shard's `_id` in `config.shards`: mostly its set's name, and always `config` for the config servers.
    ShardName,
    /// A member's `host:port`, as it stands in the replica set's configuration.
    Host,
    /// `replicaSetId`, as 24 hexadecimal digits: given at initiation, for life.
    ReplicaSetId,
}

impl Host {
    /// The host's part before the port.
    pub fn name(&self) -> &str {
        self.0.rsplit_once(':').map_or(&self.0, |(name, _)| name)
    }

    /// Whether it is an address rather than a name.
    pub fn is_address(&self) -> bool {
        self.name().parse::<std::net::IpAddr>().is_ok()
    }
}

/// A task's slot in a replicated service: 1 and up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Slot(pub u64);

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A member's `_id` in the replica set's configuration: 0 and up, never used twice by the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MemberId(pub i32);

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One replica set of one cluster: the unit that plans, steps and waits are about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SetKey {
    /// The cluster it belongs to.
    pub cluster: ClusterName,
    /// The set's own name.
    pub set: SetName,
}

impl SetKey {
    /// The name of the Swarm config object that records this set's initiation (design, section 2).
    pub fn claim_name(&self) -> String {
        format!("swarmset.{}.{}", self.cluster, self.set)
    }
}

impl fmt::Display for SetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.cluster, self.set)
    }
}
