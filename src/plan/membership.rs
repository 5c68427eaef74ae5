//! Who is in the configuration: newcomers join without a vote, leavers go one voter at a time.

use jiff::SignedDuration;

use super::Verdict;
use super::election::candidate;
use super::identity::is_fit;
use super::initiate::new_member;
use super::restart::would_be_lost;
use super::roster::{Member, Primary, Roster, Seat, Standing};
use super::safety;
use crate::intent::{MAX_MEMBERS, MAX_VOTERS};
use crate::mongo::model::{MemberConfig, MemberState, Replication, SetConfig, initiated_at};
use crate::names::{Host, MemberId};
use crate::step::{Fault, MemberChange, Step, Waiting};

/// How long after the initiation members may be busy with their first copy, which is of an empty set.
const FIRST_SYNC: SignedDuration = SignedDuration::from_mins(2);

/// How long after its task was made a newcomer is waited for, so that others are added along with it.
const COMING: SignedDuration = SignedDuration::from_secs(10);

/// Says what holds each member up.
pub(super) fn tell(
    roster: &Roster<'_>,
    primary: Primary<'_>,
    members: &[Member<'_>],
    verdict: &mut Verdict,
) {
    for member in members {
        let host = member.config.host.clone();
        match member.standing {
            Standing::Stays(seat) if member.newly_added => verdict.wait(Waiting::CatchingUp {
                host,
                state: member.state(),
                progress: progress(seat),
            }),
            // That its own mongod does not answer is said already.
            Standing::Stays(seat) if seat.report().is_none() && member.is_seen_healthy() => {}
            Standing::Stays(_) if !member.is_ready() => verdict.wait(Waiting::Unhealthy {
                host,
                state: member.state(),
                message: complaint(member),
            }),
            Standing::NoWord { .. } => verdict.wait(Waiting::NoWordFromSwarm { host }),
            Standing::Stranger => verdict.wait(Waiting::Stranger { host }),
            Standing::Stays(_) | Standing::Restarts { .. } | Standing::Leaves { .. } => {}
        }
    }
    let known = |seat: &&Seat<'_>| seat_of(members, seat).is_some();
    let beyond = MAX_MEMBERS.saturating_sub(primary.report.config.members.len());
    let newcomers = roster
        .wanted
        .iter()
        .filter(|s| !known(s) && joins(roster, s));
    for seat in newcomers.skip(beyond) {
        let host = seat.host.clone();
        verdict.wait(Waiting::BeyondFifty { host });
    }
}

fn seat_of<'m, 'a>(members: &'m [Member<'a>], seat: &Seat<'_>) -> Option<&'m Member<'a>> {
    let same = |m: &&Member<'_>| m.seat().is_some_and(|s| s.task.id == seat.task.id);
    let by_task = members.iter().find(same);
    by_task.or_else(|| members.iter().find(|m| m.config.identity() == seat.host))
}

fn progress(seat: &Seat<'_>) -> Option<String> {
    let sync = seat.in_set()?.initial_sync?;
    let (all, copied) = (sync.bytes_in_all?, sync.bytes_copied?);
    let percent = (all > 0).then(|| copied.saturating_mul(100) / all)?;
    Some(format!("{percent} % of {} MB copied", all / 1_000_000))
}

fn complaint(member: &Member<'_>) -> Option<String> {
    let lag = member.lag_seconds.filter(|l| *l > super::MAX_LAG_SECONDS);
    let lag = lag.map(|l| format!("{l} s behind"));
    let heartbeat = member.status.and_then(|s| s.message.clone());
    heartbeat.filter(|m| !m.is_empty()).or(lag)
}

