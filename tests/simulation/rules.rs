//! The safety rules (design, section 5) on steps, at the moment when they reach their server. They are judged by what
//! is true in the world, not by what the planner believed; what became false only after the agent had looked is not
//! held against it. Numbers are the rules' own.

use swarmset::mongo::model::{MemberConfig, SetConfig};
use swarmset::names::{Host, MemberId};
use swarmset::step::{Ending, MemberChange, Step, Target};
use swarmset::swarm::model::{DesiredState, Task};

use crate::agent::Seen;
use crate::commands::is_forced;
use crate::disk::Conf;
use crate::mongod::Mongod;
use crate::swarm::number_of;
use crate::world::World;

impl World {
    pub(crate) fn judge(&mut self, step: &Step, seen: &Seen) {
        match step {
            Step::Reconfigure {
                on,
                base,
                changes,
                config,
                ..
            } => {
                self.judge_change(on, base, changes, config, seen);
            }
            Step::ShutDown { on, why, .. } => self.judge_end(on, *why, seen),
            Step::Initiate { config, .. } => {
                if config.votes() > 7 {
                    self.break_rule(11, || format!("{} votes", config.votes()));
                }
            }
            Step::Claim { .. }
            | Step::RecordIdentity { .. }
            | Step::StandForElection { .. }
            | Step::HandOver { .. }
            | Step::ExtendQuiesce { .. }
            | Step::Sharding(_) => {}
        }
    }

    fn judge_change(
        &mut self,
        on: &Target,
        base: &SetConfig,
        changes: &[MemberChange],
        config: &SetConfig,
        seen: &Seen,
    ) {
        let task = number_of(&on.task);
        let primary = self.mongods.get(&task).filter(|m| m.leads());
        let Some((primary, now)) = primary.and_then(|p| Some((p, p.conf()?.clone()))) else {
            return;
        };
        if config.version <= now.config.version || is_forced(config, &now) {
            return;
        }
        let (id, same_base) = (
            primary.self_id,
            now.config.version == base.version && now.config.members == base.members,
        );
        if !same_base || config.version != base.version + 1 {
            self.break_rule(14, || {
                format!("version {} would follow {}", config.version, now.version())
            });
        }
        if !self.is_committed(task)
            && self.ledger.emptied.is_empty()
            && now.version() == base.config_version()
        {
            self.break_rule(2, || {
                format!("{} is not committed, and is to be followed", now.version())
            });
        }
        self.judge_votes(&now, config);
        if id.is_none_or(|id| config.member(id).is_none()) {
            self.break_rule(10, || format!("the primary t{task} would be removed"));
        }
        for member in config
            .members
            .iter()
            .filter(|m| now.config.member(m.id).is_none())
        {
            self.judge_newcomer(&now, member, seen);
        }
        for member in now
            .members()
            .iter()
            .filter(|m| config.member(m.id).is_none())
        {
            self.judge_removal(&now, member, seen);
        }
        for change in changes {
            if let MemberChange::GiveVote { host, .. } = change {
                self.judge_twins(host, seen);
            }
        }
    }

    /// Rules 1, 3 and 11.
    fn judge_votes(&mut self, now: &Conf, config: &SetConfig) {
        let voted = |id: MemberId| now.is_voter(id);
        let will = |id: MemberId| {
            let votes = config.member(id).is_some_and(|m| m.votes > 0);
            votes && now.config.member(id).is_some() && !now.newly_added.contains(&id)
        };
        let all = now.members().iter().map(|m| m.id);
        let changes = all.filter(|id| voted(*id) != will(*id)).count();
        if changes > 1 {
            self.break_rule(1, || format!("{changes} voters would change at once"));
        }
        for member in &config.members {
            let was = now.config.member(member.id).map(MemberConfig::identity);
            if was.is_some_and(|was| was != member.identity() && !was.is_address()) {
                self.break_rule(3, || {
                    format!("member {} would be {}", member.id, member.host)
                });
            }
        }
        if config.votes() > 7 || config.votes() == 0 {
            self.break_rule(11, || format!("{} votes", config.votes()));
        }
    }

    /// Rules 3, 7 and 13.
    fn judge_newcomer(&mut self, now: &Conf, member: &MemberConfig, seen: &Seen) {
        let here = |m: &&Mongod| m.host == member.host && self.swarm.is_in_dns(m.task);
        let process = self.mongods.values().find(here);
        let generation = process.map(|m| m.disk.generation);
        let reused = self
            .stood_for(now, member.id)
            .is_some_and(|g| Some(g) != generation);
        let foreign = process
            .and_then(|m| m.conf())
            .is_some_and(|c| c.set != now.set);
        let holds = process.is_some_and(|m| m.disk.collections > 0);
        if reused {
            self.break_rule(3, || format!("_id {} stood for other data", member.id));
        }
        if foreign || holds {
            self.break_rule(7, || {
                format!("{} is not of this set, and would be a member", member.host)
            });
        }
        self.judge_twins(&member.host, seen);
    }

    /// Rule 13: two live tasks of one name on different nodes.
    fn judge_twins(&mut self, host: &Host, seen: &Seen) {
        let named = |t: &&Task| host_of(t, self.cast.per_node).as_ref() == Some(host);
        let alive = |t: &&Task| t.is_wanted() || t.is_leaving();
        let mut nodes: Vec<_> = seen
            .swarm
            .tasks
            .values()
            .filter(named)
            .filter(alive)
            .filter_map(|t| t.node.as_ref())
            .collect();
        nodes.sort();
        nodes.dedup();
        if nodes.len() > 1 {
            self.break_rule(13, || format!("{host} has live tasks on two nodes"));
        }
    }

