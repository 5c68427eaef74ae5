//! What has been promised and seen so far, and must stay true: the safety rules (design, section 5) on the world.
//! Numbers are the rules' own.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use swarmset::names::{Host, MemberId, ReplicaSetId};

use crate::disk::Conf;
use crate::oplog::{Oplog, Position};
use crate::world::World;

/// So long an agent may take from an empty disk to the end of its `_id`.
const TIME_TO_SEE: u64 = 12;
/// So long after the initiation all members have been seen with their data.
const FIRST_COPIES: u64 = 20;

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    pub rule: u8,
    pub why: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {}: {}", self.rule, self.why)
    }
}

#[derive(Debug, Default)]
pub struct Ledger {
    pub broken: Option<Broken>,
    /// The last acknowledged majority write of each term.
    pub acknowledged: BTreeMap<i64, u64>,
    /// Who was primary in which term.
    elected: BTreeMap<i64, u32>,
    /// The name that each `_id` was given to.
    named: BTreeMap<(ReplicaSetId, MemberId), Host>,
    /// Whose data an `_id` stands for.
    places: BTreeMap<(ReplicaSetId, MemberId), u32>,
    /// Data that is empty because a fault emptied it: under its old `_id` it is not the planner's doing.
    pub emptied: BTreeSet<u32>,
    /// Of these, those whose members agents had seen with all data.
    missed: BTreeSet<u32>,
    /// Since when nothing but an empty disk is wrong, and agents could have dealt with that.
    pub calm_since: u64,
    /// Sets that were initiated here.
    pub initiated: Vec<ReplicaSetId>,
    pub initiated_at: u64,
    /// Foreign sets that were on a disk from before.
    pub foreign: BTreeSet<ReplicaSetId>,
    /// When the last step arrived.
    pub last_step: u64,
    /// When a mongod of this name was last seen without a complete copy.
    pub empty_at: BTreeMap<Host, u64>,
    /// When a fault ended a member that was well.
    pub ended: BTreeMap<MemberId, u64>,
    /// Names of members that a fault has ended at some time.
    pub struck: BTreeSet<Host>,
    /// All members were told to end at some time: the stack was removed, or scaled to zero.
    pub dissolved: bool,
    /// Since when each leads that leads now, or did last.
    led_since: BTreeMap<u32, u64>,
}

impl Ledger {
    /// Whether a primary was one already in that second.
    pub fn led_at(&self, task: u32, second: u64) -> bool {
        self.led_since
            .get(&task)
            .is_some_and(|since| *since < second)
    }
}

impl World {
    /// A fault is about to end a mongod: the agents could not know.
    pub(crate) fn note_end(&mut self, task: u32) {
        let host = self.mongods[&task].host.clone();
        self.ledger.struck.insert(host);
        self.note_gone(task);
    }

    /// A fault has taken a node: its tasks go elsewhere.
    pub(crate) fn note_node_struck(&mut self, node: u8) {
        let here = self.swarm.tasks.values().filter(|t| t.node == Some(node));
        let names: Vec<Host> = here.filter_map(|t| self.swarm.host(t)).collect();
        self.ledger.struck.extend(names);
    }

    /// A mongod is about to end, and no agent has asked for it.
    pub(crate) fn note_gone(&mut self, task: u32) {
        let (now, mongod) = (self.now, &self.mongods[&task]);
        // What gets SIGTERM answers nobody new: whether it was well to its end is not asked.
        let counts = mongod.last_well + 1 >= now || !self.cast.held;
        if let Some(id) = mongod.self_id.filter(|_| counts) {
            self.ledger.ended.insert(id, now);
        }
    }

    /// A fault has put an empty disk in a member's place.
    pub(crate) fn note_emptied(&mut self, generation: u32, was_whole: bool) {
        self.ledger.emptied.insert(generation);
        if was_whole && self.now >= self.ledger.calm_since + TIME_TO_SEE {
            self.ledger.missed.insert(generation);
        }
    }

    /// The data that this `_id` stood for in this set, if it did.
    pub(crate) fn stood_for(&self, conf: &Conf, id: MemberId) -> Option<u32> {
        self.ledger.places.get(&(conf.set.clone(), id)).copied()
    }

    pub fn break_rule(&mut self, rule: u8, why: impl FnOnce() -> String) {
        if self.ledger.broken.is_none() {
            let why = why();
            self.tell(|| format!("RULE {rule} IS BROKEN: {why}"));
            self.ledger.broken = Some(Broken { rule, why });
        }
    }

