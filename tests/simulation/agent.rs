//! The agents: observe, plan, apply, each at its own pace, with what can go wrong in between.

use std::collections::BTreeMap;
use std::rc::Rc;

use jiff::SignedDuration;
use swarmset::history::History;
use swarmset::intent::LABEL_ROLE;
use swarmset::mongo::model::MemberReport;
use swarmset::names::TaskId;
use swarmset::observation::{Observation, Reading};
use swarmset::plan::plan;
use swarmset::step::{Lane, Plan, Step};
use swarmset::swarm::model::Swarm;

use crate::commands::Outcome;
use crate::swarm::date;
use crate::world::World;

#[derive(Debug)]
pub struct Agent {
    pub node: u8,
    /// It is down until then.
    pub down_until: u64,
    history: History,
    under_way: Vec<UnderWay>,
    next_cycle: u64,
    begun: Option<Begun>,
    /// What its last plan was, to see whether it is at rest.
    pub last_plan: Plan,
    pub memory: crate::mutants::Memory,
}

/// A look at the world that is not finished.
#[derive(Debug)]
struct Begun {
    seen: Seen,
    members: BTreeMap<TaskId, Reading<MemberReport>>,
}

/// What an agent could know when it planned: by this its steps are judged.
#[derive(Clone, Debug)]
pub struct Seen {
    pub at: u64,
    pub swarm: Rc<Swarm>,
}

/// A step on its way.
#[derive(Clone, Debug)]
struct UnderWay {
    lane: Lane,
    step: Step,
    seen: Seen,
    arrives: u64,
    fate: Fate,
    /// The agent has given up waiting; the command is still on its way.
    given_up: bool,
}

/// What becomes of a command, beside what the server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Answered,
    /// It does what it asks, and nobody hears of it.
    AnswerLost,
    NeverArrives,
}

impl Agent {
    pub fn new(node: u8) -> Self {
        Self {
            node,
            down_until: 0,
            history: History::default(),
            under_way: Vec::new(),
            next_cycle: 1,
            begun: None,
            last_plan: Plan::default(),
            memory: Default::default(),
        }
    }

    /// It dies: before its steps are sent, or just after; what is on the wire arrives.
    pub fn die(&mut self, until: u64, before: bool) {
        if before {
            self.under_way.retain(|step| step.given_up);
        }
        self.down_until = until;
        self.history = History::default();
        self.begun = None;
        self.last_plan = Plan::default();
        self.memory = Default::default();
        for step in &mut self.under_way {
            step.given_up = true;
        }
    }

    pub fn is_idle(&self) -> bool {
        self.under_way.is_empty() && self.last_plan.steps.is_empty()
    }
}

impl World {
    pub(crate) fn agent_acts(&mut self, number: usize) {
        self.deliver(number);
        let now = self.now;
        let agent = &self.agents[number];
        let node_is_up = self.swarm.nodes.get(&agent.node).is_some_and(|n| n.up);
        if now < agent.down_until || !node_is_up || now < agent.next_cycle {
            return;
        }
        let Some((observation, seen)) = self.observe(number) else {
            return;
        };
        self.cycle(number, observation, seen);
    }

    /// Carries out what arrives now.
    fn deliver(&mut self, number: usize) {
        let now = self.now;
        let all = std::mem::take(&mut self.agents[number].under_way);
        let (due, later): (Vec<_>, Vec<_>) = all.into_iter().partition(|s| now >= s.arrives);
        self.agents[number].under_way = later;
        for sent in due {
            let node = self.agents[number].node;
            let outcome = match sent.fate {
                Fate::NeverArrives => Outcome::Unknown,
                Fate::Answered => self.execute(node, &sent.step, &sent.seen),
                Fate::AnswerLost => {
                    self.execute(node, &sent.step, &sent.seen);
                    Outcome::Unknown
                }
            };
            self.coverage.count("outcome", outcome.kind());
            self.tell(|| format!("agent on n{node}: {} → {outcome:?}", sent.step));
            let mutant = self.mutant;
            self.agents[number].memory.note(mutant, &sent.step, outcome);
        }
    }

    /// A look at everything; sometimes it takes a second, and its halves do not fit.
    fn observe(&mut self, number: usize) -> Option<(Observation, Seen)> {
        let now = self.now;
        let node = self.agents[number].node;
        let mut dice = self.dice(8, number as u64);
        let fails = self.swarm_fails(node);
        let offset = if now < self.troubles.clock.0 {
            self.troubles.clock.1
        } else {
            0
        };
        let clock = date(now) + SignedDuration::from_secs(offset);
        if let Some(why) = fails {
            self.agents[number].begun = None;
            let since = self.agents[number].history.swarm_unreachable(clock);
            let swarm = Reading::Unreachable {
                since,
                why: why.into(),
            };
            let observation = Observation {
                now: clock,
                swarm,
                members: BTreeMap::new(),
                had_data: self.agents[number].history.had_data(),
                sharding: Default::default(),
            };
            let seen = Seen {
                at: now,
                swarm: self.swarm.reading(now),
            };
            return Some((observation, seen));
        }
        let begun = self.agents[number].begun.take();
        let half = begun.is_none() && dice.percent(15);
        let mut begun = begun.unwrap_or_else(|| {
            // Each asks a manager of its own.
            let late = match self.troubles.stale {
                (until, most) if now < until => most * (number as u64 + 1) / 3,
                _ => 0,
            };
            let swarm = self.swarm.reading(now.saturating_sub(late));
            Begun {
                seen: Seen { at: now, swarm },
                members: BTreeMap::new(),
            }
        });
        self.ask_members(number, &mut begun, half);
        if half {
            self.agents[number].begun = Some(begun);
            return None;
        }
        let is_empty = now < self.troubles.empty;
        let swarm = if is_empty {
            Swarm::default()
        } else {
            Swarm::clone(&begun.seen.swarm)
        };
        let agent = &mut self.agents[number];
        agent.history.swarm_seen();
        let members = if is_empty {
            BTreeMap::new()
        } else {
            begun.members
        };
        agent.history.keep_only(|task| members.contains_key(task));
        let had_data = agent.history.had_data();
        agent.history.note_data(&members);
        let observation = Observation {
            now: clock,
            swarm: Reading::Seen(swarm),
            members,
            had_data,
            sharding: Default::default(),
        };
        Some((observation, begun.seen))
    }

