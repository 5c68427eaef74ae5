//! What each step does to this world: one exhaustive match, as `src/apply.rs` is for the real one.

use swarmset::step::{Ending, Step, Target};
use swarmset::swarm::model::Claim;

use swarmset::mongo::model::{MemberState, SetConfig};

use crate::agent::Seen;
use crate::disk::Conf;
use crate::mongod::Mongod;
use crate::reconfiguring::Refusal;
use crate::swarm::{date, number_of};
use crate::world::World;

/// How long others stand back at a hand-over, and the old primary after it (`src/apply/election.rs`).
const STAND_BACK: u64 = 3;
const REST: u64 = 10;
const LONG_REST: u64 = 900;

/// Added to the version, this stands for `force`, which no step has: a mutant uses it.
pub const FORCED: i64 = 1_000_000;

pub fn is_forced(config: &SetConfig, now: &Conf) -> bool {
    config.version >= now.config.version + FORCED
}

/// What an agent hears of its command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    AlreadyTrue,
    NotYet,
    Unknown,
    Refused(&'static str),
}

impl Outcome {
    pub fn kind(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::AlreadyTrue => "already true",
            Self::NotYet => "not yet",
            Self::Unknown => "unknown",
            Self::Refused(_) => "refused",
        }
    }
}

impl From<Result<(), Refusal>> for Outcome {
    fn from(said: Result<(), Refusal>) -> Self {
        match said {
            Ok(()) => Self::Done,
            Err(Refusal::AlreadyInitialised) => Self::AlreadyTrue,
            Err(Refusal::NotPrimary | Refusal::NotCommitted | Refusal::NodeNotFound) => {
                Self::NotYet
            }
            Err(Refusal::HoldsData) => Self::Refused("a member holds data"),
            Err(Refusal::Incompatible(why)) => Self::Refused(why),
        }
    }
}

impl World {
    /// A step reaches its server, is judged, and is done.
    pub fn execute(&mut self, from: u8, step: &Step, seen: &Seen) -> Outcome {
        self.ledger.last_step = self.now;
        self.judge(step, seen);
        match step {
            Step::Claim {
                key,
                content,
                replica_set_id,
            } => {
                if self.swarm.leader.is_none() {
                    return Outcome::NotYet;
                }
                let name = key.claim_name();
                if self.swarm.claims.contains_key(&name) {
                    return Outcome::AlreadyTrue;
                }
                let claim = Claim {
                    id: format!("claim{}", self.now),
                    version: 1,
                    created: Some(date(self.now)),
                    content: Ok(content.clone()),
                    replica_set_id: replica_set_id.clone(),
                };
                self.swarm.claims.insert(name, claim);
                Outcome::Done
            }
            Step::RecordIdentity {
                key,
                claim,
                replica_set_id,
            } => {
                let Some(kept) = self.swarm.claims.get_mut(&key.claim_name()) else {
                    return Outcome::Refused("no such config");
                };
                if kept.id != claim.id || kept.version != claim.version {
                    return Outcome::Refused("update out of sequence");
                }
                kept.version += 1;
                kept.replica_set_id = Some(replica_set_id.clone());
                Outcome::Done
            }
            Step::Initiate { on, config, .. } => match self.reach(from, on) {
                Some(task) => self.initiate(task, config).into(),
                None => Outcome::NotYet,
            },
            Step::StandForElection { on, .. } => match self.reach(from, on) {
                Some(task) if self.stand(task) => Outcome::Done,
                _ => Outcome::NotYet,
            },
            Step::HandOver {
                from: leaver,
                to,
                others,
                outranks,
                ..
            } => {
                let others: Vec<u32> = others.iter().filter_map(|t| self.reach(from, t)).collect();
                let (leaver, to) = (self.reach(from, leaver), self.reach(from, to));
                match (leaver, to) {
                    (Some(leaver), to) => self.hand_over(leaver, to, &others, *outranks),
                    (None, _) => Outcome::NotYet,
                }
            }
            Step::Reconfigure { on, config, .. } => match self.reach(from, on) {
                Some(task)
                    if self.mongods[&task]
                        .conf()
                        .is_some_and(|c| is_forced(config, c)) =>
                {
                    self.force(task, config);
                    Outcome::Done
                }
                Some(task) => self.reconfigure(task, config).into(),
                None => Outcome::NotYet,
            },
            Step::Sharding(_) => Outcome::Refused("there are no routers here"),
            Step::ExtendQuiesce {
                on, milliseconds, ..
            } => {
                for target in on {
                    let task = self.reach(from, target);
                    let mongod = task.and_then(|t| self.mongods.get_mut(&t));
                    if let Some(mongod) = mongod {
                        mongod.quiesce_ms = *milliseconds;
                    }
                }
                Outcome::Done
            }
            Step::ShutDown { on, why, .. } => {
                let Some(task) = self.reach(from, on) else {
                    return Outcome::NotYet;
                };
                if *why == Ending::Dissolved {
                    // A person has given the set up: no other member's removal is judged by its end.
                    self.note_gone(task);
                }
                self.shut_down(task, *why)
            }
        }
    }

