//! All there is, and how its second passes: everybody acts once, in any order, and after each act the safety rules
//! are looked at.

use std::collections::{BTreeMap, BTreeSet};

use swarmset::names::{Host, Slot};

use crate::agent::Agent;
use crate::cast::Cast;
use crate::coverage::Coverage;
use crate::dice::Dice;
use crate::disk::{Disk, Shelf, Volume};
use crate::ledger::Ledger;
use crate::mongod::Mongod;
use crate::mutants::Mutant;
use crate::swarm::SwarmWorld;

pub struct World {
    pub seed: u64,
    /// Seconds since the beginning.
    pub now: u64,
    pub cast: Cast,
    pub swarm: SwarmWorld,
    pub mongods: BTreeMap<u32, Mongod>,
    pub disks: BTreeMap<Volume, Shelf>,
    pub generations: u32,
    /// Pairs of nodes (the lower first) between which nothing goes.
    pub cut: BTreeSet<(u8, u8)>,
    pub cut_until: BTreeMap<(u8, u8), u64>,
    pub node_returns: BTreeMap<u8, u64>,
    pub agents: Vec<Agent>,
    pub mutant: Option<Mutant>,
    pub troubles: Troubles,
    pub ledger: Ledger,
    pub coverage: Coverage,
    /// What happened, if it is to be told.
    pub story: Option<Vec<String>>,
}

/// What goes wrong until a certain second.
#[derive(Debug, Default)]
pub struct Troubles {
    /// Managers are read this many seconds late.
    pub stale: (u64, u64),
    /// Managers answer errors.
    pub unreadable: u64,
    /// Managers answer, and leave everything out.
    pub empty: u64,
    /// Answers of commands are lost, though what they ask is done; or the commands are.
    pub lost_answers: u64,
    /// Commands take seconds to arrive.
    pub slow_commands: u64,
    /// Agents' questions to mongods get no answer, now and then.
    pub deaf: u64,
    /// Agents' clocks are off by so many seconds.
    pub clock: (u64, i64),
}

impl Troubles {
    /// When all of them are over.
    pub fn until(&self) -> u64 {
        let Self {
            stale,
            unreadable,
            empty,
            lost_answers,
            slow_commands,
            deaf,
            clock,
        } = self;
        [
            stale.0,
            *unreadable,
            *empty,
            *lost_answers,
            *slow_commands,
            *deaf,
            clock.0,
        ]
        .into_iter()
        .max()
        .unwrap_or(0)
    }
}

/// Whose turn it is.
#[derive(Clone, Copy, Debug)]
enum Actor {
    Managers,
    Node(u8),
    Mongod(u32),
    Agent(usize),
}

impl World {
    pub fn new(seed: u64, cast: Cast, mutant: Option<Mutant>, tells: bool) -> Self {
        let agents = (0..cast.agents).map(|n| Agent::new(n + 1)).collect();
        let mut swarm = SwarmWorld::new(&cast);
        swarm.note(0);
        Self {
            seed,
            now: 0,
            swarm,
            cast,
            mongods: BTreeMap::new(),
            disks: BTreeMap::new(),
            generations: 0,
            cut: BTreeSet::new(),
            cut_until: BTreeMap::new(),
            node_returns: BTreeMap::new(),
            agents,
            mutant,
            troubles: Troubles::default(),
            ledger: Ledger::default(),
            coverage: Coverage::default(),
            story: tells.then(Vec::new),
        }
    }

    /// Adds a line to the story.
    pub fn tell(&mut self, line: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            story.push(format!("{:>4} s  {}", self.now, line()));
        }
    }

    /// Dice for one actor in this second.
    pub fn dice(&self, kind: u64, who: u64) -> Dice {
        Dice::of(&[self.seed, self.now, kind, who])
    }

    /// Lets a second pass. Stops at the first broken rule.
    pub fn pass_second(&mut self) {
        self.now += 1;
        let mut actors: Vec<Actor> = vec![Actor::Managers];
        actors.extend(self.swarm.nodes.keys().map(|n| Actor::Node(*n)));
        actors.extend(self.mongods.keys().map(|m| Actor::Mongod(*m)));
        actors.extend((0..self.agents.len()).map(Actor::Agent));
        self.dice(0, 0).shuffle(&mut actors);
        for actor in actors {
            match actor {
                Actor::Managers => self.managers_act(),
                Actor::Node(node) => self.node_acts(node),
                Actor::Mongod(task) => self.mongod_acts(task),
                Actor::Agent(agent) => self.agent_acts(agent),
            }
            self.check();
            if self.ledger.broken.is_some() {
                return;
            }
        }
        self.swarm.note(self.now);
        self.note_calm();
        let now = self.now;
        for mongod in self.mongods.values_mut() {
            if mongod.is_well(now) {
                mongod.last_well = now;
            }
            if !mongod.disk.synced {
                self.ledger.empty_at.insert(mongod.host.clone(), now);
            }
        }
    }

    // ---- who reaches whom -----------------------------------------------------------------------

    pub fn nodes_connected(&self, a: u8, b: u8) -> bool {
        let is_up = |n| self.swarm.nodes.get(&n).is_some_and(|n| n.up);
        is_up(a) && is_up(b) && !self.cut.contains(&(a.min(b), a.max(b)))
    }

    /// The mongod that one reaches under this name or address: over a connection that it has, or by DNS.
    pub fn dial(&self, from: &Mongod, to: &Host) -> Option<u32> {
        if !from.answers(self.now) {
            return None;
        }
        let listens = |m: &&Mongod| {
            let named = m.address == *to
                || (m.host == *to
                    && (from.connected.contains(&m.task) || self.swarm.is_in_dns(m.task)));
            named && m.answers(self.now) && self.nodes_connected(from.node, m.node)
        };
        self.mongods.values().find(listens).map(|m| m.task)
    }

    // ---- processes and disks ---------------------------------------------------------------------

    pub fn volume_of(&self, slot: Slot, node: u8) -> Volume {
        let node = (!self.cast.volumes_follow).then_some(node);
        Volume { slot, node }
    }

    pub fn new_disk(&mut self) -> Box<Disk> {
        self.generations += 1;
        Box::new(Disk::empty(self.generations))
    }

    /// A mongod ends, whichever way; its disk stays.
    pub fn end_mongod(&mut self, task: u32) {
        if let Some(mongod) = self.mongods.remove(&task) {
            self.disks.insert(mongod.volume, Shelf::Free(mongod.disk));
        }
        // Connections to it end.
        for other in self.mongods.values_mut() {
            other.connected.remove(&task);
        }
    }

    /// The member's mongods that lead, each in a term of its own.
    pub fn primaries(&self) -> impl Iterator<Item = &Mongod> {
        self.mongods.values().filter(|m| m.leads())
    }

    /// The primary of the newest term, of the set that was initiated here.
    pub fn primary(&self) -> Option<&Mongod> {
        let is_ours = |m: &&Mongod| {
            m.conf()
                .is_some_and(|c| !self.ledger.foreign.contains(&c.set))
        };
        self.primaries().filter(is_ours).max_by_key(|m| m.term)
    }
}
