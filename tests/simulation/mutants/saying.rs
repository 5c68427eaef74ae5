//! Mutants that plan otherwise.

use swarmset::mongo::model::{MemberConfig, MemberState, SetConfig};
use swarmset::names::{Host, MemberId, SetKey};
use swarmset::observation::Observation;
use swarmset::step::{Candidacy, Ending, MemberChange, Plan, Step, Target, Waiting};

use swarmset::swarm::model::Task;

use super::Memory;

pub(super) fn remove_another(step: &mut Step) {
    let Step::Reconfigure {
        base,
        changes,
        config,
        on,
        ..
    } = step
    else {
        return;
    };
    if !changes
        .iter()
        .any(|c| matches!(c, MemberChange::Remove { .. }))
    {
        return;
    }
    let other = config
        .members
        .iter()
        .position(|m| m.votes > 0 && m.identity() != on.host);
    if let Some(other) = other.filter(|_| base.members.len() > 2) {
        config.members.remove(other);
    }
}

pub(super) fn reuse_ids(step: &mut Step) {
    let Step::Reconfigure { base, config, .. } = step else {
        return;
    };
    for at in 0..config.members.len() {
        if base.member(config.members[at].id).is_none() {
            let free = (0..).map(MemberId).find(|id| config.member(*id).is_none());
            config.members[at].id = free.expect("a number");
        }
    }
}

/// Members stand in the configuration under the addresses of their tasks, and stay so.
pub(super) fn name_by_address(observation: &Observation, plan: &mut Plan) {
    let Some(swarm) = observation.swarm.seen() else {
        return;
    };
    let is_rehost = |c: &MemberChange| matches!(c, MemberChange::Rehost { .. });
    let renames =
        |s: &Step| matches!(s, Step::Reconfigure { changes, .. } if changes.iter().any(is_rehost));
    plan.steps.retain(|s| !renames(s));
    for step in &mut plan.steps {
        let (Step::Reconfigure { config, .. } | Step::Initiate { config, .. }) = step else {
            continue;
        };
        for member in config.members.iter_mut().filter(|m| !m.host.is_address()) {
            let named = |t: &&Task| {
                let host = t
                    .slot
                    .zip(t.node.as_ref())
                    .map(|(s, n)| format!("mongo-{s}-{n}:27017"));
                t.is_wanted() && host.as_deref() == Some(member.host.as_str())
            };
            let task = swarm.tasks.values().find(named);
            if let Some(address) = task.and_then(|t| t.addresses.first()) {
                member.host = Host::new(format!("{address}:27017"));
            }
        }
    }
}

/// Whether it removes a member whose task is wanted: that is done only for an empty disk.
pub(super) fn removes_wanted(observation: &Observation, step: &Step) -> bool {
    let Step::Reconfigure { changes, .. } = step else {
        return false;
    };
    let wanted: Vec<Host> = observation.swarm.seen().map_or(vec![], |s| {
        let wanted = s.tasks.values().filter(|t| t.is_wanted());
        let named = wanted.filter_map(|t| {
            let (slot, node) = (t.slot?, t.node.as_ref()?);
            Some([
                format!("mongo-{slot}-{node}:27017"),
                format!("mongo-{slot}:27017"),
            ])
        });
        named.flatten().map(Host::new).collect()
    });
    changes
        .iter()
        .any(|c| matches!(c, MemberChange::Remove { host, .. } if wanted.contains(host)))
}

/// Without a primary, the first secondary gets a configuration of those that answer. There is no step for that:
/// a version that no step would have stands for `force` (`World::execute`).
pub(super) fn force(observation: &Observation, plan: &mut Plan) {
    let waits = plan
        .waiting
        .iter()
        .any(|(_, w)| matches!(w, Waiting::NoPrimary { healthy, needed, .. } if healthy < needed));
    if !waits || !plan.steps.is_empty() {
        return;
    }
    let Some(swarm) = observation.swarm.seen() else {
        return;
    };
    for (id, reading) in &observation.members {
        let (Some(task), Some(report)) =
            (swarm.tasks.get(id), reading.seen().and_then(|r| r.in_set()))
        else {
            continue;
        };
        let Some(own) = report
            .self_id
            .filter(|_| report.state == MemberState::Secondary)
        else {
            continue;
        };
        let mut config = report.config.next();
        config.version += crate::commands::FORCED;
        config.members.retain(|m| m.id == own);
        if let (Some(member), Some(address)) = (config.members.first(), task.addresses.first()) {
            let on = Target {
                task: id.clone(),
                host: member.host.clone(),
                address: (*address, 27017).into(),
            };
            let key = key();
            let (base, config) = (Box::new(report.config.clone()), Box::new(config));
            plan.steps.push(Step::Reconfigure {
                key,
                on,
                base,
                changes: vec![],
                config,
            });
            return;
        }
    }
}

