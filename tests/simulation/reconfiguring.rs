//! `replSetInitiate` and `replSetReconfig`, with the server's own conditions.

use std::collections::BTreeSet;
use std::rc::Rc;

use bson::oid::ObjectId;
use swarmset::mongo::model::{MemberState, SetConfig};
use swarmset::names::{Host, MemberId};

use crate::disk::Conf;
use crate::oplog::Position;
use crate::swarm::BEGINNING;
use crate::world::World;

/// Why a server refuses: its code, and whether that passes by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    NotPrimary,
    NotCommitted,
    AlreadyInitialised,
    NodeNotFound,
    HoldsData,
    Incompatible(&'static str),
}

impl World {
    /// Whether a primary's configuration is committed: a majority has it, and it has what was committed before.
    pub fn is_committed(&self, task: u32) -> bool {
        let Some(own) = self.mongods.get(&task).filter(|m| m.leads()) else {
            return false;
        };
        let Some(conf) = own.conf() else {
            return false;
        };
        let has = |id: MemberId| {
            let known = own.known.get(&id);
            Some(id) == own.self_id || known.is_some_and(|k| k.config == conf.version())
        };
        let having = conf.voters().filter(|m| has(m.id)).count();
        let term = conf.version().term == own.term;
        term && having >= conf.majority() && own.commit >= own.must_commit
    }

    /// The first configuration, on an empty member; all others must be reached and be empty.
    pub fn initiate(&mut self, task: u32, config: &SetConfig) -> Result<(), Refusal> {
        let own = self.mongods.get(&task).ok_or(Refusal::NodeNotFound)?;
        if own.conf().is_some() {
            return Err(Refusal::AlreadyInitialised);
        }
        if config.members.iter().all(|m| m.priority == 0.0) {
            return Err(Refusal::Incompatible("nobody may lead"));
        }
        let mut connected = Vec::new();
        for member in &config.members {
            let other = self
                .dial(own, &member.host)
                .or((member.host == own.host).then_some(task));
            let other = &self.mongods[&other.ok_or(Refusal::NodeNotFound)?];
            connected.push(other.task);
            if other.conf().is_some() || other.disk.collections > 0 {
                return Err(Refusal::HoldsData);
            }
        }
        let mut config = config.clone();
        let seconds = u32::try_from(BEGINNING).unwrap_or(0) + self.now as u32;
        let [a, b, c, d] = seconds.to_be_bytes();
        let [.., e, f] = task.to_be_bytes();
        let id = ObjectId::from_bytes([a, b, c, d, 0, 0, 0, 0, 0, 0, e, f]);
        config.settings.insert("replicaSetId", id);
        let conf = Conf::new(config, BTreeSet::new());
        self.note_initiated(task, &conf);
        let now = self.now;
        if let Some(own) = self.mongods.get_mut(&task) {
            // The quorum check has opened connections.
            own.connected.extend(connected);
            own.disk.synced = true;
            own.disk.oplog.append(Position {
                term: 0,
                at: now * 1000,
            });
            own.term = 0;
            own.state = MemberState::Startup;
            own.install(conf, now);
        }
        self.note_place(task);
        self.tell(|| format!("t{task} initiates the set"));
        Ok(())
    }

    /// A change by command. The term in it is not looked at: the version decides (server, `processReplSetReconfig`).
    pub fn reconfigure(&mut self, task: u32, config: &SetConfig) -> Result<(), Refusal> {
        let own = self.mongods.get(&task).ok_or(Refusal::NotPrimary)?;
        let conf = own
            .conf()
            .filter(|_| own.leads())
            .ok_or(Refusal::NotPrimary)?;
        if !self.is_committed(task) {
            return Err(Refusal::NotCommitted);
        }
        let newly_added = validate(conf, config)?;
        if !config
            .members
            .iter()
            .any(|m| m.host == own.host || m.host == own.address)
        {
            return Err(Refusal::Incompatible("the primary is not in it"));
        }
        let mut config = config.clone();
        config.term = Some(own.term);
        let next = Conf::new(config, newly_added);
        let reached = self.quorum_check(task, &next)?;
        if let Some(own) = self.mongods.get_mut(&task) {
            own.connected.extend(reached);
        }
        self.install_next(task, next);
        Ok(())
    }

