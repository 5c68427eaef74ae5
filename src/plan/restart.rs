//! Restarts in place: one member at a time, secondaries first, the primary handed over before its turn.

use super::Verdict;
use super::election::hand_over;
use super::membership::is_small;
use super::roster::{Member, Primary, Roster, Seat, Standing};
use super::safety;
use crate::mongo::model::MemberState;
use crate::step::{Ending, Step, Waiting};

/// Ends the next member whose new task waits for its name and data.
pub(super) fn restart_in_place(
    roster: &Roster<'_>,
    primary: Primary<'_>,
    members: &[Member<'_>],
    verdict: &mut Verdict,
) {
    let restarts = |m: &&Member<'_>| matches!(m.standing, Standing::Restarts { .. });
    let mut waiting: Vec<_> = members.iter().filter(restarts).collect();
    // One that the primary does not reach comes first: while it is held its name is out of DNS, and after a while, or
    // under a new primary, nobody gets at it. Its restart takes nothing away, and brings it back.
    waiting.sort_by_key(|m| {
        let is_primary = m.config.id == primary.id;
        (is_primary, m.is_seen_healthy(), m.config.host.clone())
    });
    let Some(next) = waiting.first() else {
        return;
    };
    let host = next.config.host.clone();
    let unwell = members.iter().find(|m| {
        let counts = m.stays() || matches!(m.standing, Standing::Restarts { .. });
        let is_well = m.is_ready() && (m.replicates() || m.state() != MemberState::Secondary);
        counts && !is_well && m.config.id != next.config.id
    });
    if let Some(other) = unwell.filter(|_| next.is_seen_healthy()) {
        verdict.wait(Waiting::RestartInTurn {
            host,
            other: other.config.host.clone(),
            state: other.state(),
        });
        return;
    }
    if let Err(risk) = safety::majority_during_restart(members, next.config.id) {
        verdict.wait(Waiting::MajorityAtRisk {
            host,
            healthy: risk.healthy,
            voters: risk.voters,
            needed: risk.needed,
        });
        return;
    }
    if would_be_lost(members, next) {
        verdict.wait(Waiting::NoCandidate { host });
        return;
    }
    let is_primary = next.config.id == primary.id;
    if is_primary && others_may_lead(members, next) {
        hand_over(roster, members, next, verdict);
        return;
    }
    match next.seat().filter(|s| s.is_held()).and_then(Seat::target) {
        Some(on) => verdict.step(Step::ShutDown {
            key: roster.intent.key.clone(),
            on,
            why: if is_primary {
                Ending::RestartAlone
            } else {
                Ending::Restart
            },
        }),
        None => verdict.wait(Waiting::Restarting { host }),
    }
}

fn others_may_lead(members: &[Member<'_>], than: &Member<'_>) -> bool {
    let may_lead = |m: &&Member<'_>| {
        m.config.id != than.config.id && m.config.votes > 0 && m.config.priority > 0.0
    };
    members.iter().any(|m| may_lead(&m))
}

/// A member that is reached at its address does not find itself when it comes back under another one. Only a primary
/// can give it its name back, and so the others must be able to have one without it.
pub(super) fn would_be_lost(members: &[Member<'_>], member: &Member<'_>) -> bool {
    let is_at_address = member.config.host.is_address();
    is_at_address && (is_small(members) || !others_may_lead(members, member))
}
