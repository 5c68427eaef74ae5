//! Labels that give new members MongoDB's own fields: for all (`swarmset.priority`) or one slot (`swarmset.priority.3`).

use std::collections::BTreeMap;

use super::{
    IntentError, LABEL_CLUSTER, LABEL_CONFIG_SHARD, LABEL_DRAIN, LABEL_REPLICA_SET, LABEL_ROLE,
    Role,
};
use crate::names::Slot;

const LABEL_PRIORITY: &str = "swarmset.priority";
const LABEL_VOTES: &str = "swarmset.votes";
const LABEL_HIDDEN: &str = "swarmset.hidden";
const LABEL_ARBITER: &str = "swarmset.arbiter";

/// Fields for new members. They are given when a member is added; later changes by a person are kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MemberOptions {
    priority: BTreeMap<Option<Slot>, f64>,
    votes: BTreeMap<Option<Slot>, bool>,
    hidden: BTreeMap<Option<Slot>, bool>,
}

impl MemberOptions {
    /// Whether the member in this slot may vote, while there are votes to give. MongoDB's default: yes.
    pub fn votes(&self, slot: Option<Slot>) -> bool {
        of(&self.votes, slot).unwrap_or(true)
    }

    /// Whether clients are not to see the member in this slot. MongoDB's default: no.
    pub fn hidden(&self, slot: Option<Slot>) -> bool {
        of(&self.hidden, slot).unwrap_or(false)
    }

    /// The priority (0 to 1000) of the member in this slot. MongoDB's default: 1; 0 for one that is hidden or
    /// has no vote, as the server demands.
    pub fn priority(&self, slot: Option<Slot>) -> f64 {
        let able = self.votes(slot) && !self.hidden(slot);
        of(&self.priority, slot).unwrap_or(if able { 1.0 } else { 0.0 })
    }
}

fn of<T: Copy>(values: &BTreeMap<Option<Slot>, T>, slot: Option<Slot>) -> Option<T> {
    values.get(&slot).or_else(|| values.get(&None)).copied()
}

/// Reads all labels under `swarmset.`, and tells of those that are wrong.
pub(super) fn member_options(
    labels: &BTreeMap<String, String>,
    role: Role,
    errors: &mut Vec<IntentError>,
) -> MemberOptions {
    let mut options = MemberOptions::default();
    for (label, value) in labels.iter().filter(|(l, _)| l.starts_with("swarmset.")) {
        if let Err(error) = read(label, value, role, &mut options) {
            errors.push(error);
        }
    }
    if role == Role::ConfigServer
        && labels.get(LABEL_DRAIN).is_some_and(|v| v == "true")
        && labels.get(LABEL_CONFIG_SHARD).is_some_and(|v| v == "true")
    {
        errors.push(IntentError::BadLabel {
            label: LABEL_DRAIN.into(),
            found: "true".into(),
            allowed:
                "false while swarmset.config-shard is true: drain the config shard, or keep it"
                    .into(),
        });
    }
    if errors.is_empty() {
        check(&options, errors);
    }
    options
}

fn read(
    label: &str,
    value: &str,
    role: Role,
    options: &mut MemberOptions,
) -> Result<(), IntentError> {
    let bad = |allowed: &str| IntentError::BadLabel {
        label: label.to_owned(),
        found: value.to_owned(),
        allowed: allowed.to_owned(),
    };
    let flag = || match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(bad("true, false")),
    };
    let (name, slot) = split_slot(label);
    match name {
        LABEL_ROLE if slot.is_none() => {}
        LABEL_CLUSTER | LABEL_REPLICA_SET if slot.is_none() => {
            check_name(label, value)?;
        }
        LABEL_DRAIN | LABEL_CONFIG_SHARD if slot.is_none() => {
            flag()?;
            check_role(label, role)?;
        }
        LABEL_PRIORITY => {
            let priority = value.parse().ok().filter(|p| (0.0..=1000.0).contains(p));
            let priority = priority.ok_or_else(|| bad("a number from 0 to 1000"))?;
            options.priority.insert(slot, priority);
        }
        LABEL_VOTES => {
            let votes = match value {
                "0" => false,
                "1" => true,
                _ => return Err(bad("0, 1")),
            };
            options.votes.insert(slot, votes);
        }
        LABEL_HIDDEN => {
            options.hidden.insert(slot, flag()?);
        }
        LABEL_ARBITER => {
            if flag()? {
                return Err(bad(
                    "false: an arbiter holds no data, and acknowledged writes may be lost with one copy",
                ));
            }
        }
        _ => {
            let known = [
                LABEL_ROLE,
                LABEL_CLUSTER,
                LABEL_REPLICA_SET,
                LABEL_DRAIN,
                LABEL_CONFIG_SHARD,
            ];
            let for_members = [LABEL_PRIORITY, LABEL_VOTES, LABEL_HIDDEN, LABEL_ARBITER];
            return Err(IntentError::UnknownLabel {
                label: label.to_owned(),
                known: [known.as_slice(), for_members.as_slice()]
                    .concat()
                    .join(", "),
            });
        }
    }
    Ok(())
}

/// Names of clusters and sets.
pub(super) fn check_name(label: &str, value: &str) -> Result<(), IntentError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if value.is_empty() || value.len() > 24 || !value.chars().all(fits) {
        return Err(IntentError::BadLabel {
            label: label.to_owned(),
            found: value.to_owned(),
            allowed: "1 to 24 letters, digits, - and _".to_owned(),
        });
    }
    Ok(())
}

/// Draining is for what can be a shard.
fn check_role(label: &str, role: Role) -> Result<(), IntentError> {
    let allowed = match (label, role) {
        (LABEL_DRAIN, Role::Shard | Role::ConfigServer)
        | (LABEL_CONFIG_SHARD, Role::ConfigServer) => return Ok(()),
        (LABEL_DRAIN, _) => "only a shard can be drained",
        _ => "only the config servers can be a config shard",
    };
    Err(IntentError::LabelOfOtherRole {
        label: label.to_owned(),
        role: role.name(),
        allowed,
    })
}

/// `swarmset.hidden.3` is `swarmset.hidden` of slot 3.
fn split_slot(label: &str) -> (&str, Option<Slot>) {
    let slot = label
        .rsplit_once('.')
        .and_then(|(name, slot)| Some((name, slot.parse().ok().filter(|s| *s > 0)?)));
    slot.map_or((label, None), |(name, slot)| (name, Some(Slot(slot))))
}

/// The server's own rules: who has no vote or is hidden has priority 0; someone must be able to lead.
fn check(options: &MemberOptions, errors: &mut Vec<IntentError>) {
    let everyone = None;
    let slots = options.priority.keys().chain(options.votes.keys());
    let named: Vec<_> = slots
        .chain(options.hidden.keys())
        .chain([&everyone])
        .collect();
    for slot in &named {
        let able = options.votes(**slot) && !options.hidden(**slot);
        if !able && options.priority(**slot) > 0.0 {
            errors.push(IntentError::BadLabel {
                label: LABEL_PRIORITY.into(),
                found: options.priority(**slot).to_string(),
                allowed: "0 for a member that is hidden or has no vote".into(),
            });
            return;
        }
    }
    if named.iter().all(|slot| options.priority(**slot) == 0.0) {
        errors.push(IntentError::BadLabel {
            label: LABEL_PRIORITY.into(),
            found: "0 for every member".into(),
            allowed: "over 0 for at least one: else no member can be primary".into(),
        });
    }
}
