//! What was seen in one cycle. All that [`crate::plan::plan`] knows of the world stands here.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;

use crate::mongo::model::{ClusterReport, MemberReport, RouterReport, ShardContent};
use crate::names::{ClusterName, MemberId, ReplicaSetId, ServiceId, SetKey, TaskId};
use crate::swarm::model::{Swarm, Task};

/// One look at the Swarm and at every mongod in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// When it was made.
    pub now: Timestamp,
    /// The Swarm, as a manager told it.
    pub swarm: Reading<Swarm>,
    /// What each task's mongod answered. A task that is not here was not asked: it has no address.
    pub members: BTreeMap<TaskId, Reading<MemberReport>>,
    /// Members that this agent has seen with a complete copy of the data before, by set and `_id`.
    pub had_data: BTreeSet<(ReplicaSetId, MemberId)>,
    /// Sharded clusters; nothing where there are none.
    pub sharding: Sharding,
}

/// What was seen of sharded clusters, besides their replica sets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sharding {
    /// What each router answered.
    pub routers: BTreeMap<TaskId, Reading<RouterReport>>,
    /// What each cluster's `config.*` says, read through a router or, where none answers, from the config servers.
    pub clusters: BTreeMap<ClusterName, Reading<ClusterReport>>,
    /// What those sets hold that are to be shards and are none yet, and those that drain.
    pub contents: BTreeMap<SetKey, Reading<ShardContent>>,
}

/// A task, and what its mongod answered if it was asked.
pub type TaskSeen<'a> = (&'a Task, Option<&'a Reading<MemberReport>>);

impl Observation {
    /// All tasks with what they answered, service by service, in the order of their ids. In one pass: there may be
    /// thousands.
    pub fn tasks_by_service<'a>(
        &'a self,
        swarm: &'a Swarm,
    ) -> HashMap<&'a ServiceId, Vec<TaskSeen<'a>>> {
        let mut by_service: HashMap<_, Vec<_>> = HashMap::with_capacity(swarm.services.len());
        let mut readings = self.members.iter().peekable();
        for (id, task) in &swarm.tasks {
            while readings.next_if(|(of, _)| *of < id).is_some() {}
            let reading = readings.next_if(|(of, _)| *of == id).map(|(_, r)| r);
            by_service
                .entry(&task.service)
                .or_default()
                .push((task, reading));
        }
        by_service
    }
}

/// The outcome of a look. Unknown is not absent.
#[derive(Clone, Debug, PartialEq)]
pub enum Reading<T> {
    /// It answered.
    Seen(T),
    /// It did not answer, or not to be understood.
    Unreachable {
        /// Since when, as far as this agent knows.
        since: Timestamp,
        /// The last error.
        why: String,
    },
}

impl<T> Reading<T> {
    /// What was seen, if anything was.
    pub fn seen(&self) -> Option<&T> {
        match self {
            Self::Seen(seen) => Some(seen),
            Self::Unreachable { .. } => None,
        }
    }
}
