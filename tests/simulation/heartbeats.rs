//! What a mongod does in its second: heartbeats with terms and configurations, and what follows from them.

use std::rc::Rc;

use swarmset::mongo::model::{ConfigVersion, MemberState};
use swarmset::names::MemberId;

use crate::disk::Conf;
use crate::mongod::{ELECTION_TIMEOUT, Known};
use crate::oplog::Position;
use crate::world::World;

/// Seconds between two heartbeats to the same member (manual, `heartbeatIntervalMillis`).
const INTERVAL: u64 = 2;

impl World {
    pub(crate) fn mongod_acts(&mut self, task: u32) {
        let now = self.now;
        let Some(mongod) = self.mongods.get_mut(&task) else {
            return;
        };
        if !mongod.answers(now) {
            return;
        }
        if mongod.state == MemberState::Startup {
            // What is on its disk has been read.
            if let Some(conf) = mongod.disk.conf.clone() {
                mongod.install(conf, now);
                self.note_place(task);
            }
            return;
        }
        self.write(task);
        if (now + u64::from(task)).is_multiple_of(INTERVAL) {
            self.send_heartbeats(task);
        }
        self.replicate(task);
        self.advance_commit(task);
        self.grant_votes(task);
        self.step_down_without_majority(task);
        self.stand_if_due(task);
    }

    fn send_heartbeats(&mut self, task: u32) {
        let Some(conf) = self.mongods.get(&task).and_then(|m| m.conf().cloned()) else {
            return;
        };
        for member in conf.members() {
            let Some(own) = self.mongods.get(&task) else {
                return;
            };
            if own.self_id == Some(member.id) {
                continue;
            }
            match self.dial(own, &member.host) {
                Some(other) => self.heartbeat(task, other, member.id),
                None => self.unheard(task, &conf, member.id),
            }
        }
    }

    /// Nobody is there, or nothing comes back: refused at once, or given up after the election time-out.
    fn unheard(&mut self, task: u32, conf: &Conf, id: MemberId) {
        let host = conf.config.member(id).map(|m| m.host.clone());
        let refused = !self
            .mongods
            .values()
            .any(|m| Some(&m.host) == host.as_ref() || Some(&m.address) == host.as_ref());
        let now = self.now;
        let Some(own) = self.mongods.get_mut(&task) else {
            return;
        };
        let known = own.known.entry(id).or_insert(Known {
            state: MemberState::Down,
            healthy: false,
            applied: Position::default(),
            config: ConfigVersion {
                term: -1,
                version: -1,
            },
            at: 0,
        });
        if refused || now >= known.at + ELECTION_TIMEOUT {
            known.healthy = false;
            known.state = MemberState::Down;
            if own.primary == Some(id) {
                own.primary = None;
            }
        }
    }

    /// One request and its answer. Both learn the later term and the newer configuration.
    fn heartbeat(&mut self, from: u32, to: u32, id: MemberId) {
        let now = self.now;
        let (a, b) = (&self.mongods[&from], &self.mongods[&to]);
        let (Some(conf), theirs) = (a.conf().cloned(), b.conf().cloned()) else {
            return;
        };
        if theirs.as_ref().is_some_and(|t| t.set != conf.set) || b.disk.collections > 0 {
            // "replica set IDs do not match"
            self.unheard(from, &conf, id);
            return;
        }
        let term = a.term.max(b.term);
        if theirs.is_some() {
            for task in [from, to] {
                self.learn_term(task, term);
            }
        }
        match theirs {
            None => self.offer(to, &conf),
            Some(theirs) if theirs.version() < conf.version() => self.take(to, &conf),
            Some(theirs) if theirs.version() > conf.version() => self.take(from, &theirs),
            Some(_) => {}
        }
        let b = &self.mongods[&to];
        let heard = Known {
            state: b.state,
            healthy: true,
            applied: b.disk.oplog.last(),
            config: b.version(),
            at: now,
        };
        let (b_leads, b_term) = (b.leads(), b.term);
        let Some(a) = self.mongods.get_mut(&from) else {
            return;
        };
        a.known.insert(id, heard);
        a.connected.insert(to);
        let from_primary = (a.leads(), a.term, a.self_id);
        if b_leads && b_term >= a.term {
            a.primary = Some(id);
            a.heard = now;
        } else if a.primary == Some(id) {
            a.primary = None;
        }
        if let Some(b) = self.mongods.get_mut(&to) {
            b.connected.insert(from);
            if let (true, term, Some(id)) = from_primary
                && term >= b.term
                && b.conf().is_some()
            {
                b.primary = Some(id);
                b.heard = now;
            }
        }
    }

    pub(crate) fn learn_term(&mut self, task: u32, term: i64) {
        let Some(mongod) = self.mongods.get_mut(&task) else {
            return;
        };
        let led = mongod.leads();
        mongod.learn_term(term);
        if led && !mongod.leads() {
            self.tell(|| format!("t{task} learns of term {term}, and steps down"));
        }
    }

    /// A mongod without a configuration takes one in which it finds itself.
    fn offer(&mut self, to: u32, conf: &Rc<Conf>) {
        let b = &self.mongods[&to];
        if conf.find(&b.host, &b.address).is_some() {
            self.take(to, conf);
        }
    }

    fn take(&mut self, to: u32, conf: &Rc<Conf>) {
        let now = self.now;
        let Some(b) = self.mongods.get_mut(&to) else {
            return;
        };
        b.install(Rc::clone(conf), now);
        let state = b.state;
        self.note_place(to);
        let version = conf.version();
        self.tell(|| format!("t{to} has configuration {version}, and is {state}"));
    }

    /// A primary that has not heard a majority for the election time-out gives up.
    fn step_down_without_majority(&mut self, task: u32) {
        let now = self.now;
        let Some(own) = self.mongods.get_mut(&task).filter(|m| m.leads()) else {
            return;
        };
        let Some(conf) = own.conf().cloned() else {
            return;
        };
        let fresh = |id: MemberId| {
            let known = own.known.get(&id);
            known.is_some_and(|k| k.healthy && now < k.at + ELECTION_TIMEOUT)
        };
        let heard = conf
            .voters()
            .filter(|m| Some(m.id) == own.self_id || fresh(m.id));
        if heard.count() >= conf.majority() {
            own.heard = now;
        } else if now >= own.heard + ELECTION_TIMEOUT {
            own.step_down();
            own.heard = now;
            self.tell(|| format!("t{task} does not reach a majority, and steps down"));
        }
    }
}
