//! The safety rules (design, section 5), each a function. Numbers are the rules' own.
//!
//! [`check`] judges every step after all else is said; the functions on members are what the planner asks before.

use std::collections::BTreeSet;

use super::roster::Member;
use crate::intent::{MAX_MEMBERS, MAX_VOTERS};
use crate::mongo::model::{MemberConfig, SetConfig, majority};
use crate::names::{Host, MemberId};
use crate::step::{MemberChange, Step};

/// A rule that a step would break.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The rule's number.
    pub rule: u8,
    /// What would have been broken.
    pub why: String,
}

/// Too few healthy voters would be left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AtRisk {
    /// Healthy voters that would be left.
    pub healthy: usize,
    /// Voters that would be left.
    pub voters: usize,
    /// The majority of these.
    pub needed: usize,
}

/// Judges a step by the rules that can be told from it alone.
///
/// # Errors
/// The first rule that it would break.
pub fn check(step: &Step) -> Result<(), Violation> {
    match step {
        Step::Reconfigure {
            on,
            base,
            changes,
            config,
            ..
        } => {
            one_voting_change(base, config)?;
            one_identity_an_id(base, config, changes)?;
            same_set_for_life(base, config)?;
            primary_stays(base, config, &on.host)?;
            within_limits(config)?;
            compare_and_set(base, config)
        }
        Step::Initiate { config, .. } => within_limits(config),
        Step::Claim { .. }
        | Step::RecordIdentity { .. }
        | Step::StandForElection { .. }
        | Step::HandOver { .. }
        | Step::ExtendQuiesce { .. }
        | Step::ShutDown { .. }
        | Step::Sharding(_) => Ok(()),
    }
}

fn violation(rule: u8, why: impl Into<String>) -> Violation {
    let why = why.into();
    Violation { rule, why }
}

/// Rule 1: consecutive configurations differ by at most one voting `_id`. Added members do not count: the server
/// keeps them from voting (`newlyAdded`) until they have caught up, also when several come at once.
///
/// # Errors
/// Two or more voters go or change.
pub fn one_voting_change(from: &SetConfig, to: &SetConfig) -> Result<(), Violation> {
    let votes = |c: &SetConfig, id| c.member(id).is_some_and(|m| m.votes > 0);
    let changed = |m: &&MemberConfig| votes(from, m.id) != votes(to, m.id);
    let changes = from.members.iter().filter(changed).count();
    match changes {
        0 | 1 => Ok(()),
        many => Err(violation(1, format!("{many} votes would change at once"))),
    }
}

/// Rule 3: an `_id` never stands for two data identities. Only a member that itself says which `_id` it has may be
/// given another name.
///
/// # Errors
/// An `_id` gets another identity, one comes twice, or an identity has two.
pub fn one_identity_an_id(
    from: &SetConfig,
    to: &SetConfig,
    changes: &[MemberChange],
) -> Result<(), Violation> {
    let says_so = |id| {
        changes
            .iter()
            .any(|c| matches!(c, MemberChange::Rehost { id: of, .. } if *of == id))
    };
    let (mut ids, mut identities) = (BTreeSet::new(), BTreeSet::new());
    for member in &to.members {
        let identity = member.identity();
        if !ids.insert(member.id) || !identities.insert(identity.clone()) {
            return Err(violation(3, format!("{identity} would stand twice")));
        }
        if let Some(before) = from.member(member.id) {
            let was = before.identity();
            if was != identity && !says_so(member.id) {
                let why = format!("_id {} is {was} and would be {identity}", member.id);
                return Err(violation(3, why));
            }
        }
    }
    Ok(())
}

/// Rule 7: one `replicaSetId` a set, for life.
///
/// # Errors
/// Name or identity would change.
pub fn same_set_for_life(from: &SetConfig, to: &SetConfig) -> Result<(), Violation> {
    if from.set == to.set && from.replica_set_id() == to.replica_set_id() {
        Ok(())
    } else {
        Err(violation(7, "the set's identity would change"))
    }
}

/// Rule 10: a primary is handed over before it is removed.
///
/// # Errors
/// The primary would not be a member any more.
pub fn primary_stays(from: &SetConfig, to: &SetConfig, primary: &Host) -> Result<(), Violation> {
    let is_primary = |m: &&MemberConfig| m.identity() == *primary || m.host == *primary;
    let id = from.members.iter().find(is_primary).map(|m| m.id);
    if id.is_some_and(|id| to.member(id).is_none()) {
        return Err(violation(
            10,
            format!("the primary {primary} would be removed"),
        ));
    }
    Ok(())
}

/// Rule 11: at most 7 voters and 50 members, no vote means priority 0, and someone can lead.
///
/// # Errors
/// Names the limit.
pub fn within_limits(config: &SetConfig) -> Result<(), Violation> {
    let (voters, members) = (config.votes(), config.members.len());
    if voters > MAX_VOTERS || members > MAX_MEMBERS || voters == 0 {
        return Err(violation(
            11,
            format!("{voters} voters of {members} members"),
        ));
    }
    let able = |m: &&MemberConfig| m.votes == 0 && m.priority > 0.0;
    if let Some(member) = config.members.iter().find(able) {
        let why = format!("{} would have a priority and no vote", member.host);
        return Err(violation(11, why));
    }
    if config.members.iter().filter(|m| m.arbiter_only).count() > 1 {
        return Err(violation(11, "two arbiters"));
    }
    Ok(())
}

/// Rule 14: every change starts from what was seen.
///
/// # Errors
/// The version is not the next one.
pub fn compare_and_set(from: &SetConfig, to: &SetConfig) -> Result<(), Violation> {
    if to.version == from.version + 1 && to.term == from.term {
        Ok(())
    } else {
        let why = format!("version {} would follow {}", to.version, from.version);
        Err(violation(14, why))
    }
}

/// Rule 9, for a removal: the healthy voters without this member are a majority of the voters without it.
///
/// # Errors
/// They are not.
pub fn majority_without(members: &[Member<'_>], id: MemberId) -> Result<(), AtRisk> {
    let others = || members.iter().filter(|m| m.votes && m.config.id != id);
    let (voters, healthy) = (
        others().count(),
        others().filter(|m| m.is_healthy()).count(),
    );
    decide(healthy, voters, majority(voters))
}

/// Rule 9, for a restart: the healthy voters without this member are a majority of all voters. One or two voters
/// cannot spare any; they restart when all are well, and the set is without a primary meanwhile. A member whose vote
/// is still to come is counted as a voter: the server may give it at any moment.
///
/// # Errors
/// They are not.
pub fn majority_during_restart(members: &[Member<'_>], id: MemberId) -> Result<(), AtRisk> {
    let others = || members.iter().filter(|m| m.votes && m.config.id != id);
    let healthy = others().filter(|m| m.is_healthy()).count();
    let votes = |m: &Member<'_>| m.config.id == id && m.config.votes > 0;
    let own_vote = usize::from(members.iter().any(votes));
    let voters = others().count() + own_vote;
    let needed = match voters {
        0..=2 => voters - own_vote,
        3.. => majority(voters),
    };
    decide(healthy, voters, needed)
}

fn decide(healthy: usize, voters: usize, needed: usize) -> Result<(), AtRisk> {
    if healthy >= needed {
        Ok(())
    } else {
        Err(AtRisk {
            healthy,
            voters,
            needed,
        })
    }
}