/// A known member that came back without its data must not vote with an empty disk: its `_id` goes, and it joins
/// again as a new one.
pub(super) fn replace_empty_disks(
    roster: &Roster<'_>,
    primary: Primary<'_>,
    members: &[Member<'_>],
    verdict: &mut Verdict,
) {
    for member in members.iter().filter(|m| has_lost_its_data(m)) {
        if is_in_its_first_sync(roster, primary, member) {
            continue;
        }
        let (id, host) = (member.config.id, member.config.host.clone());
        match safety::majority_without(members, id) {
            Ok(()) => {
                let mut config = primary.report.config.next();
                config.members.retain(|m| m.id != id);
                let changes = vec![MemberChange::Remove { id, host }];
                reconfigure(primary, config, changes, verdict);
            }
            Err(risk) => verdict.faults.push(Fault::EmptyDisk {
                host,
                healthy: risk.healthy,
                voters: risk.voters,
            }),
        }
    }
}

/// The members of the first configuration all copy the initiator's data, such as it is, under their first `_id`s.
fn is_in_its_first_sync(roster: &Roster<'_>, primary: Primary<'_>, member: &Member<'_>) -> bool {
    let config = &primary.report.config;
    let Some(set) = config.replica_set_id() else {
        return true;
    };
    let age = initiated_at(&set).map(|at| roster.observation.now.duration_since(at));
    // Those of the initiation have an `_id` under 64 (`SetConfig::fresh_id`).
    let is_new = member.config.id.0 < 64 && age.is_none_or(|age| age.abs() < FIRST_SYNC);
    is_new
        && !roster
            .observation
            .had_data
            .contains(&(set, member.config.id))
}

fn has_lost_its_data(member: &Member<'_>) -> bool {
    let Some(report) = member.seat().and_then(Seat::report) else {
        return false;
    };
    let copies_again = |state, sync: bool| state == MemberState::Startup2 && sync;
    match &report.replication {
        Replication::NotYetInitialised { .. } => !member.newly_added && member.config.votes > 0,
        Replication::InSet(set) => {
            !member.newly_added
                && member.config.votes > 0
                && copies_again(set.state, set.initial_sync.is_some())
        }
        Replication::NotEnabled | Replication::LoadingConfig => false,
    }
}

/// A member reached under a wrong name gets its task's. A held primary's name is out of DNS: while no other member can
/// take over, those that are to copy from it reach it at its address.
pub(super) fn rehost(
    roster: &Roster<'_>,
    primary: Primary<'_>,
    members: &[Member<'_>],
    verdict: &mut Verdict,
) {
    let base = &primary.report.config;
    let mut moves: Vec<(MemberId, Host)> = Vec::new();
    for member in members {
        let to = match member.standing {
            Standing::Stays(seat)
                if member.config.host != seat.host && knows_itself(member, seat) =>
            {
                seat.host.clone()
            }
            Standing::Leaves {
                seat: Some(seat), ..
            }
            | Standing::NoWord { seat: Some(seat) }
                if member.config.id == primary.id && is_cut_off(roster, members, seat) =>
            {
                let Some(address) = seat.address else {
                    continue;
                };
                Host::new(address.to_string())
            }
            // One or two voters could not reach a member that comes back under another address.
            Standing::Restarts { old: seat }
                if member.config.id == primary.id
                    && !is_small(members)
                    && is_cut_off(roster, members, seat) =>
            {
                let Some(address) = seat.address else {
                    continue;
                };
                Host::new(address.to_string())
            }
            Standing::Leaves { .. }
            | Standing::NoWord { .. }
            | Standing::Restarts { .. }
            | Standing::Stays(_)
            | Standing::Stranger => continue,
        };
        let taken = base.member_at(&to).is_some() || moves.iter().any(|(_, host)| *host == to);
        if !taken {
            moves.push((member.config.id, to));
        }
    }
    if moves.is_empty() {
        return;
    }
    let mut config = base.next();
    let mut changes = Vec::new();
    for (id, to) in moves {
        if let Some(m) = config.members.iter_mut().find(|m| m.id == id) {
            let from = m.host.clone();
            m.rehost(to.clone());
            changes.push(MemberChange::Rehost { id, from, to });
        }
    }
    reconfigure(primary, config, changes, verdict);
}

/// Too few voters to do without any of them.
pub(super) fn is_small(members: &[Member<'_>]) -> bool {
    members.iter().filter(|m| m.votes).count() <= 2
}

/// A held primary that somebody has to copy from, and that nobody can take over from.
fn is_cut_off(roster: &Roster<'_>, members: &[Member<'_>], seat: &Seat<'_>) -> bool {
    let needs_it = |s: &&Seat<'_>| match seat_of(members, s) {
        Some(member) => member.stays() && s.report().is_some() && !member.replicates(),
        None => joins(roster, s),
    };
    let someone_waits = roster.wanted.iter().any(|s| needs_it(&s));
    seat.is_held() && someone_waits && candidate(roster, members).is_none()
}

/// A wrong name is corrected only for a member that itself says which one it is. One that was reached at the address
/// of its former container cannot say so: it does not find itself, and its name in the tag vouches for it.
fn knows_itself(member: &Member<'_>, seat: &Seat<'_>) -> bool {
    let says_so = seat
        .in_set()
        .is_some_and(|r| r.self_id == Some(member.config.id));
    says_so || (seat.report().is_some() && member.config.identity() == seat.host)
}

/// Adds all who are ready to join, at once: none of them votes before its initial sync is done.
pub(super) fn add_newcomers(
    roster: &Roster<'_>,
    primary: Primary<'_>,
    members: &[Member<'_>],
    verdict: &mut Verdict,
) {
    let restarts = members
        .iter()
        .any(|m| matches!(m.standing, Standing::Restarts { .. }) && !would_be_lost(members, m));
    if others_are_coming(roster, members) || (restarts && is_small(members)) {
        return;
    }
    let is_new = |s: &&Seat<'_>| seat_of(members, s).is_none() && joins(roster, s);
    let newcomers: Vec<_> = roster.wanted.iter().filter(is_new).collect();
    if newcomers.is_empty() {
        return;
    }
    let mut config = primary.report.config.next();
    let mut changes = Vec::new();
    for seat in newcomers {
        if config.members.len() >= MAX_MEMBERS {
            break;
        }
        let id = primary.report.config.fresh_id(changes.len());
        let mut member = match predecessor(members, seat) {
            Some(old) => succeed(old.config, id, seat),
            None => new_member(roster, seat, id),
        };
        if member.votes > 0 && config.votes() >= MAX_VOTERS {
            member.put_beyond_seven();
        }
        changes.push(MemberChange::Add {
            id,
            host: seat.host.clone(),
            votes: member.votes > 0,
        });
        config.members.push(member);
    }
    reconfigure(primary, config, changes, verdict);
}

/// Newcomers that start together are added together, since each configuration takes a heartbeat.
fn others_are_coming(roster: &Roster<'_>, members: &[Member<'_>]) -> bool {
    let newcomers = || {
        roster
            .wanted
            .iter()
            .filter(|s| seat_of(members, s).is_none())
    };
    let is_young = |seat: &Seat<'_>| {
        let age = |made| roster.observation.now.duration_since(made);
        seat.task
            .created
            .is_some_and(|made| (SignedDuration::ZERO..COMING).contains(&age(made)))
    };
    let is_up = |seat: &Seat<'_>| {
        let replication = seat.report().map(|r| &r.replication);
        replication.is_some_and(|r| *r != Replication::LoadingConfig)
    };
    // One that fails again and again is always young: the others do not wait for it for longer than they are young.
    let all_ready_are_young = newcomers().filter(|s| is_up(s)).all(is_young);
    all_ready_are_young && newcomers().any(|s| !is_up(s) && is_young(s))
}