    fn swarm_fails(&self, node: u8) -> Option<&'static str> {
        let Some(leader) = self.swarm.leader else {
            return Some("no quorum");
        };
        if self.now < self.troubles.unreadable {
            return Some("no answer");
        }
        (!self.nodes_connected(node, leader)).then_some("the leader is not reached")
    }

    /// Asks the mongods, or about half of them.
    fn ask_members(&mut self, number: usize, begun: &mut Begun, half: bool) {
        let now = self.now;
        let node = self.agents[number].node;
        let mut dice = self.dice(9, number as u64);
        let swarm = Rc::clone(&begun.seen.swarm);
        let known = |t: &swarmset::swarm::model::Task| {
            let service = swarm.services.get(&t.service);
            service.is_none_or(|s| s.labels.contains_key(LABEL_ROLE))
        };
        for task in swarm.tasks.values() {
            let asked = (task.is_wanted() || task.is_leaving())
                && known(task)
                && !task.addresses.is_empty();
            if !asked || begun.members.contains_key(&task.id) || (half && dice.percent(50)) {
                continue;
            }
            let deaf = now < self.troubles.deaf && dice.percent(30);
            let answer = if deaf { None } else { self.ask(node, task) };
            let history = &mut self.agents[number].history;
            let reading = match answer {
                Some(report) => {
                    history.member_seen(&task.id);
                    Reading::Seen(report)
                }
                None => Reading::Unreachable {
                    since: history.member_unreachable(&task.id, date(now)),
                    why: "no answer".into(),
                },
            };
            begun.members.insert(task.id.clone(), reading);
        }
    }

    fn cycle(&mut self, number: usize, mut observation: Observation, seen: Seen) {
        let (mutant, acts) = (self.mutant, self.acts(number, &seen));
        if let Some(mutant) = mutant {
            mutant.alter_observation(&mut observation);
        }
        let mut planned = plan(&observation);
        if let Some(mutant) = mutant {
            mutant.alter_plan(&observation, &mut planned, &mut self.agents[number].memory);
        }
        self.coverage.note_plan(&planned);
        let busy = !planned.steps.is_empty() || !planned.waiting.is_empty();
        if acts {
            for step in &planned.steps {
                self.send(number, step, &seen);
            }
        }
        let pause = self
            .dice(10, number as u64)
            .between(1, if busy { 2 } else { 5 });
        let agent = &mut self.agents[number];
        agent.next_cycle = self.now + pause;
        agent.last_plan = planned;
    }

    /// The agent on the Swarm's leader acts; in some histories all do, as those do that see a stale leader.
    fn acts(&self, number: usize, seen: &Seen) -> bool {
        let own = World::node_id(self.agents[number].node);
        let leads = |n: &swarmset::swarm::model::Node| n.leader && n.id == own;
        let has_agent = |node: u8| self.agents.iter().any(|a| a.node == node);
        let alone = !self.swarm.leader.is_some_and(has_agent) && number == 0;
        self.cast.all_act || alone || seen.swarm.nodes.values().any(leads)
    }

    /// Sends a step, one at a time in each lane.
    fn send(&mut self, number: usize, step: &Step, seen: &Seen) {
        let lane = step.lane();
        let now = self.now;
        let agent = &mut self.agents[number];
        if agent
            .under_way
            .iter()
            .any(|s| s.lane == lane && !s.given_up)
        {
            return;
        }
        let mut dice = self.dice(11, number as u64);
        let slow = now < self.troubles.slow_commands;
        let delay = if slow {
            dice.between(1, 12)
        } else {
            dice.below(2)
        };
        let lossy = now < self.troubles.lost_answers;
        let fate = match dice.below(100) {
            0..30 if lossy => Fate::AnswerLost,
            30..50 if lossy => Fate::NeverArrives,
            _ => Fate::Answered,
        };
        self.coverage.count("step", step.kind());
        let sent = UnderWay {
            lane,
            step: step.clone(),
            seen: seen.clone(),
            arrives: now + delay,
            fate,
            // A command that takes long is no longer waited for, and may be done all the same.
            given_up: delay > 5,
        };
        self.agents[number].under_way.push(sent);
        if delay == 0 {
            self.deliver(number);
        }
    }
}
