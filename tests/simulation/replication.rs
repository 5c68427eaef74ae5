//! Writes, and their way to a majority: copies, roll-backs, initial syncs, the commit point.

use swarmset::mongo::model::MemberState;
use swarmset::names::Host;

use crate::oplog::Position;
use crate::world::World;

impl World {
    /// Clients write to whoever believes to be primary, on both sides of a partition.
    pub(crate) fn write(&mut self, task: u32) {
        let mut dice = self.dice(4, u64::from(task));
        let now = self.now;
        let Some(own) = self.mongods.get_mut(&task).filter(|m| m.leads()) else {
            return;
        };
        if dice.percent(60) {
            let before = own.disk.oplog.last().at;
            let at = (now * 1000).max(before + 1);
            let position = Position { term: own.term, at };
            own.disk.oplog.append(position);
            own.unacknowledged.push(position);
        }
    }

    /// A secondary copies from the primary, or from anyone who is further; a new member copies all.
    pub(crate) fn replicate(&mut self, task: u32) {
        let now = self.now;
        let Some(own) = self.mongods.get(&task) else {
            return;
        };
        let copies = matches!(own.state, MemberState::Secondary | MemberState::Startup2);
        if !copies || now < own.slow_until {
            return;
        }
        let source = self.source_of(task);
        let host = source
            .and_then(|s| self.mongods.get(&s))
            .map(|s| s.host.clone());
        let Some(own) = self.mongods.get_mut(&task) else {
            return;
        };
        own.source = host;
        let Some(source) = source else {
            own.synced_at = None;
            return;
        };
        own.connected.insert(source);
        if own.state == MemberState::Startup2 {
            self.copy_all(task, source);
        } else {
            self.copy_new(task, source);
        }
        self.tell_position(task);
    }

    fn source_of(&self, task: u32) -> Option<u32> {
        let own = &self.mongods[&task];
        let conf = own.conf()?;
        let last = own.disk.oplog.last();
        let is_source = |of: &u32| {
            let other = &self.mongods[of];
            let whole = other.state.is_data_bearing() && other.is_of(conf);
            let further = other.leads() || other.disk.oplog.last() > last;
            whole && other.disk.synced && further
        };
        let reached = |host: &Host| self.dial(own, host).filter(|t| *t != task);
        let all = conf.members().iter().filter_map(|m| reached(&m.host));
        let sources: Vec<u32> = all.filter(is_source).collect();
        let leads = |t: &&u32| self.mongods[*t].leads() && self.mongods[*t].term >= own.term;
        sources.iter().find(leads).or(sources.first()).copied()
    }

    /// An initial sync takes its time, and begins anew when it was interrupted.
    fn copy_all(&mut self, task: u32, source: u32) {
        let (now, mut dice) = (self.now, self.dice(5, u64::from(task)));
        let oplog = self.mongods[&source].disk.oplog.clone();
        let Some(own) = self.mongods.get_mut(&task) else {
            return;
        };
        let long = if self.ledger.emptied.contains(&own.disk.generation) {
            30
        } else {
            8
        };
        let done = *own.synced_at.get_or_insert(now + dice.between(1, long));
        if now >= done && oplog.last() != Position::default() {
            own.disk.oplog = oplog;
            own.disk.synced = true;
            own.synced_at = None;
            own.state = MemberState::Secondary;
            self.note_synced(task);
            self.tell(|| format!("t{task} has done its initial sync, from t{source}"));
        }
    }

    fn copy_new(&mut self, task: u32, source: u32) {
        let theirs = self.mongods[&source].disk.oplog.clone();
        let term = self.mongods[&source].term;
        self.learn_term(task, term);
        let mine = &self.mongods[&task].disk.oplog;
        if theirs.last() <= mine.last() {
            return;
        }
        let common = mine.common(&theirs);
        if !theirs.contains(mine.last()) {
            let lost = mine.clone();
            self.note_roll_back(task, &lost, common);
            self.tell(|| format!("t{task} rolls back to {common:?}"));
        }
        if let Some(own) = self.mongods.get_mut(&task) {
            own.disk.oplog.roll_back_to(common);
            own.disk.oplog = theirs;
        }
    }

    /// `replSetUpdatePosition`: the primary hears how far a member is, and both hear of the later term.
    fn tell_position(&mut self, task: u32) {
        let own = &self.mongods[&task];
        let Some(conf) = own.conf().cloned() else {
            return;
        };
        let (last, term) = (own.disk.oplog.last(), own.term);
        let Some(id) = own.self_id else {
            return;
        };
        let hosts = conf.members().iter().map(|m| &m.host);
        let reached = hosts.filter_map(|h| self.dial(own, h));
        let primary = reached.into_iter().find(|t| self.mongods[t].leads());
        let Some(primary) = primary else {
            return;
        };
        self.learn_term(primary, term);
        let Some(primary) = self.mongods.get_mut(&primary).filter(|p| p.leads()) else {
            return;
        };
        if let Some(known) = primary.known.get_mut(&id)
            && primary.disk.oplog.contains(last)
        {
            known.applied = last;
        }
    }

    /// The newest position of this term that a majority of the voters has; what waits for it is acknowledged.
    pub(crate) fn advance_commit(&mut self, task: u32) {
        let Some(own) = self.mongods.get_mut(&task).filter(|m| m.leads()) else {
            return;
        };
        let Some(conf) = own.conf().cloned() else {
            return;
        };
        let applied = |id| match own.known.get(&id) {
            Some(known) if own.disk.oplog.contains(known.applied) => known.applied,
            _ => Position::default(),
        };
        let mut positions: Vec<Position> = conf
            .voters()
            .map(|m| match Some(m.id) == own.self_id {
                true => own.disk.oplog.last(),
                false => applied(m.id),
            })
            .collect();
        positions.sort_unstable_by(|a, b| b.cmp(a));
        let Some(reached) = positions.get(conf.majority() - 1).copied() else {
            return;
        };
        if reached.term == own.term && reached > own.commit {
            own.commit = reached;
        }
        let commit = own.commit;
        let acknowledged = own
            .unacknowledged
            .iter()
            .filter(|p| **p <= commit)
            .max()
            .copied();
        own.unacknowledged.retain(|p| *p > commit);
        if let Some(position) = acknowledged {
            self.note_acknowledged(task, position);
        }
    }
}