    /// A mongod has found its place in a configuration. Rules 3 and 4: an `_id` never stands for two disks.
    pub(crate) fn note_place(&mut self, task: u32) {
        let mongod = &self.mongods[&task];
        let (Some(id), Some(conf)) = (mongod.self_id, mongod.conf()) else {
            return;
        };
        let (set, generation) = (conf.set.clone(), mongod.disk.generation);
        let before = *self.ledger.places.entry((set, id)).or_insert(generation);
        if before != generation && !self.ledger.emptied.contains(&generation) {
            self.break_rule(3, || {
                format!("member {id} was data {before}, and is data {generation} in t{task}")
            });
        }
    }

    /// Whether the data under a member's `_id` is what it was given for.
    pub fn is_at_its_place(&self, mongod: &crate::mongod::Mongod) -> bool {
        let (Some(id), Some(conf)) = (mongod.self_id, mongod.conf()) else {
            return false;
        };
        self.ledger.places.get(&(conf.set.clone(), id)) == Some(&mongod.disk.generation)
    }

    /// Rules 19 and 18: one primary a term, and it has all that was acknowledged.
    pub(crate) fn note_elected(&mut self, task: u32, term: i64) {
        if self.is_foreign(task) {
            return;
        }
        self.ledger.led_since.insert(task, self.now);
        let first = *self.ledger.elected.entry(term).or_insert(task);
        if first != task {
            self.break_rule(19, || {
                format!("t{first} and t{task} are primary in term {term}")
            });
        }
        self.demand_acknowledged(task);
    }

    fn is_foreign(&self, task: u32) -> bool {
        let conf = self.mongods.get(&task).and_then(|m| m.conf());
        conf.is_none_or(|c| self.ledger.foreign.contains(&c.set))
    }

    fn demand_acknowledged(&mut self, task: u32) {
        let oplog = &self.mongods[&task].disk.oplog;
        let mut all = self.ledger.acknowledged.iter();
        let lost = all.find(|(term, at)| {
            !oplog.contains(Position {
                term: **term,
                at: **at,
            })
        });
        if let Some((term, at)) = lost.map(|(t, a)| (*t, *a)) {
            self.break_rule(18, || {
                format!("t{task} is primary without the write {at} of term {term}, which was acknowledged")
            });
        }
    }

    /// Rule 18: all later primaries have what is acknowledged now.
    pub(crate) fn note_acknowledged(&mut self, task: u32, position: Position) {
        if self.is_foreign(task) {
            return;
        }
        let last = self.ledger.acknowledged.entry(position.term).or_default();
        *last = (*last).max(position.at);
        self.coverage.count("write", "acknowledged");
        let later = self.primaries().filter(|p| p.term > position.term);
        let later: Vec<u32> = later.map(|p| p.task).collect();
        for primary in later {
            if !self.is_foreign(primary) {
                self.demand_acknowledged(primary);
            }
        }
    }

    /// Rule 18: nothing that was acknowledged is taken back.
    pub(crate) fn note_roll_back(&mut self, task: u32, before: &Oplog, to: Position) {
        self.coverage.count("write", "rolled back");
        if self.is_foreign(task) {
            return;
        }
        let lost = self.ledger.acknowledged.iter().map(|(term, at)| Position {
            term: *term,
            at: *at,
        });
        let lost: Vec<_> = lost.filter(|p| *p > to && before.contains(*p)).collect();
        if let Some(position) = lost.first() {
            self.break_rule(18, || {
                format!("t{task} takes back {position:?}, which was acknowledged")
            });
        }
    }

    /// Rules 6 and 7: a set is initiated once.
    pub(crate) fn note_initiated(&mut self, task: u32, conf: &Conf) {
        self.ledger.initiated.push(conf.set.clone());
        self.ledger.initiated_at = self.now;
        if self.ledger.initiated.len() > 1 {
            self.break_rule(6, || format!("t{task} initiates the set a second time"));
        }
    }

