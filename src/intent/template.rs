//! Host name templates: Swarm's placeholders, followed forwards (a task's name) and backwards (whose name is this?).

use super::IntentError;
use crate::names::{ServiceName, Slot};
use crate::swarm::model::{Swarm, Task};

/// A host name template of a service (Docker manual, "Create services using templates").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostTemplate(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    ServiceName,
    TaskSlot,
    NodeId,
    NodeHostname,
}

const ALLOWED: &str =
    "allowed are {{.Service.Name}}, {{.Task.Slot}}, {{.Node.ID}} and {{.Node.Hostname}}";

impl HostTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// A placeholder that is not known, one that would give a restarted task a new name, or none that tells one
    /// task from another.
    pub fn parse(text: &str) -> Result<Self, IntentError> {
        let bad = |why: String| IntentError::BadHostname {
            template: text.to_owned(),
            why,
        };
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            let Some((placeholder, after)) = after.split_once("}}") else {
                return Err(bad("{{ without }}".into()));
            };
            pieces.push(match placeholder.trim() {
                ".Service.Name" => Piece::ServiceName,
                ".Task.Slot" => Piece::TaskSlot,
                ".Node.ID" => Piece::NodeId,
                ".Node.Hostname" => Piece::NodeHostname,
                other @ (".Task.ID" | ".Task.Name") => {
                    let why = format!("{{{{{other}}}}} is new at each restart; {ALLOWED}");
                    return Err(bad(why));
                }
                other => return Err(bad(format!("{{{{{other}}}}} is not known; {ALLOWED}"))),
            });
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        let varies = |p: &Piece| !matches!(p, Piece::Text(_) | Piece::ServiceName);
        if pieces.windows(2).any(|pair| pair.iter().all(varies)) {
            let why = "two placeholders side by side cannot be told apart; put a - between them";
            return Err(bad(why.into()));
        }
        let tells_tasks_apart =
            |p: &Piece| matches!(p, Piece::TaskSlot | Piece::NodeId | Piece::NodeHostname);
        if !pieces.iter().any(tells_tasks_apart) {
            return Err(bad(format!(
                "all tasks would have the same name; {ALLOWED}"
            )));
        }
        Ok(Self(pieces))
    }

    /// A task's host name; `None` while it has no slot or no node, or its node is not known.
    pub fn expand(&self, service: &ServiceName, task: &Task, swarm: &Swarm) -> Option<String> {
        let mut name = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => name.push_str(text),
                Piece::ServiceName => name.push_str(service.as_str()),
                Piece::TaskSlot => name.push_str(&task.slot?.to_string()),
                Piece::NodeId => name.push_str(task.node.as_ref()?.as_str()),
                Piece::NodeHostname => {
                    name.push_str(&swarm.nodes.get(task.node.as_ref()?)?.hostname);
                }
            }
        }
        Some(name)
    }

    /// Whether a name can have been made by this template, and from which slot if the name tells.
    pub fn recognise(&self, service: &ServiceName, name: &str) -> Option<Option<Slot>> {
        matches(&self.0, service, name, None)
    }
}

fn matches(
    pieces: &[Piece],
    service: &ServiceName,
    name: &str,
    slot: Option<Slot>,
) -> Option<Option<Slot>> {
    let Some((piece, rest)) = pieces.split_first() else {
        return name.is_empty().then_some(slot);
    };
    let accepts: fn(u8) -> bool = match piece {
        Piece::Text(text) => {
            return matches(rest, service, name.strip_prefix(text.as_str())?, slot);
        }
        Piece::ServiceName => {
            return matches(rest, service, name.strip_prefix(service.as_str())?, slot);
        }
        Piece::TaskSlot => |b| b.is_ascii_digit(),
        Piece::NodeId => |b| b.is_ascii_lowercase() || b.is_ascii_digit(),
        Piece::NodeHostname => |b| b.is_ascii_graphic(),
    };
    let longest = name.bytes().take_while(|b| accepts(*b)).count();
    (1..=longest).rev().find_map(|length| {
        let (taken, after) = name.split_at(length);
        let slot = match piece {
            Piece::TaskSlot => Some(Slot(taken.parse().ok()?)),
            Piece::Text(_) | Piece::ServiceName | Piece::NodeId | Piece::NodeHostname => slot,
        };
        matches(rest, service, after, slot)
    })
}
