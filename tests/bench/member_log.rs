//! Moments, as the members' own logs have them, to the millisecond.
//!
//! The logs are read from the nodes' disks, after the fact: nothing is asked of a member while it is measured. What
//! a mongod logs, it logs when it has done it: a primary "database writes are now permitted" once it
//! takes writes (that is when `hello` says `isWritablePrimary`), a configuration once it is in use. The log
//! of a container that Swarm has removed is gone, so that those who left are not read.

use crate::lab::Lab;
use crate::stack::Task;
use anyhow::{Context, Result};
use jiff::Timestamp;
use serde_json::Value;

/// "Transition to primary complete; database writes are now permitted".
const WRITES_PERMITTED: u64 = 21331;
/// "New replica set config in use".
const CONFIG_IN_USE: u64 = 21392;
/// "MongoDB starting".
const STARTS: u64 = 4_615_611;
/// "Waiting for connections".
const LISTENS: u64 = 23016;
/// "Replica set state transition".
const NEW_STATE: u64 = 21358;
const OF_USE: [u64; 5] = [STARTS, LISTENS, NEW_STATE, CONFIG_IN_USE, WRITES_PERMITTED];

/// One line of a mongod's log.
pub struct Line {
    at: Timestamp,
    id: u64,
    attributes: Value,
}

/// The log of a task's mongod, as far as it is of use here.
pub fn of(lab: &Lab, task: &Task) -> Result<Vec<Line>> {
    let node = task.node.context("the task has no node")?;
    let container = task
        .container
        .as_deref()
        .context("the task has no container")?;
    let file = lab
        .machine(node)
        .disk()
        .join("containers")
        .join(container)
        .join(format!("{container}-json.log"));
    let text = std::fs::read_to_string(&file)
        .with_context(|| format!("there is no {}", file.display()))?;
    Ok(text.lines().filter_map(line).collect())
}

/// Docker wraps each line that a container writes into a line of its own.
fn line(wrapped: &str) -> Option<Line> {
    let wrapped: Value = serde_json::from_str(wrapped).ok()?;
    let line = wrapped["log"].as_str()?;
    if !OF_USE
        .iter()
        .any(|id| line.contains(&format!("\"id\":{id},")))
    {
        return None;
    }
    let line: Value = serde_json::from_str(line).ok()?;
    Some(Line {
        at: line["t"]["$date"].as_str()?.parse().ok()?,
        id: line["id"].as_u64()?,
        attributes: line["attr"].clone(),
    })
}

/// When this member first took writes as a primary, from a moment on.
pub fn writable(log: &[Line], from: Timestamp) -> Option<Timestamp> {
    let permitted = |line: &&Line| line.id == WRITES_PERMITTED && line.at >= from;
    log.iter().find(permitted).map(|line| line.at)
}

/// When the first of these members took writes as a primary, from a moment on.
pub fn first_writable(lab: &Lab, tasks: &[Task], from: Timestamp) -> Option<Timestamp> {
    let logs = tasks.iter().filter_map(|task| of(lab, task).ok());
    logs.filter_map(|log| writable(&log, from)).min()
}

/// What happened on all of these members from a moment on, a line each, in the order of time: to see where it goes.
pub fn timeline(lab: &Lab, tasks: &[Task], from: Timestamp) -> Vec<String> {
    let mut lines: Vec<(Timestamp, String)> = Vec::new();
    for task in tasks {
        let log = of(lab, task).unwrap_or_default();
        let late = log.iter().filter(|line| line.at >= from);
        lines
            .extend(late.map(|line| (line.at, format!("slot {}: {}", task.slot, line.in_words()))));
    }
    lines.sort();
    lines
        .iter()
        .map(|(at, what)| format!("{at} {what}"))
        .collect()
}

impl Line {
    fn in_words(&self) -> String {
        let attributes = &self.attributes;
        match self.id {
            STARTS => "starts".to_owned(),
            LISTENS => "listens".to_owned(),
            WRITES_PERMITTED => "takes writes".to_owned(),
            NEW_STATE => format!("{} → {}", attributes["oldState"], attributes["newState"]),
            _ => {
                let config = &attributes["config"];
                let members = config["members"].as_array().map_or(0, Vec::len);
                let voters = voters(config).len();
                let (version, term) = (&config["version"], &config["term"]);
                format!("version {version} term {term}: {members} members, {voters} vote")
            }
        }
    }
}

/// When the last of these members began to listen for connections, from a moment on.
pub fn last_listening(lab: &Lab, tasks: &[Task], from: Timestamp) -> Option<Timestamp> {
    let logs = tasks.iter().filter_map(|task| of(lab, task).ok());
    let listens = |line: &&Line| line.id == LISTENS && line.at >= from;
    logs.filter_map(|log| log.iter().find(listens).map(|line| line.at))
        .max()
}

/// When a configuration that pleases first was in use on this member, from a moment on. It is given the hosts
/// that vote; a newcomer whose vote waits for its initial sync (`newlyAdded`) does not yet.
pub fn config_in_use(
    log: &[Line],
    from: Timestamp,
    pleases: impl Fn(&[&str]) -> bool,
) -> Option<Timestamp> {
    let found = log.iter().find(|line| {
        line.id == CONFIG_IN_USE && line.at >= from && pleases(&voters(&line.attributes["config"]))
    });
    found.map(|line| line.at)
}

fn voters(config: &Value) -> Vec<&str> {
    let members = config["members"].as_array().into_iter().flatten();
    members
        .filter(|member| member["votes"] == 1 && member["newlyAdded"] != true)
        .filter_map(|member| member["host"].as_str())
        .collect()
}
