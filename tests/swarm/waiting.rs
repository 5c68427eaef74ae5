//! Waiting for the agents and the Swarm to get somewhere, and asking the agents how they are.

use crate::ground::address;
use crate::http;
use crate::lab::Lab;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::time::{Duration, Instant};

/// Where every agent answers.
const STATUS_PORT: u16 = 27080;
/// How often the lab looks.
const PACE: Duration = Duration::from_millis(100);

impl Lab {
    /// Looks again and again until it is so. An error of a look counts as "not yet"; the last one is
    /// told when the time is up.
    pub fn await_until(
        &mut self,
        what: &str,
        limit: Duration,
        mut look: impl FnMut(&mut Self) -> Result<bool>,
    ) -> Result<()> {
        let since = Instant::now();
        let limit = limit.min(self.time_left()?);
        loop {
            let seen = look(self);
            if let Ok(true) = seen {
                self.step(format!(
                    "{what} (after {:.2} s)",
                    since.elapsed().as_secs_f64()
                ));
                return Ok(());
            }
            if since.elapsed() >= limit {
                let why = seen
                    .err()
                    .map(|why| format!(" ({why:#})"))
                    .unwrap_or_default();
                bail!(
                    "waited {:.1} s, in vain, until {what}{why}",
                    limit.as_secs_f64()
                );
            }
            std::thread::sleep(PACE);
        }
    }

    /// Waits until a service has so many tasks that run and are to run, and no other that still lives.
    pub fn await_tasks(&mut self, service: &str, count: usize, limit: Duration) -> Result<()> {
        self.await_until(
            &format!("{service} has {count} tasks running"),
            limit,
            |lab| {
                let tasks = lab.tasks(service)?;
                let living = tasks.iter().filter(|task| task.state == "running").count();
                Ok(living == count && tasks.iter().filter(|task| task.runs()).count() == count)
            },
        )
    }

    /// Waits until Swarm calls a node `ready`, or `down`; a manager is then also reachable, or not.
    pub fn await_node(&mut self, node: usize, state: &str, limit: Duration) -> Result<()> {
        self.await_until(&format!("node {node} is {state}"), limit, |lab| {
            let seen = lab.nodes()?.remove(&node).context("no such node")?;
            let reachable = seen["ManagerStatus"].is_null()
                || (seen["ManagerStatus"]["Reachability"] == "reachable") == (state == "ready");
            Ok(seen["Status"]["State"] == *state && reachable)
        })
    }

    /// Waits until the agent that acts says that all is as it should be. Where it does not, tells
    /// what that agent was waiting for.
    pub fn await_converged(&mut self, limit: Duration) -> Result<()> {
        let waited = self.await_until("the agent says converged", limit, |lab| lab.is_converged());
        waited.map_err(|why| why.context(format!("not converged: {}", self.reasons())))
    }

    /// Waits until the agent says converged *and* the set itself has that many members, all of them
    /// healthy, and that many voters. So an answer from before the agent saw a change does not count.
    pub fn await_members(&mut self, members: usize, voters: usize, limit: Duration) -> Result<()> {
        self.await_members_of("mongo", members, voters, limit)
    }

    /// Like [`Lab::await_members`], for another service's set.
    pub fn await_members_of(
        &mut self,
        service: &str,
        members: usize,
        voters: usize,
        limit: Duration,
    ) -> Result<()> {
        let what = format!(
            "the set of {service} has {members} members, {voters} voting, and the agent says converged"
        );
        let waited = self.await_until(&what, limit, |lab| {
            let whole = lab.set_is_whole(service, members, voters)?;
            Ok(whole && lab.is_converged()?)
        });
        waited.map_err(|why| why.context(format!("not converged: {}", self.reasons())))
    }

    /// Whether the agent on the Swarm's leader says that all is as it should be.
    pub fn is_converged(&self) -> Result<bool> {
        let leader = self.leader()?;
        Ok(self.agent(leader, "/readyz")?.code == 200)
    }

    /// Asks the agent on a node.
    pub fn agent(&self, node: usize, path: &str) -> Result<http::Answer> {
        let agent = format!("{}:{STATUS_PORT}", address(node));
        http::get(agent.parse()?, path)
            .with_context(|| format!("the agent on node {node} does not answer"))
    }

    /// The status as the agent on the Swarm's leader sees it, else as any other does.
    pub fn status(&self) -> Result<Value> {
        let leader = self.leader().ok();
        let nodes = leader
            .into_iter()
            .chain((1..=self.shape.managers).filter(|node| Some(*node) != leader));
        let mut last = Err(anyhow::anyhow!("no agent was asked"));
        for node in nodes.filter(|node| self.machine(*node).runs()) {
            last = self.status_of(node);
            if last.is_ok() {
                break;
            }
        }
        last
    }

    /// The status as the agent on one node sees it.
    pub fn status_of(&self, node: usize) -> Result<Value> {
        self.agent(node, "/status")?.json()
    }

    /// Everything under a `waiting` or `faults` in the status, in a line.
    fn reasons(&self) -> String {
        match self.status() {
            Ok(status) => {
                let mut found = Vec::new();
                collect_reasons(&status, &mut found);
                if found.is_empty() {
                    format!("the status names no reason: {status}")
                } else {
                    found.join("; ")
                }
            }
            Err(why) => format!("{why:#}"),
        }
    }
}

fn collect_reasons(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let empty = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
                match name.as_str() {
                    "waiting" | "faults" | "doing" if !empty => {
                        found.push(format!("{name}: {value}"))
                    }
                    _ => collect_reasons(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect_reasons(item, found)),
        _ => {}
    }
}

/// `waiting: app/rs: slot 2 does not answer; …`, or plain JSON where it is built otherwise.
fn in_words(name: &str, value: &Value) -> String {
    let reason = |item: &Value| {
        let about = item["about"]
            .as_str()
            .map(|about| format!("{about}: "))
            .unwrap_or_default();
        item["what"]
            .as_str()
            .map_or_else(|| item.to_string(), |what| format!("{about}{what}"))
    };
    match value.as_array() {
        Some(items) => format!(
            "{name}: {}",
            items.iter().map(reason).collect::<Vec<_>>().join("; ")
        ),
        None => format!("{name}: {value}"),
    }
}
