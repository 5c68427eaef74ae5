//! What else a specification says. The planner takes no notice of it; the doctor reads it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The parts of a service's specification that decide nothing about members, and a lot about how they fare.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceDetails {
    /// One task on each node.
    pub global: bool,
    /// The image's entrypoint is overridden by this (`entrypoint:` in a stack file).
    pub entrypoint: Vec<String>,
    /// The user that the container starts as.
    pub user: Option<String>,
    /// `HEALTHCHECK`; `None`: as the image has it.
    pub health_check: Option<Vec<String>>,
    /// Where a tmpfs is mounted.
    pub tmpfs: BTreeSet<String>,
    /// Targets of volumes that are not tied to one node: of another driver, or of `local` over a network.
    pub remote_volumes: BTreeSet<String>,
    /// Secrets and config objects that are mounted as files.
    pub files: Vec<MountedFile>,
    /// How an update goes on.
    pub update: UpdateConfig,
    /// How a rollback goes on.
    pub rollback: UpdateConfig,
    /// Ids of the networks that its tasks join.
    pub networks: BTreeSet<String>,
    /// The limit on a task's memory, in bytes.
    pub memory_limit: Option<u64>,
    /// `max_replicas_per_node`; `None`: no limit.
    pub max_per_node: Option<u64>,
    /// Placement constraints.
    pub constraints: Vec<String>,
    /// Ports published in ingress mode, which needs a virtual IP.
    pub ingress_ports: Vec<u16>,
}

/// A secret or config object, mounted as a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountedFile {
    /// Its name.
    pub name: String,
    /// Where it appears: an absolute path.
    pub path: String,
    /// Its owner.
    pub uid: String,
    /// Its permissions.
    pub mode: u32,
}

/// How Swarm goes from one specification to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpdateConfig {
    /// How many tasks at a time; 0: all at once.
    pub parallelism: u64,
    /// Milliseconds between two of them.
    pub delay_ms: u64,
    /// Which goes first.
    pub order: UpdateOrder,
}

/// Swarm's defaults (swarmkit, `api/defaults`).
impl Default for UpdateConfig {
    fn default() -> Self {
        Self {
            parallelism: 1,
            delay_ms: 0,
            order: UpdateOrder::StopFirst,
        }
    }
}

/// Whether the old task ends before the new one starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateOrder {
    /// It does.
    StopFirst,
    /// Both run for a while.
    StartFirst,
}

/// What a node is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeDetails {
    /// `docker node update --label-add`.
    pub labels: BTreeMap<String, String>,
    /// Its memory, in bytes.
    pub memory: Option<u64>,
    /// Where the other managers reach it.
    pub address: Option<String>,
    /// The engine's version.
    pub engine: Option<String>,
}

/// A network that tasks are in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// Whether its data plane is encrypted.
    pub encrypted: bool,
    /// The packet size that its options set.
    pub mtu: Option<u32>,
}

/// A version of the Docker API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiVersion(pub u64, pub u64);

impl ApiVersion {
    /// The oldest that the agent is made for: Docker 20.10.
    pub const OLDEST: Self = Self(1, 41);
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}
