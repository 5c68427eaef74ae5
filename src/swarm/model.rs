//! What a manager says about services, tasks, nodes and config objects, reduced to what is used here.

mod details;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use details::{
    ApiVersion, MountedFile, Network, NodeDetails, ServiceDetails, UpdateConfig, UpdateOrder,
};

use crate::names::{NodeId, ReplicaSetId, ServiceId, ServiceName, Slot, TaskId};

/// One complete reading of the Swarm. Parts that could not be read make the whole reading fail.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Swarm {
    /// Services in the agent's scope, by id.
    pub services: BTreeMap<ServiceId, Service>,
    /// The ids of all services, also those out of scope: a task whose service is not among them is an orphan.
    pub known_services: BTreeSet<ServiceId>,
    /// All tasks of these services, and tasks of services that are gone.
    pub tasks: BTreeMap<TaskId, Task>,
    /// All nodes, by id.
    pub nodes: BTreeMap<NodeId, Node>,
    /// Claims (config objects `swarmset.*`), by name.
    pub claims: BTreeMap<String, Claim>,
    /// The networks that tasks are in, by id.
    pub networks: BTreeMap<String, Network>,
    /// The API version that was agreed on.
    pub api: Option<ApiVersion>,
}

/// A service's specification.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// Its id.
    pub id: ServiceId,
    /// Its name, with the stack's prefix.
    pub name: ServiceName,
    /// `deploy.labels`.
    pub labels: BTreeMap<String, String>,
    /// How many tasks it asks for; `None` for a global service or a job.
    pub replicas: Option<u64>,
    /// What each task runs.
    pub container: Arc<Container>,
    /// Whether its name resolves to a virtual address.
    pub endpoint_mode: EndpointMode,
    /// Whether a rolling update is under way.
    pub update: UpdateState,
    /// What only the doctor reads.
    pub details: ServiceDetails,
}

impl Service {
    /// The stack's namespace, if it was deployed by `docker stack deploy`.
    pub fn stack(&self) -> Option<&str> {
        self.labels
            .get("com.docker.stack.namespace")
            .map(String::as_str)
    }
}

/// How a service's name resolves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EndpointMode {
    /// To one virtual address.
    #[default]
    Vip,
    /// To all tasks' addresses.
    Dnsrr,
}

/// The state of a service's last rolling update.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UpdateState {
    /// There was none, or it is complete.
    #[default]
    Settled,
    /// Tasks are being replaced.
    Updating,
    /// It was paused by a failure or a person.
    Paused,
}

/// The part of a container's specification that decides what a member is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// The image's reference.
    pub image: String,
    /// Entrypoint (if overridden) and arguments, in one line.
    pub command: Vec<String>,
    /// The host name template.
    pub hostname: Option<String>,
    /// The signal that asks it to stop; `None`: SIGTERM, or what the image says.
    pub stop_signal: Option<String>,
    /// Seconds from that signal to SIGKILL; `None`: Docker's 10 s.
    pub stop_grace_seconds: Option<u64>,
    /// What is mounted.
    pub mounts: Vec<Mount>,
    /// The update counter that `service update --force` raises.
    pub force_update: u64,
}

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// A named volume's name template or a bind's path; `None`: an anonymous volume.
    pub source: Option<String>,
    /// Where it appears in the container.
    pub target: String,
}

/// A task: one container in one slot on one node.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// The service that it belongs, or belonged, to.
    pub service: ServiceId,
    /// Its slot; `None` for a global service's task.
    pub slot: Option<Slot>,
    /// The node that it is assigned to, once it is.
    pub node: Option<NodeId>,
    /// What Swarm wants of it.
    pub desired: DesiredState,
    /// What its node last said of it.
    pub state: TaskState,
    /// What it runs: the service's specification when it was created.
    pub container: Arc<Container>,
    /// Its addresses in the overlay networks.
    pub addresses: Vec<IpAddr>,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// When its state was last reported.
    pub reported: Option<Timestamp>,
    /// What its node says went wrong.
    pub error: Option<String>,
}

/// What Swarm wants of a task (swarmkit `api.TaskState`, as a desired state).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DesiredState {
    /// Made, but to be started only when its predecessor in the slot has stopped.
    Ready,
    /// To run.
    Running,
    /// To stop: replaced by another task, or its node is drained or down.
    Shutdown,
    /// To stop and be forgotten: its slot or its service is gone.
    Remove,
}

/// What a task's node last said of it, in the order that a life takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TaskState {
    /// Not yet assigned, or its container not yet started.
    Pending,
    /// Its container is being started, or waits for its health check.
    Starting,
    /// Its container runs.
    Running,
    /// Its container has ended, whichever way.
    Ended,
    /// Its node has been out of reach for so long that Swarm gave it up.
    Orphaned,
}

impl Task {
    /// Swarm wants it to run, now or as soon as its predecessor has stopped.
    pub fn is_wanted(&self) -> bool {
        match self.desired {
            DesiredState::Ready | DesiredState::Running => !self.has_ended(),
            DesiredState::Shutdown | DesiredState::Remove => false,
        }
    }

    /// Told to stop, but not seen to have stopped: it may still be serving.
    pub fn is_leaving(&self) -> bool {
        match self.desired {
            DesiredState::Ready | DesiredState::Running => false,
            DesiredState::Shutdown | DesiredState::Remove => {
                matches!(self.state, TaskState::Starting | TaskState::Running)
            }
        }
    }

    /// Its container is known to have ended.
    pub fn has_ended(&self) -> bool {
        match self.state {
            TaskState::Ended | TaskState::Orphaned => true,
            TaskState::Pending | TaskState::Starting | TaskState::Running => false,
        }
    }
}

/// A node of the Swarm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// Its host name.
    pub hostname: String,
    /// Whether its dispatcher session lives.
    pub ready: bool,
    /// Whether tasks may run there.
    pub availability: Availability,
    /// Whether it is the Raft leader among the managers.
    pub leader: bool,
    /// Whether it is a manager.
    pub manager: bool,
    /// What only the doctor reads.
    pub details: NodeDetails,
}

/// Whether a node takes tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Availability {
    /// It takes tasks.
    Active,
    /// It keeps its tasks, and takes no new ones.
    Pause,
    /// Its tasks are moved away.
    Drain,
}

/// The durable record that a set exists: the Swarm config object `swarmset.<cluster>.<set>`.
///
/// Its name is unique, so creating it is the claim to initiate. Its content never changes; what is
/// learned later is kept in its labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// The config object's id.
    pub id: String,
    /// The config object's version, that guards a change of its labels.
    pub version: u64,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// What was claimed, or why that cannot be read.
    pub content: Result<ClaimContent, String>,
    /// The `replicaSetId`, once the set was seen initiated.
    pub replica_set_id: Option<ReplicaSetId>,
}

/// What a claim says, for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimContent {
    /// The member that is to be sent `replSetInitiate`; `None`: the set existed before the claim.
    pub initiator: Option<String>,
    /// The members, in the order of their `_id`s from 0.
    pub members: Vec<String>,
}

/// The label of a claim that keeps the `replicaSetId`.
pub const LABEL_REPLICA_SET_ID: &str = "swarmset.replica-set-id";
