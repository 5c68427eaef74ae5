//! Nodes are lost, drained, cut off, and come back.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mongodb::bson::doc;

use super::{SOON, deployed, judge_without_errors};
use crate::lab::Lab;
use crate::scenario::Scenario;
use crate::stack::Task;

/// The scenarios of this file.
pub fn all() -> Vec<Scenario> {
    vec![
        Scenario::new("node_of_the_primary_dies_and_comes_back", primary_node_dies).limit(300),
        Scenario::new(
            "drained_node_keeps_its_member_until_the_successor_votes",
            drained,
        )
        .limit(300),
        Scenario::new("worker_cut_off_from_the_managers_causes_no_harm", cut_off).limit(300),
        Scenario::new("manager_quorum_lost_changes_nothing", no_quorum),
    ]
}

/// Swarm needs 16 s to call a node down, and the newcomer a few more to catch up.
const WHOLE_AGAIN: Duration = Duration::from_secs(90);
/// A held task is replaced after 60 s.
const MOVED: Duration = Duration::from_secs(150);

fn primary_node_dies(lab: &mut Lab) -> Result<()> {
    deployed(lab, 3)?;
    let load = lab.start_load()?;
    let lost = lab.primary_task()?;
    let node = lost.node.context("the primary has no node")?;
    lab.kill_node(node)?;
    lab.await_until("another primary", SOON, |lab| {
        Ok(lab.primary_task()?.node != Some(node))
    })?;
    lab.await_until("the slot runs elsewhere", WHOLE_AGAIN, |lab| {
        Ok(lab
            .running("mongo")?
            .iter()
            .filter(|t| t.node != Some(node))
            .count()
            == 3)
    })?;
    lab.await_members(3, 3, WHOLE_AGAIN)?;
    lab.revive_node(node)?;
    lab.await_node(node, "ready", SOON)?;
    std::thread::sleep(Duration::from_secs(5));
    lab.await_members(3, 3, SOON)?;
    let verdict = load.stop()?;
    lab.judge(&verdict)
}

fn drained(lab: &mut Lab) -> Result<()> {
    deployed(lab, 3)?;
    let load = lab.start_load()?;
    let leaver = lab.primary_task()?;
    let node = leaver.node.context("the primary has no node")?;
    lab.drain(node)?;
    lab.await_until("the drained node runs no member", MOVED, |lab| {
        let still = |t: &Task| t.node == Some(node) && t.state == "running";
        let held = lab.tasks("mongo")?.iter().any(still);
        let voting = voters(lab)?;
        ensure!(
            held || voting >= 3,
            "the member left before its successor voted: {voting} voters"
        );
        Ok(!held)
    })?;
    lab.await_members(3, 3, SOON)?;
    judge_without_errors(lab, load)
}

fn voters(lab: &mut Lab) -> Result<i32> {
    Ok(lab.replset_status()?.get_i32("votingMembersCount")?)
}

fn cut_off(lab: &mut Lab) -> Result<()> {
    deployed(lab, 5)?;
    let load = lab.start_load()?;
    let worker = 4;
    lab.cut_from_managers(worker)?;
    lab.await_node(worker, "down", SOON)?;
    lab.await_until("its slot runs elsewhere", WHOLE_AGAIN, |lab| {
        Ok(lab
            .running("mongo")?
            .iter()
            .filter(|t| t.node != Some(worker))
            .count()
            == 5)
    })?;
    lab.await_members(5, 5, WHOLE_AGAIN)?;
    lab.heal()?;
    lab.await_node(worker, "ready", SOON)?;
    lab.await_until("the old mongod has ended", SOON, |lab| {
        let old = |t: &Task| t.node == Some(worker) && t.state == "running" && !t.runs();
        Ok(!lab.tasks("mongo")?.iter().any(old))
    })?;
    lab.await_members(5, 5, SOON)?;
    judge_without_errors(lab, load)
}

fn no_quorum(lab: &mut Lab) -> Result<()> {
    deployed(lab, 3)?;
    // Without a quorum Swarm would not even say where the network is; and names on frozen nodes leave DNS.
    let address = lab
        .primary_task()?
        .address
        .context("the primary has no address")?;
    let mongo = lab.mongo(&address)?;
    let before = mongo.run("admin", doc! {"replSetGetConfig": 1})?;
    let load = lab.start_load()?;
    lab.pause_dockerd(2)?;
    lab.pause_dockerd(3)?;
    lab.await_until("an agent says that the Swarm cannot be read", SOON, |lab| {
        let status = lab.status_of(1)?;
        Ok(status["swarm"]["readable"] == false
            && status["waiting"].to_string().contains("cannot be read"))
    })?;
    let meanwhile = mongo.run("admin", doc! {"replSetGetConfig": 1})?;
    ensure!(
        before.get_document("config")? == meanwhile.get_document("config")?,
        "the configuration changed: {meanwhile}"
    );
    // Swarm then takes the frozen nodes for lost, and may move what runs there.
    lab.resume_dockerd(2)?;
    lab.resume_dockerd(3)?;
    lab.await_members(3, 3, WHOLE_AGAIN)?;
    judge_without_errors(lab, load)
}
