//! Faults of nodes, networks and volumes.

use std::collections::BTreeSet;

use bson::{Document, doc, oid::ObjectId};
use swarmset::mongo::model::{MemberConfig, SetConfig};
use swarmset::names::{Host, MemberId, ServiceId, Slot};
use swarmset::swarm::model::{Availability, DesiredState};

use crate::disk::{Conf, Disk, Shelf, Volume};
use crate::faults::Kind;
use crate::oplog::Position;
use crate::world::World;

impl World {
    /// What ends by itself.
    pub fn end_outages(&mut self) {
        let now = self.now;
        self.cut_until.retain(|_, until| *until > now);
        self.cut = self.cut_until.keys().copied().collect();
        let back: Vec<u8> = self
            .node_returns
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(n, _)| *n)
            .collect();
        for node in back {
            self.node_returns.remove(&node);
            if let Some(node) = self.swarm.nodes.get_mut(&node).filter(|n| !n.lost) {
                node.up = true;
            }
            self.tell(|| format!("n{node} is back"));
        }
    }

    pub(crate) fn take_down(&mut self, node: u8, until: u64) {
        self.tell(|| format!("FAULT: n{node} goes down (until {until} s)"));
        if let Some(node) = self.swarm.nodes.get_mut(&node) {
            node.up = false;
        }
        self.node_returns.insert(node, until);
        self.note_node_struck(node);
        for agent in self.agents.iter_mut().filter(|a| a.node == node) {
            agent.die(until, true);
        }
        let here: Vec<u32> = self
            .mongods
            .values()
            .filter(|m| m.node == node)
            .map(|m| m.task)
            .collect();
        for task in here {
            self.note_end(task);
            self.end_mongod(task);
        }
    }

    pub(crate) fn strike_node(&mut self, kind: Kind, which: u64, until: u64) -> bool {
        let all: Vec<u8> = self.swarm.nodes.keys().copied().collect();
        let node = all[which as usize % all.len()];
        match kind {
            Kind::NodeDown => self.take_down(node, until),
            Kind::NodeLost => return self.lose(node),
            Kind::Drain | Kind::Activate => {
                let availability = if kind == Kind::Drain {
                    Availability::Drain
                } else {
                    Availability::Active
                };
                self.tell(|| format!("FAULT: n{node} is made {availability:?}"));
                if let Some(node) = self.swarm.nodes.get_mut(&node) {
                    node.availability = availability;
                }
            }
            _ => return false,
        }
        true
    }

    /// For good, with its disks; only where the others are enough to go on.
    fn lose(&mut self, node: u8) -> bool {
        let managers = self
            .swarm
            .nodes
            .values()
            .filter(|n| n.manager && !n.lost)
            .count();
        let nodes = self.swarm.nodes.values().filter(|n| !n.lost).count();
        let is_manager = self.swarm.nodes[&node].manager;
        let spared = nodes > 2 && (!is_manager || managers > 2) && !self.swarm.nodes[&node].lost;
        let here: BTreeSet<Volume> = self
            .disks
            .keys()
            .copied()
            .filter(|v| v.node == Some(node))
            .collect();
        if !spared || !self.can_do_without(&here) {
            return false;
        }
        self.take_down(node, u64::MAX);
        self.tell(|| format!("n{node} will not come back"));
        if let Some(node) = self.swarm.nodes.get_mut(&node) {
            node.lost = true;
        }
        self.disks.retain(|volume, _| volume.node != Some(node));
        true
    }

    pub(crate) fn strike_network(&mut self, kind: Kind, which: u64, until: u64) -> bool {
        let all: Vec<u8> = self.swarm.nodes.keys().copied().collect();
        let one = all[which as usize % all.len()];
        let other = all[(which / 7) as usize % all.len()];
        let in_first = |n: u8| which >> (3 + n) & 1 == 1;
        for a in &all {
            for b in all.iter().filter(|b| a < *b) {
                let cut = match kind {
                    Kind::CutPair => (*a, *b) == (one.min(other), one.max(other)),
                    Kind::Isolate => *a == one || *b == one,
                    _ => in_first(*a) != in_first(*b),
                };
                if cut {
                    self.cut_until.insert((*a, *b), until);
                }
            }
        }
        self.cut = self.cut_until.keys().copied().collect();
        self.tell(|| format!("FAULT: {} (until {until} s)", kind.name()));
        let cut = self.cut.clone();
        self.tell(|| format!("cut are {cut:?}"));
        true
    }

    pub(crate) fn order(&mut self, kind: Kind, which: u64) -> bool {
        match kind {
            Kind::Deploy => return self.deploy(),
            _ if self.swarm.removed => return false,
            Kind::Scale => {
                let replicas = 1 + which % if which.is_multiple_of(13) { 9 } else { 5 };
                self.tell(|| format!("FAULT: scaled to {replicas}"));
                self.swarm.service.replicas = Some(replicas);
            }
            Kind::ScaleToZero => {
                self.tell(|| "FAULT: scaled to 0".to_owned());
                self.swarm.service.replicas = Some(0);
                self.ledger.dissolved = true;
            }
            Kind::ForceUpdate => {
                self.tell(|| "FAULT: a rolling update is forced".to_owned());
                std::sync::Arc::make_mut(&mut self.swarm.service.container).force_update += 1;
                self.swarm.update = self.swarm.slots().into_iter().collect();
                self.swarm.updating = None;
            }
            _ => {
                self.tell(|| "FAULT: the stack is removed".to_owned());
                self.swarm.removed = true;
                self.ledger.dissolved = true;
                self.swarm.update.clear();
                self.swarm.updating = None;
                for task in self.swarm.tasks.values_mut() {
                    task.task.desired = DesiredState::Remove;
                    task.after = None;
                }
            }
        }
        true
    }

    fn deploy(&mut self) -> bool {
        if !self.swarm.removed {
            return false;
        }
        self.tell(|| "FAULT: the stack is deployed again".to_owned());
        self.swarm.removed = false;
        self.swarm.service.id = ServiceId::new(format!("mongo{}", self.now));
        self.swarm.service.replicas = Some(self.cast.replicas);
        true
    }

    /// A volume is emptied, and its mongod ends. Only where no majority can be formed with its empty disk that
    /// lacks what was acknowledged: from that nothing but MongoDB itself could protect (README, limits).
    pub(crate) fn empty_volume(&mut self, which: u64) -> bool {
        let with_data = |(_, shelf): &(&Volume, &Shelf)| match shelf {
            Shelf::Free(disk) => disk.conf.is_some(),
            Shelf::InUse(_) => true,
        };
        let all: Vec<Volume> = self
            .disks
            .iter()
            .filter(with_data)
            .map(|(v, _)| *v)
            .collect();
        let Some(volume) = all.get(which as usize % all.len().max(1)).copied() else {
            return false;
        };
        if !self.cut.is_empty() || !self.can_do_without(&[volume].into()) {
            return false;
        }
        let was_whole = self.disk(volume).is_some_and(|d| d.synced);
        if let Some(Shelf::InUse(task)) = self.disks.get(&volume) {
            let task = *task;
            self.note_end(task);
            self.end_mongod(task);
        }
        let disk = self.new_disk();
        let generation = disk.generation;
        self.tell(|| format!("FAULT: {volume:?} is emptied: data {generation}"));
        self.note_emptied(generation, was_whole);
        self.disks.insert(volume, Shelf::Free(disk));
        true
    }

    pub(crate) fn disk(&self, volume: Volume) -> Option<&Disk> {
        match self.disks.get(&volume)? {
            Shelf::Free(disk) => Some(disk),
            Shelf::InUse(task) => self.mongods.get(task).map(|m| &*m.disk),
        }
    }

    /// Whether a majority of the voters has all that was acknowledged, and all terms, without these.
    fn can_do_without(&self, volumes: &BTreeSet<Volume>) -> bool {
        if self.ledger.initiated.is_empty() {
            return true;
        }
        let Some((primary, conf)) = self.primary().and_then(|p| Some((p, p.conf()?))) else {
            return false;
        };
        let voted = volumes
            .iter()
            .filter_map(|v| self.disk(*v))
            .map(|d| d.voted)
            .max()
            .unwrap_or(0);
        let has_all = |disk: &Disk| {
            let mut all = self.ledger.acknowledged.iter();
            disk.synced
                && all.all(|(term, at)| {
                    disk.oplog.contains(Position {
                        term: *term,
                        at: *at,
                    })
                })
        };
        let is_safe = |m: &&MemberConfig| {
            let mut mongods = self.mongods.values();
            let it = mongods.find(|p| p.self_id == Some(m.id) && p.is_of(conf));
            it.is_some_and(|p| {
                !volumes.contains(&p.volume)
                    && has_all(&p.disk)
                    && p.term >= voted
                    && p.version() == conf.version()
            })
        };
        let safe = conf.voters().filter(is_safe).count();
        safe >= conf.majority() && self.is_committed(primary.task)
    }

    /// A volume that is there already where a task may come to.
    pub(crate) fn lay_volume(&mut self, kind: Kind, which: u64) -> bool {
        let recorded = self
            .swarm
            .claims
            .values()
            .any(|c| c.replica_set_id.is_some());
        let node = 1 + (which % u64::from(self.cast.nodes)) as u8;
        let volume = self.volume_of(Slot(1 + which / 16 % 6), node);
        if !recorded || self.disks.contains_key(&volume) {
            return false;
        }
        let mut disk = self.new_disk();
        if kind == Kind::OtherData {
            disk.collections = 3;
        } else {
            let name = Host::new(format!("mongo-{}-n{node}:27017", volume.slot));
            let conf = foreign(name, disk.generation);
            self.ledger.foreign.insert(conf.set.clone());
            disk.oplog.append(Position { term: 1, at: 1 });
            (disk.conf, disk.synced) = (Some(conf), true);
        }
        self.tell(|| format!("FAULT: {} ({volume:?})", kind.name()));
        self.disks.insert(volume, Shelf::Free(disk));
        true
    }

    /// People take volumes away that are not this set's.
    pub(crate) fn clear_foreign(&mut self) {
        let foreign = |disk: &Disk| {
            disk.collections > 0
                || disk
                    .conf
                    .as_ref()
                    .is_some_and(|c| self.ledger.foreign.contains(&c.set))
        };
        let volumes = self.disks.keys().copied();
        let volumes: Vec<Volume> = volumes
            .filter(|v| self.disk(*v).is_some_and(foreign))
            .collect();
        for volume in volumes {
            if let Some(Shelf::InUse(task)) = self.disks.get(&volume) {
                let task = *task;
                self.end_mongod(task);
            }
            self.disks.remove(&volume);
        }
    }
}

/// A set of one, from elsewhere.
fn foreign(host: Host, generation: u32) -> std::rc::Rc<Conf> {
    let mut bytes = [7; 12];
    bytes[8..].copy_from_slice(&generation.to_be_bytes());
    let config = SetConfig {
        set: "rs".into(),
        version: 3,
        term: Some(1),
        members: vec![MemberConfig::new(MemberId(0), host)],
        settings: doc! { "replicaSetId": ObjectId::from_bytes(bytes) },
        other: Document::new(),
    };
    Conf::new(config, BTreeSet::new())
}