    /// A majority of the new voters must be reached, and willing. Tells who is connected by that.
    fn quorum_check(&self, task: u32, next: &Rc<Conf>) -> Result<Vec<u32>, Refusal> {
        let own = &self.mongods[&task];
        let is_own = |host: &Host| *host == own.host || *host == own.address;
        let is_there = |host: &Host| match self.dial(own, host).map(|t| &self.mongods[&t]) {
            Some(other) => other.conf().is_none() || other.is_of(next),
            None => false,
        };
        let reached = next
            .voters()
            .filter(|m| is_own(&m.host) || is_there(&m.host));
        if reached.count() < next.majority() {
            return Err(Refusal::NodeNotFound);
        }
        Ok(next
            .members()
            .iter()
            .filter_map(|m| self.dial(own, &m.host))
            .collect())
    }

    pub fn install_next(&mut self, task: u32, next: Rc<Conf>) {
        let now = self.now;
        let Some(own) = self.mongods.get_mut(&task) else {
            return;
        };
        let before = own.conf().cloned();
        own.must_commit = own.must_commit.max(own.commit);
        let heard = own.heard;
        own.install(Rc::clone(&next), now);
        own.heard = heard;
        self.note_place(task);
        if let Some(before) = before {
            self.note_change(task, &before, &next);
        }
    }

    /// The server gives members that have done their initial sync their vote, one at a time.
    pub(crate) fn grant_votes(&mut self, task: u32) {
        let Some(own) = self.mongods.get(&task).filter(|m| m.leads()) else {
            return;
        };
        let Some(conf) = own.conf().cloned() else {
            return;
        };
        if conf.newly_added.is_empty() || !self.is_committed(task) {
            return;
        }
        let done = |id: &&MemberId| {
            let known = own.known.get(id);
            known.is_some_and(|k| k.healthy && k.state == MemberState::Secondary)
        };
        let Some(id) = conf.newly_added.iter().find(done).copied() else {
            return;
        };
        let mut newly_added = conf.newly_added.clone();
        newly_added.remove(&id);
        let config = conf.config.next();
        self.tell(|| format!("t{task} gives member {id} its vote"));
        self.install_next(task, Conf::new(config, newly_added));
    }
}

/// What the server asks of a new configuration; and who in it does not vote yet.
fn validate(old: &Conf, new: &SetConfig) -> Result<BTreeSet<MemberId>, Refusal> {
    if new.version <= old.config.version {
        return Err(Refusal::Incompatible("its version is not higher"));
    }
    if new.replica_set_id().as_ref() != Some(&old.set) {
        return Err(Refusal::Incompatible("it has another replicaSetId"));
    }
    let ids: BTreeSet<_> = new.members.iter().map(|m| m.id).collect();
    let hosts: BTreeSet<_> = new.members.iter().map(|m| &m.host).collect();
    if ids.len() != new.members.len() || hosts.len() != new.members.len() {
        return Err(Refusal::Incompatible("an _id or a host comes twice"));
    }
    let moved = |m: &&swarmset::mongo::model::MemberConfig| {
        old.members()
            .iter()
            .any(|o| o.host == m.host && o.id != m.id)
    };
    if new.members.iter().any(|m| moved(&m)) {
        return Err(Refusal::Incompatible("a host gets another _id"));
    }
    let votes = new.members.iter().filter(|m| m.votes > 0).count();
    if votes > 7 || votes == 0 || new.members.iter().any(|m| m.votes == 0 && m.priority > 0.0) {
        return Err(Refusal::Incompatible("votes"));
    }
    if new.members.iter().all(|m| m.priority == 0.0) {
        return Err(Refusal::Incompatible("nobody may lead"));
    }
    let is_new = |id: &MemberId| old.config.member(*id).is_none();
    let added = new.members.iter().filter(|m| m.votes > 0 && is_new(&m.id));
    let mut newly_added: BTreeSet<MemberId> = added.map(|m| m.id).collect();
    newly_added.extend(old.newly_added.iter().filter(|id| ids.contains(id)));
    let before: BTreeSet<_> = old.voters().map(|m| m.id).collect();
    let voting = new
        .members
        .iter()
        .filter(|m| m.votes > 0 && !newly_added.contains(&m.id));
    let after: BTreeSet<_> = voting.map(|m| m.id).collect();
    if before.symmetric_difference(&after).count() > 1 {
        return Err(Refusal::Incompatible("more than one voter changes"));
    }
    Ok(newly_added)
}
