//! Planners with a safety rule switched off. Each must be caught, or the simulator proves nothing.
//!
//! The product has no switches for this: what the planner sees or says is altered here, on its way.

mod saying;
mod seeing;

use swarmset::mongo::model::MemberState;
use swarmset::observation::Observation;
use swarmset::step::{Plan, Step};

use crate::cast::Cast;
use crate::commands::Outcome;

macro_rules! mutants {
    ($($(#[$doc:meta])* $name:ident: $rule:literal $text:literal),+ $(,)?) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mutant {
            $($(#[$doc])* $name),+
        }

        impl Mutant {
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The rule that it does without.
            pub fn rule(self) -> u8 {
                match self {
                    $(Self::$name => $rule),+
                }
            }

            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text),+
                }
            }
        }
    };
}

mutants! {
    RemovesTwo: 1 "removes two voters at once",
    DoesNotWaitForCommit: 2 "takes every configuration for committed",
    ReusesIds: 3 "gives the lowest free _id",
    NamedByAddress: 3 "takes a task's address for an identity",
    NamedBySlot: 3 "takes a slot for an identity, wherever its disk is",
    KeepsEmptyDisks: 4 "leaves empty disks under their _id",
    VotesEarly: 5 "gives votes to members that are not ready",
    InitiatesWithoutAll: 6 "initiates with those that answer",
    AdoptsForeign: 7 "takes foreign sets for its own",
    Forces: 8 "forces a configuration when there is no primary",
    BelievesAllHealthy: 9 "takes every member for healthy",
    EndsPrimary: 10 "ends a primary instead of handing over",
    RemovesPrimary: 10 "removes a primary that leaves",
    EightVotes: 11 "gives votes beyond seven",
    RemovesSilent: 12 "takes silence for Swarm's word",
    TrustsEmptyAnswers: 12 "takes an answer that leaves all out for the truth",
    SeesNoTwins: 13 "does not see a second task of the same name",
    OverwritesChanges: 14 "raises the version until the server takes it",
    NeverRests: 15 "lets a member stand though all is well",
    RepeatsBlindly: 16 "sends a step again when its outcome is not known",
}

impl Mutant {
    /// The rules by which it may be found out: its own, or, where the world itself does not show that, what comes of it.
    pub fn found_out_by(self) -> &'static [u8] {
        match self {
            Self::RemovesTwo => &[1],
            Self::DoesNotWaitForCommit => &[2],
            Self::ReusesIds | Self::NamedBySlot => &[3],
            // Members that restart come back as strangers: the set is never well, or is without a majority.
            Self::NamedByAddress => &[3, 9, 15],
            Self::KeepsEmptyDisks => &[4],
            Self::VotesEarly => &[5],
            Self::InitiatesWithoutAll => &[6],
            Self::AdoptsForeign => &[7],
            // A lost write, or two primaries in a term: what force is forbidden for.
            Self::Forces => &[18, 19],
            Self::BelievesAllHealthy => &[9],
            Self::EndsPrimary | Self::RemovesPrimary => &[10],
            Self::EightVotes => &[11],
            Self::RemovesSilent | Self::TrustsEmptyAnswers => &[12],
            // The volume's lock keeps the second task from its data; what is ended for its sake is not.
            Self::SeesNoTwins => &[9, 13],
            Self::OverwritesChanges => &[14],
            Self::NeverRests => &[15],
            // Yesterday's change in today's configuration.
            Self::RepeatsBlindly => &[1, 2, 3, 9, 12],
        }
    }
}

/// What a mutant keeps in mind.
#[derive(Debug, Default)]
pub struct Memory {
    unknown: Vec<Step>,
}

impl Memory {
    pub fn note(&mut self, mutant: Option<Mutant>, step: &Step, outcome: Outcome) {
        let repeats = mutant == Some(Mutant::RepeatsBlindly);
        if repeats && outcome == Outcome::Unknown && matches!(step, Step::Reconfigure { .. }) {
            self.unknown.push(step.clone());
        }
    }
}

impl Mutant {
    /// The service that this kind of controller would have.
    pub fn alter_cast(self, cast: &mut Cast) {
        match self {
            Self::NamedBySlot => (cast.per_node, cast.volumes_follow) = (false, false),
            Self::SeesNoTwins => (cast.per_node, cast.volumes_follow) = (false, true),
            Self::VotesEarly | Self::EightVotes => cast.replicas = 8 + cast.replicas % 2,
            Self::RemovesTwo | Self::RemovesPrimary => cast.replicas = cast.replicas.clamp(3, 5),
            _ => {}
        }
    }

    pub fn alter_observation(self, observation: &mut Observation) {
        match self {
            Self::DoesNotWaitForCommit => seeing::for_reports(observation, |r| {
                if r.committed.is_some() {
                    r.committed = Some(true);
                }
            }),
            Self::VotesEarly => seeing::for_reports(observation, |r| {
                let newest = r.members.iter().filter_map(|m| m.applied).max();
                if r.state == MemberState::Startup2 {
                    (r.state, r.initial_sync) = (MemberState::Secondary, None);
                }
                for member in &mut r.members {
                    if matches!(member.state, MemberState::Startup2 | MemberState::Startup) {
                        (member.state, member.applied) = (MemberState::Secondary, newest);
                    }
                }
            }),
            Self::BelievesAllHealthy => seeing::believe_all_healthy(observation),
            Self::InitiatesWithoutAll => seeing::forget_silent(observation),
            Self::AdoptsForeign => seeing::adopt_foreign(observation),
            Self::RemovesSilent => seeing::let_silent_go(observation),
            Self::SeesNoTwins => seeing::hide_twins(observation),
            _ => {}
        }
    }

    pub fn alter_plan(self, observation: &Observation, plan: &mut Plan, memory: &mut Memory) {
        match self {
            Self::RemovesTwo => plan.steps.iter_mut().for_each(saying::remove_another),
            Self::ReusesIds => plan.steps.iter_mut().for_each(saying::reuse_ids),
            Self::KeepsEmptyDisks => plan
                .steps
                .retain(|s| !saying::removes_wanted(observation, s)),
            Self::Forces => saying::force(observation, plan),
            Self::EndsPrimary => saying::end_primary(observation, plan),
            Self::RemovesPrimary => saying::remove_primary(observation, plan),
            Self::EightVotes => plan.steps.iter_mut().for_each(saying::give_all_votes),
            Self::TrustsEmptyAnswers => saying::remove_all_when_empty(observation, plan, memory),
            Self::OverwritesChanges => plan.steps.iter_mut().for_each(|step| {
                if let Step::Reconfigure { config, .. } = step {
                    config.version += 5;
                }
            }),
            Self::NeverRests => saying::never_rest(observation, plan),
            Self::RepeatsBlindly => saying::repeat_blindly(observation, plan, memory),
            Self::NamedByAddress => saying::name_by_address(observation, plan),
            Self::InitiatesWithoutAll
            | Self::DoesNotWaitForCommit
            | Self::NamedBySlot
            | Self::VotesEarly
            | Self::AdoptsForeign
            | Self::BelievesAllHealthy
            | Self::RemovesSilent
            | Self::SeesNoTwins => {}
        }
    }
}
