//! One mongod: a process that has a disk open, and what it has heard from the others.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use swarmset::mongo::model::{ConfigVersion, MemberState};
use swarmset::names::{Host, MemberId};

use crate::disk::{Conf, Disk, Volume};
use crate::oplog::Position;

/// After so many seconds without a word from a primary, a member stands for election (manual, `electionTimeoutMillis`).
pub const ELECTION_TIMEOUT: u64 = 10;
/// mongod's own quiesce after SIGTERM.
pub const DEFAULT_QUIESCE_MS: u64 = 15_000;

#[derive(Clone, Debug)]
pub struct Mongod {
    pub task: u32,
    pub node: u8,
    pub volume: Volume,
    pub host: Host,
    pub address: Host,
    pub disk: Box<Disk>,
    pub state: MemberState,
    pub self_id: Option<MemberId>,
    pub term: i64,
    /// By the other's `_id`.
    pub known: BTreeMap<MemberId, Known>,
    /// Tasks to which it has an open connection: that works on when a name has left DNS.
    pub connected: BTreeSet<u32>,
    /// Whom it takes for the primary.
    pub primary: Option<MemberId>,
    /// When it last heard from a primary, or voted.
    pub heard: u64,
    /// How much longer than the election time-out it waits.
    pub patience: u64,
    pub commit: Position,
    /// What a majority of the present configuration must have before the next (`oplog commitment`).
    pub must_commit: Position,
    /// Writes that wait for a majority.
    pub unacknowledged: Vec<Position>,
    pub source: Option<Host>,
    /// When its initial sync will be done.
    pub synced_at: Option<u64>,
    /// When its quiesce ends, and it.
    pub quiesces_until: Option<u64>,
    pub quiesce_ms: u64,
    pub frozen_until: u64,
    /// From when on it answers.
    pub ready_at: u64,
    /// SIGSTOP, until then.
    pub stopped_until: u64,
    /// It copies nothing until then.
    pub slow_until: u64,
    /// When it last was a primary or secondary that answers.
    pub last_well: u64,
}

/// What one member has heard from another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Known {
    pub state: MemberState,
    pub healthy: bool,
    pub applied: Position,
    pub config: ConfigVersion,
    pub at: u64,
}

impl Mongod {
    pub fn conf(&self) -> Option<&Rc<Conf>> {
        self.disk.conf.as_ref()
    }

    /// Whether it is a member of the set that this configuration is of.
    pub fn is_of(&self, conf: &Conf) -> bool {
        self.conf().is_some_and(|own| own.set == conf.set)
    }

    pub fn version(&self) -> ConfigVersion {
        let none = ConfigVersion {
            term: -1,
            version: -1,
        };
        self.conf().map_or(none, |c| c.version())
    }

    /// Its process runs, and answers.
    pub fn answers(&self, now: u64) -> bool {
        now >= self.ready_at && now >= self.stopped_until
    }

    pub fn leads(&self) -> bool {
        self.state == MemberState::Primary
    }

    /// Takes part with a complete copy of the data.
    pub fn is_well(&self, now: u64) -> bool {
        self.answers(now) && self.state.is_data_bearing()
    }

    /// Learns of a term; a primary of an earlier one steps down.
    pub fn learn_term(&mut self, term: i64) {
        if term > self.term {
            self.term = term;
            self.step_down();
        }
    }

    pub fn step_down(&mut self) {
        if self.leads() {
            self.state = MemberState::Secondary;
            self.primary = None;
            self.unacknowledged.clear();
        }
    }

    /// Takes a configuration for its own, and finds its place in it.
    pub fn install(&mut self, conf: Rc<Conf>, now: u64) {
        let id = conf.find(&self.host, &self.address);
        self.known
            .retain(|other, _| conf.config.member(*other).is_some());
        if self.self_id != id {
            self.known.clear();
            self.heard = now;
        }
        self.self_id = id;
        self.term = self.term.max(conf.version().term);
        self.disk.conf = Some(conf);
        if id.is_none() {
            self.step_down();
            self.state = MemberState::Removed;
            self.primary = None;
            return;
        }
        if matches!(self.state, MemberState::Startup | MemberState::Removed) {
            self.state = if self.disk.synced {
                MemberState::Secondary
            } else {
                MemberState::Startup2
            };
            self.heard = now;
        }
    }

    /// May stand for election now: it could lead, and nothing keeps it from it.
    pub fn may_stand(&self, now: u64) -> bool {
        let able = |conf: &Rc<Conf>| {
            let own = self.self_id.and_then(|id| conf.config.member(id));
            own.is_some_and(|m| m.priority > 0.0 && conf.votes(m))
        };
        self.state == MemberState::Secondary
            && self.quiesces_until.is_none()
            && now >= self.frozen_until
            && self.conf().is_some_and(able)
    }

    /// Whether it would give its vote. A member with an empty disk gives it, too.
    pub fn would_vote(&self, term: i64, config: ConfigVersion, applied: Position) -> bool {
        self.term < term
            && self.disk.voted < term
            && self.version() <= config
            && self.disk.oplog.last() <= applied
            && self.state != MemberState::Removed
    }
}
