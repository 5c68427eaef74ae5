//! The first configuration: once, by the one who holds the claim, when all expected members are there and empty.

use jiff::SignedDuration;

use super::Verdict;
use super::identity::is_fit;
use super::roster::{Roster, Seat};
use crate::intent::{MAX_VOTERS, Role};
use crate::mongo::model::{MemberConfig, Replication, SetConfig};
use crate::names::{Host, MemberId};
use crate::step::{Ending, Fault, Step, Waiting};
use crate::swarm::model::{Claim, ClaimContent};

/// How long after the claim the same initiate may be sent again, when nobody saw it done.
const CLAIM_IS_YOUNG: SignedDuration = SignedDuration::from_mins(10);

/// Initiates a set of which no member has a configuration.
pub(super) fn initiate(roster: &Roster<'_>, verdict: &mut Verdict) {
    if roster.seats().count() == 0 {
        return;
    }
    if let Some(claim) = roster.claim.filter(|c| c.replica_set_id.is_some()) {
        if everyone_is_empty(roster) {
            verdict.faults.push(missing(roster, claim));
        }
        return;
    }
    end_empty_leavers(roster, verdict);
    for seat in roster.leaving.iter().filter(|s| s.report().is_none()) {
        let host = seat.host.clone();
        verdict.wait(Waiting::OldTaskUnheard { host });
    }
    if roster.wanted.iter().any(|s| roster.has_twin(s)) {
        return;
    }
    let complete = roster.wanted.len() as u64 == roster.intent.replicas;
    let claimed = roster.leaving.iter().any(|s| may_be_initiated(roster, s));
    if !complete || (!roster.leaving.is_empty() && !claimed) || !everyone_is_empty(roster) {
        return;
    }
    let members: Vec<String> = roster.wanted.iter().map(|s| s.host.to_string()).collect();
    match roster.claim {
        None => verdict.step(Step::Claim {
            key: roster.intent.key.clone(),
            content: ClaimContent {
                initiator: members.first().cloned(),
                members,
            },
            replica_set_id: None,
        }),
        Some(claim) => with_claim(roster, claim, &members, verdict),
    }
}

/// An initiate may be on its way to it: it would be the only member with a copy of the data. That its task is to stop
/// makes the claim differ from what is found, which a person settles. One that restarts comes back with the copy.
fn may_be_initiated(roster: &Roster<'_>, seat: &Seat<'_>) -> bool {
    let content = roster.claim.and_then(|c| c.content.as_ref().ok());
    let comes_back = roster.wanted.iter().any(|s| s.host == seat.host);
    !comes_back && content.is_some_and(|c| c.initiator.as_deref() == Some(seat.host.as_str()))
}

/// Before there is a set nobody needs a task that Swarm has told to stop.
fn end_empty_leavers(roster: &Roster<'_>, verdict: &mut Verdict) {
    let is_empty = |s: &&Seat<'_>| {
        let replication = s.report().map(|r| &r.replication);
        let nothing = matches!(
            replication,
            Some(Replication::NotYetInitialised { collections: 0 } | Replication::NotEnabled)
        );
        s.is_held() && nothing && !may_be_initiated(roster, s)
    };
    for on in roster
        .leaving
        .iter()
        .filter(is_empty)
        .filter_map(Seat::target)
    {
        verdict.step(Step::ShutDown {
            key: roster.intent.key.clone(),
            on,
            why: Ending::Removed,
        });
    }
}

fn with_claim(roster: &Roster<'_>, claim: &Claim, found: &[String], verdict: &mut Verdict) {
    let claim_name = roster.intent.key.claim_name();
    let content = match &claim.content {
        Ok(content) => content,
        Err(why) => {
            let (claim, why) = (claim_name, why.clone());
            verdict.faults.push(Fault::ClaimUnreadable { claim, why });
            return;
        }
    };
    let age = |made| roster.observation.now.duration_since(made);
    if claim.created.is_none_or(|made| age(made) > CLAIM_IS_YOUNG) || content.initiator.is_none() {
        verdict.faults.push(missing(roster, claim));
        return;
    }
    if content.members != found {
        verdict.faults.push(Fault::ClaimDiffers {
            claim: claim_name,
            claimed: content.members.clone(),
            found: found.to_vec(),
        });
        return;
    }
    let is_initiator = |s: &&Seat<'_>| content.initiator.as_deref() == Some(s.host.as_str());
    let initiator = roster.wanted.iter().find(is_initiator);
    if let Some(on) = initiator.and_then(Seat::target) {
        verdict.step(Step::Initiate {
            key: roster.intent.key.clone(),
            on,
            config: Box::new(first_config(roster)),
        });
    }
}

/// Every wanted task answers that it has no configuration and no data; nothing less will do.
fn everyone_is_empty(roster: &Roster<'_>) -> bool {
    let empty = |seat: &Seat<'_>| {
        is_fit(seat)
            && matches!(
                seat.report().map(|r| &r.replication),
                Some(Replication::NotYetInitialised { collections: 0 })
            )
    };
    !roster.wanted.is_empty() && roster.wanted.iter().all(empty)
}

fn missing(roster: &Roster<'_>, claim: &Claim) -> Fault {
    Fault::DataMissing {
        set: roster.intent.key.set.clone(),
        when: claim.created,
        claim: roster.intent.key.claim_name(),
    }
}

fn first_config(roster: &Roster<'_>) -> SetConfig {
    let mut members = Vec::new();
    for (id, seat) in (0..).zip(&roster.wanted) {
        let mut member = new_member(roster, seat, MemberId(id));
        let votes = members
            .iter()
            .filter(|m: &&MemberConfig| m.votes > 0)
            .count();
        if member.votes > 0 && votes >= MAX_VOTERS {
            member.put_beyond_seven();
        }
        members.push(member);
    }
    SetConfig {
        set: roster.intent.key.set.clone(),
        version: 1,
        term: None,
        members,
        settings: bson::Document::new(),
        other: match roster.intent.role {
            // The server demands it of config servers (manual, `configsvr`).
            Role::ConfigServer => bson::doc! { "configsvr": true },
            Role::ReplicaSet | Role::Shard => bson::Document::new(),
        },
    }
}

/// A member as the service's labels want it.
pub(super) fn new_member(roster: &Roster<'_>, seat: &Seat<'_>, id: MemberId) -> MemberConfig {
    let (options, slot) = (&roster.intent.members, seat.task.slot);
    let mut member = MemberConfig::new(id, Host::clone(&seat.host));
    member.votes = i32::from(options.votes(slot));
    member.priority = options.priority(slot);
    member.hidden = options.hidden(slot);
    member
}
