//! What the agent remembers from cycle to cycle: only since when something has been so. It may be lost at any time.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::mongo::model::MemberReport;
use crate::names::{MemberId, ReplicaSetId, TaskId};
use crate::observation::Reading;

/// A fold over observations.
#[derive(Debug, Default)]
pub struct History {
    swarm_unreachable: Option<Timestamp>,
    unreachable: BTreeMap<TaskId, Timestamp>,
    had_data: BTreeSet<(ReplicaSetId, MemberId)>,
    since: BTreeMap<String, Timestamp>,
}

impl History {
    /// Since when the Swarm cannot be read, now that it could not.
    pub fn swarm_unreachable(&mut self, now: Timestamp) -> Timestamp {
        *self.swarm_unreachable.get_or_insert(now)
    }

    /// The Swarm could be read.
    pub fn swarm_seen(&mut self) {
        self.swarm_unreachable = None;
    }

    /// Since when a mongod does not answer, now that it did not.
    pub fn member_unreachable(&mut self, task: &TaskId, now: Timestamp) -> Timestamp {
        *self.unreachable.entry(task.clone()).or_insert(now)
    }

    /// A mongod answered.
    pub fn member_seen(&mut self, task: &TaskId) {
        self.unreachable.remove(task);
    }

    /// Which members were seen with a complete copy of the data so far.
    pub fn had_data(&self) -> BTreeSet<(ReplicaSetId, MemberId)> {
        self.had_data.clone()
    }

    /// Keeps in mind which members have a complete copy of the data now. Ids are never used twice, so that this only
    /// grows, and by little.
    pub fn note_data(&mut self, members: &BTreeMap<TaskId, Reading<MemberReport>>) {
        let reports = members.values().filter_map(|r| r.seen()?.in_set());
        let whole = reports.filter(|r| r.state.is_data_bearing());
        let keys = whole.filter_map(|r| Some((r.config.replica_set_id()?, r.self_id?)));
        self.had_data.extend(keys);
    }

    /// Forgets tasks that are no longer asked.
    pub fn keep_only(&mut self, is_asked: impl Fn(&TaskId) -> bool) {
        self.unreachable.retain(|task, _| is_asked(task));
    }

    /// Since when each of these has been so; those that are not among them are forgotten.
    pub fn since(
        &mut self,
        now: Timestamp,
        what: impl Iterator<Item = String>,
    ) -> BTreeMap<String, Timestamp> {
        let since = what.map(|w| {
            let since = self.since.get(&w).copied().unwrap_or(now);
            (w, since)
        });
        self.since = since.collect();
        self.since.clone()
    }
}