/// Whether a task's mongod may be added: it answers, and it is empty or one of ours from before.
fn joins(roster: &Roster<'_>, seat: &Seat<'_>) -> bool {
    let willing = match seat.report().map(|r| &r.replication) {
        Some(Replication::NotYetInitialised { collections }) => *collections == 0,
        Some(Replication::InSet(_)) => roster.is_ours(seat),
        Some(Replication::NotEnabled | Replication::LoadingConfig) | None => false,
    };
    willing && is_fit(seat) && !roster.has_twin(seat)
}

/// The member that this task comes in place of: same slot, on its way out.
fn predecessor<'m, 'a>(members: &'m [Member<'a>], seat: &Seat<'_>) -> Option<&'m Member<'a>> {
    let intent_slot = seat.task.slot?;
    members.iter().find(|m| {
        let slot = match m.standing {
            Standing::Leaves { slot, .. } => slot,
            Standing::Stays(_)
            | Standing::Restarts { .. }
            | Standing::NoWord { .. }
            | Standing::Stranger => None,
        };
        slot == Some(intent_slot)
    })
}

/// A successor inherits what a person gave to the member before it.
fn succeed(old: &MemberConfig, id: MemberId, seat: &Seat<'_>) -> MemberConfig {
    let mut member = old.clone();
    if member.is_beyond_seven() {
        member.give_vote();
    }
    member.rehost(seat.host.clone());
    member.id = id;
    member
}

