//! What goes wrong, and what people do: chosen before a history begins, so that each can be left out of it.

use swarmset::mongo::model::MemberState;

use crate::cast::Cast;
use crate::dice::Dice;
use crate::world::World;

/// One fault or order: when, what, and numbers that say which and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    pub at: u64,
    pub kind: Kind,
    pub which: u64,
    pub lasts: u64,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident: $text:literal),+ $(,)?) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind {
            $($(#[$doc])* $name),+
        }

        impl Kind {
            pub const ALL: &[Self] = &[$(Self::$name),+];

            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text),+
                }
            }
        }
    };
}

kinds! {
    KillMongod: "a mongod is killed",
    StopMongod: "a mongod is stopped (SIGSTOP)",
    SlowMember: "a member copies nothing",
    KillAgent: "an agent is killed",
    NodeDown: "a node goes down, and comes back",
    NodeLost: "a node is lost, with its disks",
    PowerCut: "all nodes go down, and come back",
    CutPair: "two nodes do not reach each other",
    Isolate: "a node is cut off",
    Split: "the nodes fall into two parts",
    Drain: "a node is drained",
    Activate: "a node is made active",
    Scale: "the service is scaled",
    ScaleToZero: "the service is scaled to zero",
    ForceUpdate: "a rolling update is forced",
    Remove: "the stack is removed",
    Deploy: "the stack is deployed again",
    EmptyVolume: "a volume is emptied",
    ForeignVolume: "a volume of another set lies there",
    OtherData: "a volume with other data lies there",
    StaleReads: "managers answer late",
    Unreadable: "managers answer errors",
    EmptyAnswer: "managers leave all out",
    Deaf: "mongods do not answer the agents",
    LostAnswers: "commands and answers are lost",
    SlowCommands: "commands take long",
    Clock: "agents' clocks jump",
    LeaderMoves: "another manager leads",
    PersonStepsDown: "a person calls rs.stepDown",
    PersonReconfigures: "a person changes a priority",
    PersonAddsStranger: "a person adds a member elsewhere",
}

/// The faults of a seed, in their order.
pub fn choose(seed: u64, cast: &Cast) -> Vec<Fault> {
    let mut dice = Dice::of(&[seed, 2]);
    let count = dice.below(9);
    let span = dice.between(20, 40 + 12 * count);
    let mut faults: Vec<Fault> = (0..count)
        .filter_map(|_| {
            let (at, kind) = (dice.between(1, span), dice.pick(Kind::ALL)?);
            let lasts = match dice.below(4) {
                0 => dice.between(1, 4),
                1 | 2 => dice.between(5, 30),
                _ => dice.between(30, 90),
            };
            let which = dice.below(1 << 20);
            Some(Fault {
                at,
                kind,
                which,
                lasts,
            })
        })
        .collect();
    faults.sort_by_key(|f| f.at);
    if cast.replicas > 7 && dice.percent(50) {
        faults.truncate(3);
    }
    faults
}

impl World {
    pub fn strike(&mut self, fault: Fault) {
        let Fault {
            kind, which, lasts, ..
        } = fault;
        let until = self.now + lasts;
        let done = match kind {
            Kind::KillMongod | Kind::StopMongod | Kind::SlowMember => {
                self.strike_mongod(kind, which, until)
            }
            Kind::KillAgent => {
                let number = (which as usize) % self.agents.len();
                self.agents[number].die(until, which & 64 == 0);
                true
            }
            Kind::NodeDown | Kind::NodeLost | Kind::Drain | Kind::Activate => {
                self.strike_node(kind, which, until)
            }
            Kind::PowerCut => {
                let all: Vec<u8> = self.swarm.nodes.keys().copied().collect();
                all.into_iter().for_each(|n| self.take_down(n, until));
                true
            }
            Kind::CutPair | Kind::Isolate | Kind::Split => self.strike_network(kind, which, until),
            Kind::Scale | Kind::ScaleToZero | Kind::ForceUpdate | Kind::Remove | Kind::Deploy => {
                self.order(kind, which)
            }
            Kind::EmptyVolume => self.empty_volume(which),
            Kind::ForeignVolume | Kind::OtherData => self.lay_volume(kind, which),
            Kind::StaleReads
            | Kind::Unreadable
            | Kind::EmptyAnswer
            | Kind::Deaf
            | Kind::LostAnswers
            | Kind::SlowCommands
            | Kind::Clock
            | Kind::LeaderMoves => self.trouble(kind, which, until),
            Kind::PersonStepsDown | Kind::PersonReconfigures | Kind::PersonAddsStranger => {
                self.person_acts(kind, which, until)
            }
        };
        if done {
            self.coverage.count("fault", kind.name());
        }
    }

