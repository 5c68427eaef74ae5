//! Mutants that see the world otherwise.

use std::collections::BTreeMap;

use swarmset::mongo::model::{MemberReport, MemberState, Replication};
use swarmset::names::TaskId;
use swarmset::observation::{Observation, Reading};
use swarmset::swarm::model::{DesiredState, Swarm, Task};

pub(super) fn swarm(observation: &mut Observation) -> Option<&mut Swarm> {
    match &mut observation.swarm {
        Reading::Seen(swarm) => Some(swarm),
        Reading::Unreachable { .. } => None,
    }
}

pub(super) fn for_reports(
    observation: &mut Observation,
    alter: impl Fn(&mut swarmset::mongo::model::SetReport),
) {
    for reading in observation.members.values_mut() {
        if let Reading::Seen(report) = reading
            && let Replication::InSet(report) = &mut report.replication
        {
            alter(report);
        }
    }
}

pub(super) fn silent(observation: &Observation) -> Vec<TaskId> {
    let mute = observation
        .members
        .iter()
        .filter(|(_, r)| r.seen().is_none());
    mute.map(|(id, _)| id.clone()).collect()
}

pub(super) fn believe_all_healthy(observation: &mut Observation) {
    let mut all = observation.members.values().filter_map(Reading::seen);
    let is_secondary = |r: &&MemberReport| {
        r.in_set()
            .is_some_and(|r| r.state == MemberState::Secondary)
    };
    let sample = all.find(is_secondary).cloned();
    if let Some(sample) = sample {
        for reading in observation
            .members
            .values_mut()
            .filter(|r| r.seen().is_none())
        {
            let mut sample = sample.clone();
            if let Replication::InSet(report) = &mut sample.replication {
                report.self_id = None;
            }
            *reading = Reading::Seen(sample);
        }
    }
    for_reports(observation, |r| {
        let newest = r.members.iter().filter_map(|m| m.applied).max();
        for member in &mut r.members {
            if !member.state.is_data_bearing() {
                member.state = MemberState::Secondary;
            }
            (member.healthy, member.applied) = (true, newest);
        }
    });
}

/// Those that do not answer are not waited for, and no record is kept.
pub(super) fn forget_silent(observation: &mut Observation) {
    let silent = silent(observation);
    let in_set = |r: &Reading<MemberReport>| r.seen().is_some_and(|r| r.in_set().is_some());
    let known = observation.members.values().any(in_set);
    let Some(swarm) = swarm(observation) else {
        return;
    };
    swarm.tasks.retain(|id, _| !silent.contains(id));
    if known {
        return;
    }
    swarm
        .claims
        .values_mut()
        .for_each(|c| c.replica_set_id = None);
    let wanted = swarm.tasks.values().filter(|t| t.is_wanted()).count() as u64;
    swarm
        .services
        .values_mut()
        .for_each(|s| s.replicas = Some(wanted));
    for claim in swarm.claims.values_mut() {
        let Ok(content) = &mut claim.content else {
            continue;
        };
        let mut hosts: Vec<(Option<swarmset::names::Slot>, String)> = swarm
            .tasks
            .values()
            .filter(|t| t.is_wanted())
            .filter_map(|t| {
                let (slot, node) = (t.slot?, t.node.as_ref()?);
                Some((t.slot, format!("mongo-{slot}-{node}:27017")))
            })
            .collect();
        hosts.sort();
        content.members = hosts.into_iter().map(|(_, host)| host).collect();
        content.initiator = content.members.first().cloned();
    }
}

pub(super) fn adopt_foreign(observation: &mut Observation) {
    let recorded = observation
        .swarm
        .seen()
        .and_then(|s| s.claims.values().find_map(|c| c.replica_set_id.clone()));
    let Some(recorded) = recorded else {
        return;
    };
    for reading in observation.members.values_mut() {
        let Reading::Seen(report) = reading else {
            continue;
        };
        let is_foreign = match &report.replication {
            Replication::InSet(set) => set.config.replica_set_id() != Some(recorded.clone()),
            Replication::NotYetInitialised { collections } => *collections > 0,
            Replication::NotEnabled | Replication::LoadingConfig => false,
        };
        if is_foreign {
            report.replication = Replication::NotYetInitialised { collections: 0 };
        }
    }
}

pub(super) fn let_silent_go(observation: &mut Observation) {
    let silent = silent(observation);
    let Some(swarm) = swarm(observation) else {
        return;
    };
    for id in silent {
        if let Some(task) = swarm.tasks.get_mut(&id) {
            task.desired = DesiredState::Remove;
        }
    }
}

pub(super) fn hide_twins(observation: &mut Observation) {
    let Some(swarm) = swarm(observation) else {
        return;
    };
    let newest: BTreeMap<_, _> = swarm
        .tasks
        .values()
        .filter(|t| t.is_wanted())
        .map(|t| (t.slot, t.id.clone()))
        .collect();
    let is_old = |t: &Task| newest.get(&t.slot).is_some_and(|id| *id != t.id);
    swarm.tasks.retain(|_, t| !is_old(t));
}