/// How many members are ready that will go on: those that restart come back with their data.
fn ready_to_go_on(members: &[Member<'_>]) -> usize {
    let goes_on = |m: &Member<'_>| m.stays() || matches!(m.standing, Standing::Restarts { .. });
    let ready = members.iter().filter(|m| goes_on(m) && m.is_ready());
    ready.count()
}

/// How many leavers may go without the set falling under what the service asks for.
fn spare_leavers(roster: &Roster<'_>, members: &[Member<'_>]) -> i64 {
    let ready = ready_to_go_on(members) as i64;
    let leavers = members
        .iter()
        .filter(|m| m.leaves() && !m.newly_added)
        .count() as i64;
    ready + leavers - i64::try_from(roster.intent.replicas).unwrap_or(i64::MAX)
}

/// Removes leavers: at most one voter at a time, and none that is still needed.
pub(super) fn remove_leavers(
    roster: &Roster<'_>,
    primary: Primary<'_>,
    members: &[Member<'_>],
    verdict: &mut Verdict,
) {
    let mut leavers: Vec<_> = members.iter().filter(|m| m.leaves()).collect();
    if leavers.is_empty() {
        return;
    }
    let mut spare = spare_leavers(roster, members);
    let mut config = primary.report.config.next();
    let mut changes = Vec::new();
    let mut voter_goes = false;
    // The dead first; then those that would take the lead back.
    leavers.sort_by(|a, b| {
        let by_priority = b.config.priority.total_cmp(&a.config.priority);
        let by_health = a.is_healthy().cmp(&b.is_healthy());
        by_health
            .then(by_priority)
            .then(a.config.id.cmp(&b.config.id))
    });
    for member in leavers {
        let (id, host) = (member.config.id, member.config.host.clone());
        if id == primary.id {
            continue;
        }
        if spare <= 0 && !member.newly_added && !goes_anyway(member) {
            verdict.wait(Waiting::SuccessorNotReady {
                host,
                ready: ready_to_go_on(members),
                wanted: roster.intent.replicas,
            });
            continue;
        }
        if member.config.votes > 0 && voter_goes {
            continue;
        }
        if member.votes
            && let Err(risk) = safety::majority_without(members, id)
        {
            verdict.wait(Waiting::MajorityAtRisk {
                host,
                healthy: risk.healthy,
                voters: risk.voters,
                needed: risk.needed,
            });
            continue;
        }
        voter_goes |= member.config.votes > 0;
        if !member.newly_added {
            spare -= 1;
        }
        config.members.retain(|m| m.id != id);
        changes.push(MemberChange::Remove { id, host });
    }
    reconfigure(primary, config, changes, verdict);
}

/// Scaled down, and about to be ended by SIGTERM whatever we do: better removed while there is a majority.
fn goes_anyway(member: &Member<'_>) -> bool {
    match member.standing {
        Standing::Leaves {
            seat, scaled_down, ..
        } => scaled_down && seat.is_some_and(|s| !s.is_held()),
        Standing::Stays(_)
        | Standing::Restarts { .. }
        | Standing::NoWord { .. }
        | Standing::Stranger => false,
    }
}

/// Gives a vote that has become free to a member that waited for it.
pub(super) fn give_votes(
    roster: &Roster<'_>,
    primary: Primary<'_>,
    members: &[Member<'_>],
    verdict: &mut Verdict,
) {
    if primary.report.config.votes() >= MAX_VOTERS {
        return;
    }
    let waits = |m: &&Member<'_>| {
        let alone = m.seat().is_some_and(|s| !roster.has_twin(s));
        m.config.is_beyond_seven() && m.stays() && m.is_ready() && alone
    };
    let Some(next) = members.iter().find(waits) else {
        return;
    };
    let (id, host) = (next.config.id, next.config.host.clone());
    let mut config = primary.report.config.next();
    if let Some(member) = config.members.iter_mut().find(|m| m.id == id) {
        member.give_vote();
    }
    reconfigure(
        primary,
        config,
        vec![MemberChange::GiveVote { id, host }],
        verdict,
    );
}

fn reconfigure(
    primary: Primary<'_>,
    config: SetConfig,
    changes: Vec<MemberChange>,
    verdict: &mut Verdict,
) {
    let Some(on) = primary.seat.target().filter(|_| !changes.is_empty()) else {
        return;
    };
    verdict.step(Step::Reconfigure {
        key: primary.key.clone(),
        on,
        base: Box::new(primary.report.config.clone()),
        changes,
        config: Box::new(config),
    });
}
