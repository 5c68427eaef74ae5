//! One voluntary disruption at a time over the whole cluster, config servers first; and the cluster's books follow a
//! shard's members before the next of them is touched.

use super::super::roster::{Member, Roster, Standing};
use super::addition::is_visible;
use super::{Cluster, is_held};
use crate::intent::Role;
use crate::mongo::model::ShardEntry;
use crate::names::{Host, SetName};
use crate::observation::Reading;
use crate::step::{Ending, MemberChange, ShardingWait, Step};

impl Cluster<'_> {
    /// Holds back what is not its turn. Healing goes on everywhere: members are added, given votes and elected, and
    /// dead ones are removed.
    pub(in crate::plan) fn one_at_a_time(&mut self) {
        // Mostly there is nothing to hold back, and a thousand shards are not to be looked at for that.
        if !self
            .verdicts
            .iter()
            .any(|v| v.steps.iter().any(may_disrupt))
        {
            return;
        }
        let troubles: Vec<Option<String>> = self.sets.iter().map(trouble).collect();
        let mut order: Vec<usize> = (0..self.sets.len()).collect();
        order.sort_by_key(|at| {
            let intent = self.sets[*at].intent;
            (intent.role != Role::ConfigServer, intent.key.clone())
        });
        let mut taken: Option<SetName> = None;
        for at in order {
            if !self.verdicts[at].steps.iter().any(may_disrupt) {
                continue;
            }
            let members = self.sets[at].primary().map(|p| self.sets[at].members(p));
            let members = members.unwrap_or_default();
            let restarts = |s: &Step| is_restart(s, &members);
            let disrupts = |s: &Step| is_restart(s, &members) || takes_living(s, &members);
            let has_restart = self.verdicts[at].steps.iter().any(restarts);
            if !self.verdicts[at].steps.iter().any(disrupts) {
                continue;
            }
            let reason = self.not_its_turn(at, &troubles, taken.as_ref());
            let reason = reason.filter(|_| has_restart);
            let reason = reason.or_else(|| self.books_behind(at, &members));
            let mut steps = std::mem::take(&mut self.verdicts[at].steps);
            match reason {
                Some(waiting) => {
                    steps.retain(|s| !disrupts(s));
                    self.verdicts[at].wait(waiting.into());
                }
                None if has_restart => taken = Some(self.sets[at].intent.key.set.clone()),
                None => {}
            }
            self.verdicts[at].steps = steps;
        }
    }

    /// Why no member of this set restarts now: another set is not whole, or has its turn.
    fn not_its_turn(
        &self,
        at: usize,
        troubles: &[Option<String>],
        taken: Option<&SetName>,
    ) -> Option<ShardingWait> {
        let others = troubles
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != at);
        let mut unwell = others.filter_map(|(other, why)| {
            let set = self.sets[other].intent.key.set.clone();
            Some(ShardingWait::InTurn {
                set,
                why: why.clone()?,
            })
        });
        unwell.next().or_else(|| {
            let why = "its members restart first".to_owned();
            let set = taken?.clone();
            Some(ShardingWait::InTurn { set, why })
        })
    }

    /// Whether the cluster's books lack a member of this shard, or cannot be read.
    fn books_behind(&self, at: usize, members: &[Member<'_>]) -> Option<ShardingWait> {
        let intent = self.sets[at].intent;
        if intent.role != Role::Shard {
            return None;
        }
        if let Reading::Unreachable { why, .. } = self.report? {
            let why = why.clone();
            return Some(ShardingWait::ClusterUnread { why });
        }
        let entry = self.entries.get(&intent.key.set)?;
        let hosts = missing(entry, members);
        let shard = entry.name.clone();
        (!hosts.is_empty()).then_some(ShardingWait::BooksBehind { shard, hosts })
    }
}

/// The kinds of steps by which a set can be disturbed.
fn may_disrupt(step: &Step) -> bool {
    match step {
        Step::ShutDown { .. }
        | Step::StandForElection { .. }
        | Step::HandOver { .. }
        | Step::Reconfigure { .. } => true,
        Step::Claim { .. }
        | Step::RecordIdentity { .. }
        | Step::Initiate { .. }
        | Step::ExtendQuiesce { .. }
        | Step::Sharding(_) => false,
    }
}

/// A member ends for a while, or hands over in order to.
fn is_restart(step: &Step, members: &[Member<'_>]) -> bool {
    match step {
        // One that its primary does not reach is down already: to restart it is to heal it.
        Step::ShutDown {
            on,
            why: Ending::Restart | Ending::RestartAlone,
            ..
        } => !members.iter().any(|m| {
            let is_it = m.seat().is_some_and(|s| s.task.id == on.task);
            is_it && !m.is_seen_healthy()
        }),
        Step::HandOver { .. } => members.iter().any(|m| {
            let leads = m.state() == crate::mongo::model::MemberState::Primary;
            leads && matches!(m.standing, Standing::Restarts { .. })
        }),
        Step::StandForElection { .. }
        | Step::ShutDown { .. }
        | Step::Claim { .. }
        | Step::RecordIdentity { .. }
        | Step::Initiate { .. }
        | Step::Reconfigure { .. }
        | Step::ExtendQuiesce { .. }
        | Step::Sharding(_) => false,
    }
}

/// A member that could serve on for as long as it takes leaves the set.
fn takes_living(step: &Step, members: &[Member<'_>]) -> bool {
    let Step::Reconfigure { changes, .. } = step else {
        return false;
    };
    let goes = |change: &MemberChange| match change {
        MemberChange::Remove { id, .. } => members.iter().any(|m| {
            let held = m.seat().is_some_and(|s| is_held(s.task));
            m.config.id == *id && held && m.is_healthy()
        }),
        MemberChange::Add { .. } | MemberChange::GiveVote { .. } | MemberChange::Rehost { .. } => {
            false
        }
    };
    changes.iter().any(goes)
}

/// What is the matter with a set; `None`: it is whole, or there is nothing yet.
fn trouble(roster: &Roster<'_>) -> Option<String> {
    if roster.intent.replicas == 0 {
        return None;
    }
    if !roster.exists() {
        let recorded = roster.claim.and_then(|c| c.replica_set_id.as_ref());
        return recorded.map(|_| "no member answers".to_owned());
    }
    let Some(primary) = roster.primary() else {
        return Some("it has no primary".to_owned());
    };
    let members = roster.members(primary);
    let unwell = members.iter().find(|m| m.votes && !m.is_ready());
    unwell.map(|m| format!("{} is {}", m.config.host, m.state()))
}

fn missing(entry: &ShardEntry, members: &[Member<'_>]) -> Vec<Host> {
    let counts = |m: &&Member<'_>| m.stays() && is_visible(m) && m.is_ready();
    let hosts = members.iter().filter(counts).map(|m| &m.config.host);
    hosts
        .filter(|h| !entry.hosts.contains(h))
        .cloned()
        .collect()
}
