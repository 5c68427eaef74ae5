//! From tasks that run to a primary that takes writes.
//!
//! It begins when the last member's task is running, by the `Status.Timestamp` that its node reported to Swarm: the
//! container has been started, mongod itself has yet to open its data. It ends when a member's log says
//! that writes are permitted ([`crate::member_log`]). Both are exact to some milliseconds, and nobody
//! polls the members meanwhile, save the agent; the lab asks the agent for `/readyz` each 100 ms.

use crate::lab::Lab;
use crate::measure::Sample;
use crate::member_log;
use crate::runner::{note_moment, note_story, seconds};
use crate::stack::Task;
use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use mongodb::bson::doc;
use std::time::Duration;

/// The stack file that people deploy.
pub const STACK: &str = "stack/replica-set.yml";
/// More than anything here takes when all is well.
pub const SOON: Duration = Duration::from_secs(90);

/// A converged set of so many members, and the lab's clients in its network.
pub fn deployed(lab: &mut Lab, members: u32) -> Result<()> {
    lab.deploy_with("app", STACK, &[], &[&replicas(members)])?;
    let members = members as usize;
    lab.await_members(members, members.min(7), SOON)
}

fn replicas(members: u32) -> String {
    format!("version: '3.8'\nservices: {{mongo: {{deploy: {{replicas: {members}}}}}}}\n")
}

/// The whole stack is deployed, agents and all. Until the last mongod listens, nobody could initiate the set: that
/// share is shown beside.
pub fn by_agent(lab: &mut Lab, sample: &mut Sample, members: u32) -> Result<()> {
    let from = note_moment(sample, "deployed");
    lab.deploy_with("app", STACK, &[], &[&replicas(members)])?;
    lab.await_converged(SOON)?;
    let tasks = lab.running("mongo")?;
    ensure!(
        tasks.len() == members as usize,
        "{} members run",
        tasks.len()
    );
    let (running, agents) = (last_since(&tasks)?, last_since(&lab.running("agent")?)?);
    let writable =
        member_log::first_writable(lab, &tasks, from).context("no member took writes")?;
    sample.put("writable", seconds(running, writable));
    sample.put("writable_all", seconds(running.max(agents), writable));
    let listening = member_log::last_listening(lab, &tasks, from).context("none listens")?;
    sample.put("listening", seconds(running, listening));
    sample.note("last_member_running", running.to_string());
    sample.note("last_agent_running", agents.to_string());
    sample.note("writes_permitted", writable.to_string());
    note_story(lab, sample, from)?;
    Ok(())
}

/// When the last of these tasks came into its state.
pub fn last_since(tasks: &[Task]) -> Result<Timestamp> {
    let since = tasks
        .iter()
        .map(|task| task.since.parse::<Timestamp>())
        .collect::<Result<Vec<_>, _>>()?;
    since.into_iter().max().context("no task runs")
}

const WITHOUT_AGENT: &str = "
version: '3.8'
services:
  agent:
    deploy:
      mode: global
      placement: {constraints: ['node.labels.nowhere == true']}
";

/// As by hand: when all three mongods answer, one of them is given the whole configuration. In favour of the
/// hand, only the time from this command on is counted.
pub fn by_hand(lab: &mut Lab, sample: &mut Sample) -> Result<()> {
    lab.deploy_with("app", STACK, &[], &[WITHOUT_AGENT])?;
    lab.await_tasks("mongo", 3, SOON)?;
    let tasks = lab.running("mongo")?;
    let mut members = Vec::new();
    for (id, task) in (0..).zip(&tasks) {
        let node = task.node.context("a task without a node")?;
        let host = format!("app_mongo-{}-{}:27017", task.slot, lab.node_id(node));
        lab.await_until("a mongod answers", SOON, |lab| {
            let hello = lab.mongo(&host)?.run("admin", doc! {"hello": 1})?;
            Ok(hello.get_bool("isreplicaset").unwrap_or(false))
        })?;
        members.push(doc! {"_id": id, "host": host});
    }
    let first = members[0].get_str("host")?.to_owned();
    let from = note_moment(sample, "initiated");
    let config = doc! {"replSetInitiate": {"_id": "rs", "members": members}};
    lab.mongo(&first)?.run("admin", config)?;
    lab.await_until("a member took writes", SOON, |lab| {
        Ok(member_log::first_writable(lab, &tasks, from).is_some())
    })?;
    let writable =
        member_log::first_writable(lab, &tasks, from).context("no member took writes")?;
    sample.put("writable", seconds(from, writable));
    Ok(())
}
