//! Which set is this? Strangers are refused and named; the set's identity is recorded once, for life.

use std::collections::BTreeMap;

use super::Verdict;
use super::roster::{Roster, Seat};
use crate::mongo::model::{Replication, ServerVersion, describe};
use crate::names::ReplicaSetId;
use crate::step::{Fault, Step};
use crate::swarm::model::ClaimContent;

/// Names every mongod that cannot be a member of this set, and why.
pub(super) fn refuse_unfit(roster: &Roster<'_>, verdict: &mut Verdict) {
    let ours = roster.identity();
    for seat in roster.seats() {
        let Some(report) = seat.report() else {
            continue;
        };
        let host = seat.host.clone();
        if report.version < ServerVersion::OLDEST {
            let found = report.version;
            verdict.faults.push(Fault::TooOld { host, found });
            continue;
        }
        match &report.replication {
            Replication::NotEnabled => verdict.faults.push(Fault::NotReplicated { host }),
            Replication::InSet(set) => {
                let (found, wanted) = (&set.config.set, &roster.intent.key.set);
                let id = seat.identity();
                if found != wanted {
                    let (found, wanted) = (found.clone(), wanted.clone());
                    let fault = Fault::OtherSetName {
                        host,
                        found,
                        wanted,
                    };
                    verdict.faults.push(fault);
                } else if ours.is_some() && id != ours {
                    verdict.faults.push(Fault::ForeignMember {
                        host,
                        found: describe(found, id),
                        ours: describe(wanted, ours),
                    });
                }
            }
            Replication::NotYetInitialised { collections } if *collections > 0 => {
                let collections = *collections;
                verdict.faults.push(Fault::HoldsData { host, collections });
            }
            Replication::NotYetInitialised { .. } | Replication::LoadingConfig => {}
        }
    }
}

/// Whether a mongod may become, or is, a member: new enough, and not somebody else's.
pub(super) fn is_fit(seat: &Seat<'_>) -> bool {
    seat.report()
        .is_some_and(|r| r.version >= ServerVersion::OLDEST)
}

/// Sees to it that the set is recorded. `false`: it is not known which set this is, so nothing may be done.
pub(super) fn settle(roster: &Roster<'_>, verdict: &mut Verdict) -> bool {
    let key = &roster.intent.key;
    let mut found: BTreeMap<ReplicaSetId, Vec<String>> = BTreeMap::new();
    for seat in roster.seats() {
        let right_name = seat.in_set().is_some_and(|r| r.config.set == key.set);
        if let Some(id) = seat.identity().filter(|_| right_name) {
            found
                .entry(id.clone())
                .or_default()
                .push(seat.host.to_string());
        }
    }
    let recorded = roster.claim.and_then(|c| c.replica_set_id.clone());
    match (recorded, found.len()) {
        (_, 0) => false,
        (Some(recorded), _) if found.contains_key(&recorded) => true,
        (Some(recorded), _) => {
            let claim = key.claim_name();
            for found in found.into_keys() {
                let (claim, recorded) = (claim.clone(), recorded.clone());
                let fault = Fault::IdentityDiffers {
                    claim,
                    recorded,
                    found,
                };
                verdict.faults.push(fault);
            }
            false
        }
        (None, 1) => {
            if let Some((id, members)) = found.pop_first() {
                record(roster, id, members, verdict);
            }
            true
        }
        (None, _) => {
            let set = |(id, members): (ReplicaSetId, Vec<String>)| {
                format!("{id} with {}", members.join(", "))
            };
            let sets = found.into_iter().map(set).collect();
            verdict.faults.push(Fault::SeveralSets { sets });
            false
        }
    }
}

/// Records the identity once the set works: before that, there is more urgent work.
fn record(roster: &Roster<'_>, id: ReplicaSetId, members: Vec<String>, verdict: &mut Verdict) {
    if roster.primary().is_none() {
        return;
    }
    let key = roster.intent.key.clone();
    verdict.step(match roster.claim {
        Some(claim) => Step::RecordIdentity {
            key,
            claim: claim.clone(),
            replica_set_id: id,
        },
        None => Step::Claim {
            key,
            content: ClaimContent {
                initiator: None,
                members,
            },
            replica_set_id: Some(id),
        },
    });
}
