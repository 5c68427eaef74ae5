//! Elections: one round of requests for votes, of which answers may be lost.

use std::rc::Rc;

use swarmset::names::MemberId;

use crate::disk::Conf;
use crate::mongod::ELECTION_TIMEOUT;
use crate::oplog::Position;
use crate::world::World;

impl World {
    /// No primary was heard for the time-out; or a worse one leads than this member could.
    pub(crate) fn stand_if_due(&mut self, task: u32) {
        let now = self.now;
        let Some(own) = self.mongods.get(&task).filter(|m| m.may_stand(now)) else {
            return;
        };
        let overdue = now >= own.heard + ELECTION_TIMEOUT + own.patience;
        if overdue && self.stand(task) {
            return;
        }
        let (mut dice, usurps) = (self.dice(6, u64::from(task)), self.outranks_primary(task));
        if usurps && dice.percent(10) {
            self.stand(task);
        }
        if overdue && let Some(own) = self.mongods.get_mut(&task) {
            own.heard = now;
            own.patience = dice.below(5);
        }
    }

    /// A priority take-over: it has a higher priority than the primary, and is caught up.
    fn outranks_primary(&self, task: u32) -> bool {
        let own = &self.mongods[&task];
        let (Some(conf), Some(primary)) = (own.conf(), own.primary) else {
            return false;
        };
        let priority = |id: MemberId| conf.config.member(id).map_or(0.0, |m| m.priority);
        let own_priority = own.self_id.map_or(0.0, priority);
        let applied = own.known.get(&primary).map_or(0, |k| k.applied.at);
        own_priority > priority(primary) && own.disk.oplog.last().at + 2000 >= applied
    }

    /// A member that leads and is to end lets another stand at once.
    pub(crate) fn hand_off(&mut self, from: u32) {
        let leaver = &self.mongods[&from];
        let (now, last) = (self.now, leaver.disk.oplog.last());
        let (term, Some(conf)) = (leaver.term, leaver.conf().cloned()) else {
            return;
        };
        let fits = |m: &&crate::mongod::Mongod| {
            m.task != from
                && m.is_of(&conf)
                && m.may_stand(now)
                && m.disk.oplog.last() >= last
                && m.term == term
        };
        let next = self.mongods.values().find(fits).map(|m| m.task);
        if let Some(next) = next {
            self.stand(next);
        }
    }

    /// Asks all voters for their votes, and leads if a majority gives them.
    pub(crate) fn stand(&mut self, task: u32) -> bool {
        let now = self.now;
        let Some(own) = self.mongods.get(&task).filter(|m| m.may_stand(now)) else {
            return false;
        };
        let (Some(conf), Some(id)) = (own.conf().cloned(), own.self_id) else {
            return false;
        };
        let (term, applied) = (own.term + 1, own.disk.oplog.last());
        let asked = self.asked(task, &conf, id);
        let would = |voter: &u32| {
            let voter = &self.mongods[voter];
            voter.would_vote(term, conf.version(), applied)
        };
        let willing: Vec<u32> = asked.iter().copied().filter(would).collect();
        let own_vote = usize::from(own.disk.voted < term);
        // The dry run: nobody's term changes for a lost cause.
        if own_vote == 0 || willing.len() + own_vote < conf.majority() {
            return false;
        }
        for voter in asked {
            self.learn_term(voter, term);
        }
        let mut dice = self.dice(7, u64::from(task));
        let mut votes = own_vote;
        for voter in willing {
            if let Some(voter) = self.mongods.get_mut(&voter) {
                voter.disk.voted = term;
                voter.heard = now;
            }
            votes += usize::from(!dice.percent(4));
        }
        if let Some(own) = self.mongods.get_mut(&task) {
            own.disk.voted = term;
            own.learn_term(term);
        }
        if votes >= conf.majority() {
            self.win(task, &conf, term);
            return true;
        }
        self.tell(|| format!("t{task} stands for term {term}, and answers are lost"));
        false
    }

    /// The voters that its requests reach.
    fn asked(&self, task: u32, conf: &Conf, id: MemberId) -> Vec<u32> {
        let own = &self.mongods[&task];
        let others = conf.voters().filter(|m| m.id != id);
        let reached = others.filter_map(|m| self.dial(own, &m.host));
        reached
            .filter(|voter| self.mongods[voter].is_of(conf))
            .collect()
    }

    /// Leads: with a configuration of the new term, and a first entry in its oplog.
    fn win(&mut self, task: u32, conf: &Rc<Conf>, term: i64) {
        let now = self.now;
        let mut config = conf.config.clone();
        config.term = Some(term);
        let next = Conf::new(config, conf.newly_added.clone());
        let Some(own) = self.mongods.get_mut(&task) else {
            return;
        };
        own.state = swarmset::mongo::model::MemberState::Primary;
        own.primary = own.self_id;
        own.heard = now;
        let at = (now * 1000).max(own.disk.oplog.last().at + 1);
        let first = Position { term, at };
        self.note_elected(task, term);
        let Some(own) = self.mongods.get_mut(&task) else {
            return;
        };
        own.disk.oplog.append(first);
        own.must_commit = first;
        own.commit = Position::default();
        own.unacknowledged.clear();
        own.install(next, now);
        self.tell(|| format!("t{task} is primary in term {term}"));
    }
}