pub(super) fn primary_target(observation: &Observation) -> Option<(Target, SetConfig)> {
    let swarm = observation.swarm.seen()?;
    observation.members.iter().find_map(|(id, reading)| {
        let report = reading
            .seen()?
            .in_set()
            .filter(|r| r.state == MemberState::Primary)?;
        let task = swarm.tasks.get(id)?;
        let host = report.config.member(report.self_id?)?.identity();
        let target = Target {
            task: id.clone(),
            host,
            address: (*task.addresses.first()?, 27017).into(),
        };
        Some((target, report.config.clone()))
    })
}

pub(super) fn end_primary(observation: &Observation, plan: &mut Plan) {
    for step in &mut plan.steps {
        if let Step::HandOver { key, .. } = step
            && let Some((on, _)) = primary_target(observation)
        {
            *step = Step::ShutDown {
                key: key.clone(),
                on,
                why: Ending::Restart,
            };
        }
    }
}

pub(super) fn remove_primary(observation: &Observation, plan: &mut Plan) {
    for step in &mut plan.steps {
        if let Step::HandOver { key, .. } = step
            && let Some((on, base)) = primary_target(observation)
        {
            let mut config = base.next();
            config.members.retain(|m| m.identity() != on.host);
            let base = Box::new(base);
            *step = Step::Reconfigure {
                key: key.clone(),
                on,
                base,
                changes: vec![],
                config: Box::new(config),
            };
        }
    }
}

pub(super) fn give_all_votes(step: &mut Step) {
    let (Step::Reconfigure { config, .. } | Step::Initiate { config, .. }) = step else {
        return;
    };
    config
        .members
        .iter_mut()
        .filter(|m| m.votes == 0)
        .for_each(MemberConfig::give_vote);
}

/// What it cannot see it ends.
pub(super) fn remove_all_when_empty(
    observation: &Observation,
    plan: &mut Plan,
    memory: &mut Memory,
) {
    let is_empty = observation.swarm.seen().is_some_and(|s| s.nodes.is_empty());
    if is_empty {
        plan.steps.append(&mut memory.unknown);
        return;
    }
    memory.unknown.clear();
    let Some((on, base)) = primary_target(observation) else {
        return;
    };
    let mut config = base.next();
    let other = config.members.iter().position(|m| m.identity() != on.host);
    if let Some(other) = other {
        config.members.remove(other);
        let key = key();
        let base = Box::new(base);
        memory.unknown.push(Step::Reconfigure {
            key,
            on,
            base,
            changes: vec![],
            config: Box::new(config),
        });
    }
}

pub(super) fn never_rest(observation: &Observation, plan: &mut Plan) {
    let Some(swarm) = observation.swarm.seen().filter(|_| plan.steps.is_empty()) else {
        return;
    };
    let secondary = observation.members.iter().find_map(|(id, reading)| {
        let report = reading
            .seen()?
            .in_set()
            .filter(|r| r.state == MemberState::Secondary)?;
        let address = (*swarm.tasks.get(id)?.addresses.first()?, 27017).into();
        let host = report.config.member(report.self_id?)?.host.clone();
        Some(Target {
            task: id.clone(),
            host,
            address,
        })
    });
    if let Some(on) = secondary {
        let key = key();
        plan.steps.push(Step::StandForElection {
            key,
            on,
            why: Candidacy::NoPrimary,
        });
    }
}

/// It sends what it had planned before, made to fit the version that it finds.
pub(super) fn repeat_blindly(observation: &Observation, plan: &mut Plan, memory: &mut Memory) {
    let Some((on, base)) = primary_target(observation) else {
        return;
    };
    let Some(Step::Reconfigure {
        key,
        changes,
        mut config,
        ..
    }) = memory.unknown.pop()
    else {
        return;
    };
    config.version = base.version + 1;
    let base = Box::new(base);
    plan.steps = vec![Step::Reconfigure {
        key,
        on,
        base,
        changes,
        config,
    }];
}

fn key() -> SetKey {
    SetKey {
        cluster: "app".into(),
        set: "rs".into(),
    }
}