    /// Rules 9 and 12.
    fn judge_removal(&mut self, now: &Conf, member: &MemberConfig, seen: &Seen) {
        let name = member.identity();
        let named = |t: &&Task| host_of(t, self.cast.per_node).as_ref() == Some(&name);
        let wanted = seen
            .swarm
            .tasks
            .values()
            .filter(named)
            .find(|t| t.is_wanted());
        let was_empty = self
            .ledger
            .empty_at
            .get(&name)
            .is_some_and(|at| at + 1 >= seen.at);
        let is_empty = self
            .mongods
            .values()
            .any(|m| m.host == name && !m.disk.synced);
        if let Some(task) = wanted.filter(|_| !was_empty && !is_empty) {
            let id = task.id.clone();
            self.break_rule(12, || {
                format!("{name} would be removed, and Swarm wants its task {id}")
            });
        }
        if seen.swarm.nodes.is_empty() || !name.as_str().starts_with("mongo-") {
            self.break_rule(12, || {
                format!("{name} would be removed without Swarm's word")
            });
        }
        if now.votes(member) {
            let voters = now.voters().filter(|m| m.id != member.id);
            let all: Vec<MemberId> = voters.map(|m| m.id).collect();
            let well = self.well_among(now, &all, seen);
            if 2 * well <= all.len() {
                self.break_rule(9, || {
                    format!(
                        "{name} would be removed, and {well} of {} are well",
                        all.len()
                    )
                });
            }
        }
    }

    /// Voters that are well, or were when the agent looked.
    fn well_among(&self, conf: &Conf, ids: &[MemberId], seen: &Seen) -> usize {
        // One that gets SIGTERM soon answers nobody new: for it the primary's word has to do, which may be a time-out late.
        let primary = self.primary();
        let word = |m: &Mongod| {
            let known = primary.and_then(|p| p.known.get(&m.self_id?));
            let task = self.swarm.tasks.get(&m.task);
            let goes = !self.cast.held && task.is_some_and(|t| !t.task.is_wanted());
            goes && known.is_some_and(|k| k.healthy)
        };
        let was_well = |m: &Mongod| m.is_well(self.now) || m.last_well + 1 >= seen.at || word(m);
        let of = |id: &&MemberId| {
            let host = conf.config.member(**id).map(MemberConfig::identity);
            let is_it = |m: &&Mongod| {
                m.is_of(conf) && (m.self_id == Some(**id) || Some(&m.host) == host.as_ref())
            };
            self.mongods.values().filter(is_it).any(was_well) || self.ended_lately(**id, seen)
        };
        ids.iter().filter(of).count()
    }

    /// A process that was there when the agent looked, and has ended since.
    fn ended_lately(&self, id: MemberId, seen: &Seen) -> bool {
        // Of one that gets SIGTERM only the primary's heartbeats tell, every two seconds.
        let late = if self.cast.held { 1 } else { 3 };
        let ended = self.ledger.ended.get(&id);
        ended.is_some_and(|at| *at + late >= seen.at)
    }

    /// Rules 9, 10 and 12.
    fn judge_end(&mut self, on: &Target, why: Ending, seen: &Seen) {
        let number = number_of(&on.task);
        let task = seen.swarm.tasks.get(&on.task);
        let told = task
            .is_some_and(|t| matches!(t.desired, DesiredState::Shutdown | DesiredState::Remove));
        if !told {
            self.break_rule(12, || {
                format!("t{number} would end, and Swarm has not told it to stop")
            });
        }
        let newest = self.primary();
        let newest_term = newest.map(|p| p.term);
        let Some(conf) = newest.and_then(|p| p.conf().cloned()) else {
            return;
        };
        let Some(mongod) = self.mongods.get(&number).filter(|m| m.is_of(&conf)) else {
            return;
        };
        let Some(id) = mongod
            .self_id
            .filter(|id| conf.config.member(*id).is_some())
        else {
            return;
        };
        // One that was deposed, and does not know it yet, is no primary.
        let leads = mongod.leads() && newest_term == Some(mongod.term);
        let voters: Vec<MemberId> = conf.voters().map(|m| m.id).collect();
        let others: Vec<MemberId> = voters.iter().copied().filter(|v| *v != id).collect();
        match why {
            Ending::Dissolved => {}
            Ending::Removed => {
                if mongod.version() == conf.version() && mongod.last_well >= seen.at {
                    self.break_rule(9, || format!("t{number} would end, and is a member"));
                }
            }
            Ending::RestartAlone => {
                if others.len() > 1 {
                    self.break_rule(9, || format!("t{number} would end as if it were alone"));
                }
            }
            Ending::Restart => {
                if leads && self.ledger.led_at(number, seen.at) {
                    self.break_rule(10, || format!("the primary t{number} would end"));
                }
                let well = self.well_among(&conf, &others, seen);
                let needed = if voters.len() <= 2 {
                    others.len()
                } else {
                    voters.len() / 2 + 1
                };
                if well < needed {
                    self.break_rule(9, || {
                        format!(
                            "t{number} would end, and {well} of {} are well",
                            voters.len()
                        )
                    });
                }
            }
        }
    }
}

/// A task's name as a member.
fn host_of(task: &Task, per_node: bool) -> Option<Host> {
    let (slot, node) = (task.slot?, task.node.as_ref()?);
    Some(Host::new(if per_node {
        format!("mongo-{slot}-{node}:27017")
    } else {
        format!("mongo-{slot}:27017")
    }))
}
