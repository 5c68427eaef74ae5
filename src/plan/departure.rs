//! The end of mongods that Swarm has told to stop: former members, dissolved sets, and time for those that get SIGTERM.

use std::collections::BTreeMap;

use super::Verdict;
use super::roster::{Primary, Roster, Seat};
use crate::intent::{Stop, mongod_port};
use crate::mongo::model::{MemberState, Replication, SetReport};
use crate::names::{ClusterName, Host, ServiceId, SetKey};
use crate::observation::Observation;
use crate::step::{Ending, Plan, Step, Subject, Target, Waiting};
use crate::swarm::model::{DesiredState, Swarm, Task};

/// mongod's own quiesce after SIGTERM, in milliseconds (manual, `shutdownTimeoutMillisForSignaledShutdown`).
const DEFAULT_QUIESCE_MS: u64 = 15_000;
/// What the removal of one voter takes, with room: a reconfiguration needs a heartbeat, which is 2 s.
const REMOVAL_MS: u64 = 2_500;
/// Between the end of the quiesce and SIGKILL: time to close the files.
const CLOSING_MS: u64 = 2_000;

/// Shuts down held mongods that are no longer members, and that hold nobody up.
pub(super) fn end_former_members(roster: &Roster<'_>, primary: Primary<'_>, verdict: &mut Verdict) {
    let config = &primary.report.config;
    let is_member = |seat: &Seat<'_>| {
        let known = |id| config.member(id).is_some();
        config.members.iter().any(|m| m.identity() == seat.host)
            || (roster.is_ours(seat) && seat.in_set().and_then(|r| r.self_id).is_some_and(known))
    };
    // One whose own configuration is newer and has it knows better than this primary.
    let knows_better = |seat: &Seat<'_>| {
        let newer = |r: &SetReport| {
            r.self_id.is_some() && r.config.config_version() > config.config_version()
        };
        roster.is_ours(seat) && seat.in_set().is_some_and(newer)
    };
    let may_end =
        |s: &&Seat<'_>| s.is_held() && !is_member(s) && !knows_better(s) && s.report().is_some();
    for on in roster
        .leaving
        .iter()
        .filter(may_end)
        .filter_map(Seat::target)
    {
        verdict.step(Step::ShutDown {
            key: roster.intent.key.clone(),
            on,
            why: Ending::Removed,
        });
    }
}

/// Scaled to zero: all mongods end, secondaries first; the configuration stays as it is.
pub(super) fn dissolve(roster: &Roster<'_>, verdict: &mut Verdict) {
    let held: Vec<_> = roster.leaving.iter().filter(|s| s.is_held()).collect();
    if !roster.leaving.is_empty() {
        let count = roster.leaving.len();
        verdict.wait(Waiting::Dissolving { count });
    }
    let endings = held.iter().filter_map(|s| {
        let is_primary = s.in_set().is_some_and(|r| r.state == MemberState::Primary);
        s.report()?;
        Some((is_primary, s.target()?))
    });
    end_all(&roster.intent.key, endings.collect(), &mut verdict.steps);
}

/// Ends all secondaries at once; the primary when it is alone.
fn end_all(key: &SetKey, endings: Vec<(bool, Target)>, steps: &mut Vec<Step>) {
    let any_secondary = endings.iter().any(|(is_primary, _)| !is_primary);
    for (is_primary, on) in endings {
        if !is_primary || !any_secondary {
            steps.push(Step::ShutDown {
                key: key.clone(),
                on,
                why: Ending::Dissolved,
            });
        }
    }
}

/// Ends held mongods whose service is gone, as after `docker stack rm`.
///
/// Labels go with the service. A task that is to be removed, runs `--replSet` and takes no notice of its stop
/// signal can only be one that an agent is to end. Those that a sharded cluster still needs live on (rule 17).
pub(super) fn dissolve_orphans(
    observation: &Observation,
    swarm: &Swarm,
    keeps: &dyn Fn(&Task) -> bool,
    plan: &mut Plan,
) {
    let is_orphan = |t: &&Task| {
        t.desired == DesiredState::Remove
            && t.is_leaving()
            && !swarm.known_services.contains(&t.service)
            && Stop::of(&t.container) == Stop::Held
            && t.container
                .command
                .iter()
                .any(|w| w.starts_with("--replSet"))
            && !keeps(t)
    };
    // An answer without nodes is no answer (rule 12).
    if swarm.nodes.is_empty() {
        return;
    }
    let mut services: BTreeMap<&ServiceId, Vec<&Task>> = BTreeMap::new();
    for task in swarm.tasks.values().filter(is_orphan) {
        services.entry(&task.service).or_default().push(task);
    }
    for (service, tasks) in services {
        let key = SetKey {
            cluster: ClusterName::new(service.as_str()),
            set: "dissolved".into(),
        };
        let count = tasks.len();
        let waiting = Waiting::Dissolving { count };
        plan.waiting.push((Subject::Set(key.clone()), waiting));
        let endings = tasks.into_iter().filter_map(|task| {
            let report = observation.members.get(&task.id)?.seen()?;
            let state = report.in_set().map(|r| r.state);
            let address =
                std::net::SocketAddr::new(*task.addresses.first()?, mongod_port(&task.container)?);
            let host = Host::new(address.to_string());
            let task = task.id.clone();
            let target = Target {
                task,
                host,
                address,
            };
            Some((state == Some(MemberState::Primary), target))
        });
        end_all(&key, endings.collect(), &mut plan.steps);
    }
}

/// Gives members that are about to get SIGTERM by a scale-down the time that their orderly removal needs, within
/// the grace period. Restarts are not lengthened: an extended quiesce would delay them by as much.
pub(super) fn extend_quiesce(roster: &Roster<'_>, verdict: &mut Verdict) {
    let leaves = |s: &&Seat<'_>| s.task.desired == DesiredState::Remove;
    let leavers: Vec<_> = roster.leaving.iter().filter(leaves).collect();
    let needed = DEFAULT_QUIESCE_MS.max((leavers.len() as u64 + 1) * REMOVAL_MS);
    let mut on = Vec::new();
    let mut milliseconds = needed;
    for seat in leavers {
        let Stop::Signalled { grace_seconds } = Stop::of(&seat.task.container) else {
            continue;
        };
        let Some(report) = seat.report() else {
            continue;
        };
        let longest = (grace_seconds * 1000).saturating_sub(CLOSING_MS);
        let wanted = needed.min(longest);
        let is_member = matches!(report.replication, Replication::InSet(_));
        if is_member
            && report
                .quiesce_ms
                .is_some_and(|ms| ms < wanted || ms > longest)
        {
            milliseconds = wanted;
            on.extend(seat.target());
        }
    }
    if !on.is_empty() {
        verdict.step(Step::ExtendQuiesce {
            key: roster.intent.key.clone(),
            on,
            milliseconds,
        });
    }
}