    /// A new configuration is in force on a primary: rules 1, 5 and 11.
    pub(crate) fn note_change(&mut self, task: u32, before: &Conf, next: &Conf) {
        let was: BTreeSet<MemberId> = before.voters().map(|m| m.id).collect();
        let is: BTreeSet<MemberId> = next.voters().map(|m| m.id).collect();
        if was.symmetric_difference(&is).count() > 1 {
            self.break_rule(1, || format!("t{task}: voters {was:?} become {is:?}"));
        }
        for id in is.difference(&was) {
            let has_it = |m: &&crate::mongod::Mongod| m.self_id == Some(*id) && m.is_of(next);
            let ready = |m: &crate::mongod::Mongod| m.disk.synced && m.state.is_data_bearing();
            let member = self.mongods.values().find(has_it);
            if !member.is_some_and(ready) && !self.was_well_lately(*id, next) {
                self.break_rule(5, || format!("member {id} votes, and is not ready"));
            }
        }
        for member in next.members() {
            let key = (next.set.clone(), member.id);
            let name = member.identity();
            let first = self.ledger.named.entry(key).or_insert_with(|| name.clone());
            if *first != name && !first.is_address() {
                let (first, id) = (first.clone(), member.id);
                self.break_rule(3, || format!("_id {id} was {first}, and is {name}"));
            }
        }
        let votes = next.config.votes();
        if votes == 0 || votes > 7 || next.members().len() > 50 {
            self.break_rule(11, || format!("{votes} votes"));
        }
    }

    /// It was a secondary a moment ago, and what made it fail nobody could know of.
    fn was_well_lately(&self, id: MemberId, conf: &Conf) -> bool {
        let host = conf.config.member(id).map(|m| m.identity());
        let same =
            |m: &&crate::mongod::Mongod| Some(&m.host) == host.as_ref() || m.self_id == Some(id);
        let volume_is_synced = |d: &&crate::disk::Shelf| match d {
            crate::disk::Shelf::Free(disk) => {
                disk.synced && disk.conf.as_ref().is_some_and(|c| c.set == conf.set)
            }
            crate::disk::Shelf::InUse(_) => false,
        };
        match self.mongods.values().find(same) {
            Some(mongod) => mongod.disk.synced,
            None => self.disks.values().any(|d| volume_is_synced(&d)),
        }
    }

    /// A member is about to have all data again under the `_id` that it had when its disk was emptied. Rule 4: it would
    /// have been given another, if agents saw it and the set could spare its vote.
    pub(crate) fn note_synced(&mut self, task: u32) {
        let mongod = &self.mongods[&task];
        let votes = |c: &std::rc::Rc<Conf>| mongod.self_id.is_some_and(|id| c.is_voter(id));
        // Without a vote it does no harm under its old `_id`.
        let is_voter = mongod.conf().is_some_and(votes);
        let is_missed = self.ledger.missed.contains(&mongod.disk.generation);
        let seen_from = self.ledger.calm_since.max(mongod.ready_at);
        let is_late = self.now >= seen_from + TIME_TO_SEE;
        if is_voter && is_missed && is_late && !self.is_at_its_place(mongod) {
            let id = mongod.self_id;
            self.break_rule(4, || {
                format!("t{task} was empty under {id:?}, and nobody minded")
            });
        }
    }

    /// Whether an agent that does what it should has all that it needs for it.
    pub(crate) fn note_calm(&mut self) {
        let now = self.now;
        let agents = self.agents.iter().all(|a| a.down_until == 0);
        let Some((primary, conf)) = self.primary().and_then(|p| Some((p, p.conf()?))) else {
            self.ledger.calm_since = now + 1;
            return;
        };
        let well = |id: MemberId| {
            let mut all = self.mongods.values();
            all.any(|m| {
                m.self_id == Some(id) && m.is_of(conf) && m.is_well(now) && m.slow_until <= now
            })
        };
        let others_are_well = conf.voters().filter(|m| !well(m.id)).count() <= 1;
        let is_calm = agents
            && others_are_well
            && self.cut.is_empty()
            && self.swarm.leader.is_some()
            && self.troubles.until() < now
            && self.is_committed(primary.task)
            && conf.newly_added.is_empty()
            && conf.voters().count() > 2
            && now >= self.ledger.initiated_at + FIRST_COPIES;
        if !is_calm {
            self.ledger.calm_since = now + 1;
        }
    }

    /// What can be told from the world alone, after every event. Rule 19: two that lead in one term.
    pub(crate) fn check(&mut self) {
        let mut terms = BTreeMap::new();
        let mut twice = None;
        for primary in self.primaries() {
            let set = primary.conf().map(|c| &c.set);
            if let Some(other) = terms.insert((set, primary.term), primary.task) {
                twice = Some((primary.term, primary.task, other));
            }
        }
        if let Some((term, one, other)) = twice {
            self.break_rule(19, || format!("t{one} and t{other} lead in term {term}"));
        }
    }
}