    /// The mongod at a target's address, if it answers.
    fn reach(&self, from: u8, on: &Target) -> Option<u32> {
        let task = number_of(&on.task);
        let mongod = self.mongods.get(&task)?;
        (mongod.answers(self.now) && self.nodes_connected(from, mongod.node)).then_some(task)
    }

    /// Installs a configuration without a majority's consent, as the server does it: the version leaps.
    fn force(&mut self, task: u32, config: &SetConfig) {
        let conf = Conf::new(config.clone(), Default::default());
        let now = self.now;
        if let Some(mongod) = self.mongods.get_mut(&task) {
            mongod.install(conf, now);
        }
    }

    /// The others stand back, the primary steps down once one that may lead has all writes, and its successor stands.
    fn hand_over(
        &mut self,
        leaver: u32,
        to: Option<u32>,
        others: &[u32],
        outranks: bool,
    ) -> Outcome {
        let now = self.now;
        for other in others {
            if let Some(mongod) = self.mongods.get_mut(other).filter(|m| !m.leads()) {
                mongod.frozen_until = mongod.frozen_until.max(now + STAND_BACK);
            }
        }
        if let Some(to) = to {
            self.replicate(to);
        }
        let primary = &self.mongods[&leaver];
        let last = primary.disk.oplog.last();
        let is_caught_up = |m: &Mongod| {
            m.task != leaver && m.state == MemberState::Secondary && m.disk.oplog.last() >= last
        };
        if !primary.leads() || !self.mongods.values().any(is_caught_up) {
            return Outcome::NotYet;
        }
        if let Some(primary) = self.mongods.get_mut(&leaver) {
            primary.step_down();
            primary.frozen_until = now + if outranks { LONG_REST } else { REST };
        }
        self.tell(|| format!("t{leaver} steps down"));
        if to.is_some_and(|to| self.stand(to)) {
            Outcome::Done
        } else {
            Outcome::NotYet
        }
    }

    /// Without `force` a primary ends only if another that is caught up can take over.
    fn shut_down(&mut self, task: u32, why: Ending) -> Outcome {
        let force = match why {
            Ending::Removed | Ending::Dissolved | Ending::RestartAlone => true,
            Ending::Restart => false,
        };
        let own = &self.mongods[&task];
        if own.leads() {
            let last = own.disk.oplog.last();
            let caught_up =
                |m: &Mongod| m.task != task && m.may_stand(self.now) && m.disk.oplog.last() >= last;
            if !force && !self.mongods.values().any(caught_up) {
                return Outcome::Refused("no electable secondary is caught up");
            }
            if let Some(own) = self.mongods.get_mut(&task) {
                own.step_down();
            }
            self.hand_off(task);
        }
        self.tell(|| format!("t{task} is shut down"));
        self.end_mongod(task);
        Outcome::Done
    }
}
