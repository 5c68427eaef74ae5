//! One history, from its seed to its end: faults, then time to mend, then nothing.

use swarmset::mongo::model::MemberConfig;
use swarmset::step::{Fault as Told, Waiting};

use crate::cast::Cast;
use crate::coverage::Coverage;
use crate::faults::{self, Fault};
use crate::ledger::Broken;
use crate::mutants::Mutant;
use crate::swarm::SimTask;
use crate::world::World;

/// How many seconds after the last fault all must be well: a roll-out of nine slots, each of which Swarm gives 60 s
/// and MongoDB some more; and the grace of a member that only SIGKILL ends.
const TIME_TO_MEND: u64 = 1500;
/// How long all must stay as it is.
const REST: u64 = 30;

/// What became of a history.
pub struct Life {
    pub faults: Vec<Fault>,
    pub broken: Option<Broken>,
    pub coverage: Coverage,
    pub story: Vec<String>,
    /// Seconds from the last fault until all was well.
    pub mended_in: u64,
    pub seconds: u64,
}

/// Lives the history of a seed, with its own faults or with these.
pub fn live(seed: u64, chosen: Option<&[Fault]>, mutant: Option<Mutant>, tells: bool) -> Life {
    let mut cast = Cast::choose(seed);
    let faults = chosen.map_or_else(|| faults::choose(seed, &cast), <[Fault]>::to_vec);
    if let Some(mutant) = mutant {
        mutant.alter_cast(&mut cast);
    }
    let mut world = World::new(seed, cast, mutant, tells);
    let opening = format!("{:?}", world.cast);
    world.tell(|| opening);
    let end = faults.last().map_or(30, |f| f.at + f.lasts + 1);
    let mut next = faults.iter().peekable();
    while world.now < end && world.ledger.broken.is_none() {
        world.end_outages();
        while let Some(fault) = next.next_if(|f| f.at <= world.now + 1) {
            world.strike(*fault);
        }
        world.pass_second();
    }
    let mended_in = if world.ledger.broken.is_none() {
        mend(&mut world)
    } else {
        0
    };
    Life {
        faults,
        broken: world.ledger.broken,
        coverage: world.coverage,
        story: world.story.unwrap_or_default(),
        mended_in,
        seconds: world.now,
    }
}

/// After the faults: it becomes well in time (rule 15), and then stays as it is.
fn mend(world: &mut World) -> u64 {
    world.heal();
    let began = world.now;
    let mut well_since = None;
    while world.ledger.broken.is_none() {
        world.pass_second();
        follow_advice(world);
        let trouble = world.trouble_left();
        match (trouble, well_since) {
            (None, None) => well_since = Some(world.now),
            (None, Some(since)) if world.now >= since + REST => return since - began,
            (None, Some(since)) => {
                if world.ledger.last_step > since + 1 {
                    world.break_rule(15, || "a step is taken though all is well".to_owned());
                }
            }
            (Some(why), _) => {
                well_since = None;
                if world.now > began + TIME_TO_MEND {
                    world.break_rule(15, || format!("still not well: {why}"));
                } else if world.is_beyond_help() {
                    world.coverage.count("end", "beyond help");
                    return 0;
                }
            }
        }
    }
    0
}

/// A person does what a fault says, where nothing was ever written.
fn follow_advice(world: &mut World) {
    let blocks = |told: &Told| matches!(told, Told::ClaimDiffers { .. } | Told::DataMissing { .. });
    let told = world
        .agents
        .iter()
        .any(|a| a.last_plan.faults.iter().any(|(_, f)| blocks(f)));
    if told && world.ledger.initiated.is_empty() && world.now.is_multiple_of(20) {
        world.swarm.claims.clear();
        world.tell(|| "a person removes the claim: nothing was ever written".to_owned());
    }
}

impl World {
    /// Why all is not well yet; `None`: it is.
    pub fn trouble_left(&self) -> Option<String> {
        if let Some(step) = self.agents.iter().find_map(|a| a.last_plan.steps.first()) {
            return Some(format!("a step is planned: {step}"));
        }
        if !self.agents.iter().all(crate::agent::Agent::is_idle) {
            return Some("a step is under way".into());
        }
        if self.swarm.removed || self.swarm.service.replicas == Some(0) {
            let left = self.mongods.len();
            return (left > 0).then(|| format!("{left} mongods are left"));
        }
        if let Some((_, waiting)) = self
            .agents
            .iter()
            .find_map(|a| a.last_plan.waiting.iter().find(|(_, w)| is_unrest(w)))
        {
            return Some(waiting.to_string());
        }
        self.set_trouble()
    }

