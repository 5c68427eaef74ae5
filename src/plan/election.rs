//! Who leads: the first election at once, and the hand-over before a primary leaves.

use std::cmp::Reverse;

use super::Verdict;
use super::roster::{Member, Primary, Roster, Seat, Standing};
use crate::mongo::model::{MemberState, SetReport, majority};
use crate::step::{Candidacy, Step, Waiting};

/// What can be done while no member is primary: let one stand at once where nothing speaks against it. Anything
/// more would be a forced configuration, which is never done.
pub(super) fn without_primary(roster: &Roster<'_>, verdict: &mut Verdict) {
    let Some(newest) = roster.newest_report() else {
        return;
    };
    let voters = newest.voters();
    let seat_of = |id| roster.seats().find(|s| in_set_as(roster, s) == Some(id));
    let seats: Vec<&Seat<'_>> = voters.iter().filter_map(|id| seat_of(*id)).collect();
    let secondaries: Vec<_> = seats
        .into_iter()
        .filter(|s| state(s) == Some(MemberState::Secondary))
        .collect();
    let (healthy, needed) = (secondaries.len(), majority(voters.len()));
    let elsewhere = newest.members.iter().find(|m| {
        let is_task = roster.seats().any(|s| in_set_as(roster, s) == Some(m.id));
        m.state == MemberState::Primary && m.healthy && !is_task
    });
    if let Some(primary) = elsewhere {
        let host = primary.host.clone();
        verdict.wait(Waiting::PrimaryElsewhere { host });
        return;
    }
    verdict.wait(Waiting::NoPrimary {
        healthy,
        voters: voters.len(),
        needed,
    });
    let first_election = newest.term <= 0 && newest.config.version == 1;
    let all_are_there = healthy == voters.len() && agree(&secondaries);
    if !first_election && !all_are_there {
        return;
    }
    let may_lead = |s: &&&Seat<'_>| priority(newest, s) > 0.0 && s.task.is_wanted();
    let best = secondaries.iter().filter(may_lead).min_by_key(|seat| {
        let applied = seat.in_set().and_then(|r| r.member(r.self_id?)?.applied);
        (Reverse(applied), seat.host.clone())
    });
    if let Some(on) = best.and_then(|s| s.target()) {
        verdict.step(Step::StandForElection {
            key: roster.intent.key.clone(),
            on,
            why: if first_election {
                Candidacy::FirstElection
            } else {
                Candidacy::NoPrimary
            },
        });
    }
}

fn in_set_as(roster: &Roster<'_>, seat: &Seat<'_>) -> Option<crate::names::MemberId> {
    seat.in_set().filter(|_| roster.is_ours(seat))?.self_id
}

fn state(seat: &Seat<'_>) -> Option<MemberState> {
    Some(seat.in_set()?.state)
}

fn priority(report: &SetReport, seat: &Seat<'_>) -> f64 {
    let id = seat.in_set().and_then(|r| r.self_id);
    id.and_then(|id| report.config.member(id))
        .map_or(0.0, |m| m.priority)
}

/// All are in one term and nobody knows of a primary: no election has just been won or is being fought.
fn agree(secondaries: &[&Seat<'_>]) -> bool {
    let mut reports = secondaries.iter().filter_map(|s| s.in_set());
    let term = reports.clone().next().map(|r| r.term);
    let knows_primary = |r: &SetReport| {
        r.members
            .iter()
            .any(|m| m.state == MemberState::Primary && m.healthy)
    };
    reports.all(|r| Some(r.term) == term && !knows_primary(r))
}

/// A primary that is told to stop hands over as soon as another member that stays can lead: while it is held its
/// name is out of DNS, and new connections to it would fail.
pub(super) fn hand_over_leaver(
    roster: &Roster<'_>,
    members: &[Member<'_>],
    primary: Primary<'_>,
    verdict: &mut Verdict,
) {
    let Some(leader) = members.iter().find(|m| m.config.id == primary.id) else {
        return;
    };
    let is_told_to_stop = match leader.standing {
        Standing::Leaves { .. } | Standing::NoWord { seat: Some(_) } => true,
        Standing::NoWord { seat: None }
        | Standing::Stays(_)
        | Standing::Restarts { .. }
        | Standing::Stranger => false,
    };
    if is_told_to_stop {
        hand_over(roster, members, leader, verdict);
    }
}

/// How far behind a successor may be, in seconds of the oplog: the primary takes no writes until it has caught up. Of
/// two positions a moment apart one can be in the next second.
const MAX_LAG_OF_SUCCESSOR: i64 = 2;

/// Lets the primary step down for the best candidate, or says what that waits for.
pub(super) fn hand_over(
    roster: &Roster<'_>,
    members: &[Member<'_>],
    leader: &Member<'_>,
    verdict: &mut Verdict,
) {
    let host = leader.config.host.clone();
    let target = |m: &Member<'_>| m.seat().and_then(Seat::target);
    let best = candidate(roster, members).and_then(|m| Some((m, target(m)?)));
    let (Some((best, to)), Some(from)) = (best, target(leader)) else {
        verdict.wait(Waiting::NoCandidate { host });
        return;
    };
    if let Some(lag_seconds) = best.lag_seconds.filter(|l| *l > MAX_LAG_OF_SUCCESSOR) {
        let to = best.config.host.clone();
        verdict.wait(Waiting::SuccessorBehind {
            host,
            to,
            lag_seconds,
        });
        return;
    }
    let is_rival = |m: &&Member<'_>| {
        let may_lead = m.votes && m.config.priority > 0.0 && m.state() == MemberState::Secondary;
        may_lead && m.config.id != leader.config.id && m.config.id != best.config.id
    };
    verdict.step(Step::HandOver {
        key: roster.intent.key.clone(),
        from,
        to,
        others: members.iter().filter(is_rival).filter_map(target).collect(),
        outranks: leader.config.priority > best.config.priority,
    });
}

/// The member that is to take over: one that stays, may lead and is replicating; best one that runs the service's present
/// specification, then by priority, then one that replicates from the primary itself, then by how far it is.
pub(super) fn candidate<'m, 'a>(
    roster: &Roster<'_>,
    members: &'m [Member<'a>],
) -> Option<&'m Member<'a>> {
    let may_lead = |m: &&Member<'_>| {
        let may = m.stays() && m.votes && m.config.priority > 0.0;
        may && m.is_ready() && m.replicates()
    };
    let rank = |m: &&Member<'_>| {
        let updated = m
            .seat()
            .is_some_and(|s| s.task.container == roster.intent.container);
        let priority = (m.config.priority * 1000.0) as i64;
        let source = m.status.and_then(|s| s.sync_source.as_ref());
        let is_direct = members
            .iter()
            .any(|p| p.state() == MemberState::Primary && Some(&p.config.host) == source);
        let applied = m.status.and_then(|s| s.applied);
        (updated, priority, is_direct, applied, Reverse(m.config.id))
    };
    members.iter().filter(may_lead).max_by_key(rank)
}