    fn nth_mongod(&self, which: u64) -> Option<u32> {
        let all: Vec<u32> = self.mongods.keys().copied().collect();
        all.get(which as usize % all.len().max(1)).copied()
    }

    fn strike_mongod(&mut self, kind: Kind, which: u64, until: u64) -> bool {
        let Some(task) = self.nth_mongod(which) else {
            return false;
        };
        self.tell(|| format!("FAULT: {} (t{task}, until {until} s)", kind.name()));
        if kind == Kind::KillMongod {
            self.note_end(task);
            self.end_mongod(task);
            return true;
        }
        if let Some(mongod) = self.mongods.get_mut(&task) {
            match kind {
                Kind::SlowMember => mongod.slow_until = until,
                _ => mongod.stopped_until = until,
            }
        }
        true
    }

    fn trouble(&mut self, kind: Kind, which: u64, until: u64) -> bool {
        self.tell(|| format!("FAULT: {} (until {until} s)", kind.name()));
        let troubles = &mut self.troubles;
        match kind {
            Kind::StaleReads => troubles.stale = (until, 1 + which % 25),
            Kind::Unreadable => troubles.unreadable = until,
            Kind::EmptyAnswer => troubles.empty = until,
            Kind::Deaf => troubles.deaf = until,
            Kind::LostAnswers => troubles.lost_answers = until,
            Kind::SlowCommands => troubles.slow_commands = until,
            Kind::Clock => troubles.clock = (until, which as i64 % 2000 - 1000),
            _ => {
                let leader = self.swarm.leader;
                let managers = self.swarm.nodes.iter().filter(|(_, n)| n.manager && n.up);
                let others: Vec<u8> = managers
                    .map(|(n, _)| *n)
                    .filter(|n| Some(*n) != leader)
                    .collect();
                let next = others.get(which as usize % others.len().max(1)).copied();
                self.swarm.leader = next.or(leader);
                return next.is_some();
            }
        }
        true
    }

    fn person_acts(&mut self, kind: Kind, which: u64, until: u64) -> bool {
        let Some(primary) = self.primary().map(|p| p.task) else {
            return false;
        };
        self.tell(|| format!("FAULT: {} (on t{primary})", kind.name()));
        let Some(mongod) = self.mongods.get_mut(&primary) else {
            return false;
        };
        if kind == Kind::PersonStepsDown {
            mongod.step_down();
            mongod.frozen_until = until;
            return true;
        }
        let Some(conf) = mongod.conf().cloned() else {
            return false;
        };
        let mut config = conf.config.next();
        if kind == Kind::PersonAddsStranger {
            let id = config.fresh_id(0);
            let mut member =
                swarmset::mongo::model::MemberConfig::new(id, "elsewhere:27017".into());
            (member.votes, member.priority) = (0, 0.0);
            config.members.push(member);
        } else {
            let at = which as usize % config.members.len();
            if let Some(member) = config.members.get_mut(at).filter(|m| m.votes > 0) {
                member.priority = [0.5, 1.0, 2.0, 3.0][which as usize % 4];
            }
        }
        self.reconfigure(primary, &config).is_ok()
    }

    /// Faults stop. People do what the agents ask of them.
    pub fn heal(&mut self) {
        let now = self.now;
        self.tell(|| "ALL IS MENDED".to_owned());
        self.cut.clear();
        self.troubles = Default::default();
        for (number, node) in &mut self.swarm.nodes {
            node.up |= !node.lost;
            node.removed |= node.lost;
            node.availability = swarmset::swarm::model::Availability::Active;
            self.node_returns.remove(number);
        }
        for mongod in self.mongods.values_mut() {
            mongod.stopped_until = now;
            mongod.slow_until = now;
            if mongod.state != MemberState::Primary {
                mongod.frozen_until = mongod.frozen_until.min(now + 900);
            }
        }
        let there = self
            .swarm
            .nodes
            .iter()
            .filter(|(_, n)| n.manager && !n.lost);
        let there: Vec<u8> = there.map(|(n, _)| *n).collect();
        for agent in &mut self.agents {
            agent.down_until = agent.down_until.min(now);
            // The service is global: other managers have agents of their own.
            if !there.contains(&agent.node) {
                *agent = crate::agent::Agent::new(there[0]);
            }
        }
        self.cut_until.clear();
        self.clear_foreign();
    }
}