    fn set_trouble(&self) -> Option<String> {
        let replicas = self.swarm.service.replicas.unwrap_or(0) as usize;
        let Some((primary, conf)) = self.primary().and_then(|p| Some((p, p.conf()?))) else {
            return Some("there is no primary".into());
        };
        let ours = conf
            .members()
            .iter()
            .filter(|m| !m.host.as_str().starts_with("elsewhere"));
        for member in ours.clone() {
            let it = self
                .mongods
                .values()
                .find(|m| m.self_id == Some(member.id) && m.is_of(conf));
            match it {
                None => return Some(format!("{} is not there", member.host)),
                Some(m) if !m.is_well(self.now) => {
                    return Some(format!("{} is {}", m.host, m.state));
                }
                Some(m) if m.version() != conf.version() => {
                    return Some(format!("{} is behind", m.host));
                }
                Some(_) => {}
            }
        }
        let members = ours.count();
        if members != replicas || self.mongods.len() != replicas {
            return Some(format!(
                "{members} members and {} mongods, of {replicas}",
                self.mongods.len()
            ));
        }
        let votes = conf.voters().count();
        let wish = replicas.min(7)
            - usize::from(
                self.cast
                    .labels
                    .iter()
                    .any(|(l, _)| l.starts_with("swarmset.votes")),
            );
        if votes < wish.max(1) || !self.is_committed(primary.task) {
            return Some(format!("{votes} vote"));
        }
        None
    }

    /// By the service's labels none of the slots that are left may lead: MongoDB refuses such a set.
    fn nobody_may_lead(&self) -> bool {
        let labels = self
            .cast
            .labels
            .iter()
            .filter(|(l, _)| !l.starts_with("swarmset.priority"));
        let unable: Vec<&str> = labels.filter_map(|(l, _)| l.rsplit('.').next()).collect();
        let slots = self.swarm.slots();
        !slots.is_empty()
            && slots
                .iter()
                .all(|s| unable.contains(&s.to_string().as_str()))
    }

    /// Most voters, or all that have a complete copy, have neither a mongod nor a task that could come back to their
    /// disk: nothing is ever forced, so that a person has to decide. Only faults may bring this about, and Swarm where
    /// it does not wait for the agent.
    pub fn is_beyond_help(&mut self) -> bool {
        if self.nobody_may_lead() {
            return true;
        }
        let is_ended = self.swarm.removed || self.swarm.service.replicas == Some(0);
        if is_ended || self.primary().is_some() || self.ledger.initiated.is_empty() {
            return false;
        }
        let confs = self.mongods.values().filter_map(|m| m.conf());
        let ours = confs.filter(|c| !self.ledger.foreign.contains(&c.set));
        let Some(newest) = ours.max_by_key(|c| c.version()).cloned() else {
            return self.mongods.values().all(|m| m.conf().is_none());
        };
        // One that was reached at its address, and came back under another, is found by nobody without a primary.
        let is_it = |p: &&crate::mongod::Mongod, m: &MemberConfig| {
            p.is_of(&newest) && (p.self_id == Some(m.id) || p.host == m.host)
        };
        let disk_of = |m: &MemberConfig| {
            let process = self.mongods.values().find(|p| is_it(p, m));
            let is_named =
                |t: &&SimTask| t.task.is_wanted() && self.swarm.host(t).as_ref() == Some(&m.host);
            process.map(|p| p.volume).or_else(|| {
                let task = self.swarm.tasks.values().find(is_named)?;
                Some(self.volume_of(task.task.slot?, task.node?))
            })
        };
        let (there, gone): (Vec<_>, Vec<_>) = newest.voters().partition(|m| disk_of(m).is_some());
        let whole = |m: &&&MemberConfig| {
            disk_of(m)
                .and_then(|v| self.disk(v))
                .is_some_and(|d| d.synced)
        };
        let copies = there.iter().filter(whole).count();
        if there.len() >= newest.majority() && copies > 0 {
            return false;
        }
        // One or two voters have none to spare: a second roll-out while one restarts may strand it.
        let is_small = newest.voters().count() <= 2;
        let excused = !self.cast.held || self.ledger.dissolved;
        let is_struck = |m: &MemberConfig| self.ledger.struck.contains(&m.identity());
        let unexplained = gone
            .iter()
            .find(|m| !excused && !is_struck(m) && (!is_small || m.host.is_address()));
        if let Some(host) = unexplained.map(|m| m.host.clone()) {
            self.break_rule(9, || format!("{host} is missed, and no fault took it"));
        }
        true
    }
}

/// What a set at rest does not wait for.
fn is_unrest(waiting: &Waiting) -> bool {
    match waiting {
        Waiting::Stranger { .. } => false,
        Waiting::SwarmUnreadable { .. }
        | Waiting::TasksMissing { .. }
        | Waiting::TasksSurplus { .. }
        | Waiting::NotAnswering { .. }
        | Waiting::LoadingConfig { .. }
        | Waiting::NoPrimary { .. }
        | Waiting::PrimaryElsewhere { .. }
        | Waiting::NotCommitted { .. }
        | Waiting::CatchingUp { .. }
        | Waiting::Unhealthy { .. }
        | Waiting::SuccessorNotReady { .. }
        | Waiting::NoWordFromSwarm { .. }
        | Waiting::MajorityAtRisk { .. }
        | Waiting::NoCandidate { .. }
        | Waiting::SuccessorBehind { .. }
        | Waiting::RestartInTurn { .. }
        | Waiting::Restarting { .. }
        | Waiting::TwoTasks { .. }
        | Waiting::OldTaskUnheard { .. }
        | Waiting::Dissolving { .. }
        | Waiting::HeldBack { .. }
        | Waiting::BeyondFifty { .. }
        | Waiting::Sharding(_) => true,
    }
}
