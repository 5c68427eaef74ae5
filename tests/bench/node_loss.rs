//! A node without power: the one that the primary is on.

use crate::lab::Lab;
use crate::measure::Sample;
use crate::member_log;
use crate::runner::{judge, note_moment, note_story, seconds};
use crate::start::{SOON, deployed};
use anyhow::{Context, Result};
use std::time::Duration;

/// From the moment before the cable is cut until another member's log says that it takes writes, and until
/// the first configuration is in use on the primary in which three vote and none of them was on the dead node.
///
/// Where the primary is, is left to chance: the node may be a worker, a manager, or the one that leads the
/// Swarm (the raw row says which), which then has to find another leader, and another agent has to take over.
/// Errors and gap have no bar: without its primary a set takes no writes for the election time-out of 10 s,
/// and linearizable reads on the dead one fail.
pub fn of_the_primary(lab: &mut Lab, sample: &mut Sample) -> Result<()> {
    deployed(lab, 3)?;
    note_moment(sample, "load_began");
    let load = lab.start_load()?;
    std::thread::sleep(Duration::from_secs(2));
    let lost = lab.primary_task()?;
    let node = lost.node.context("the primary has no node")?;
    let dead = lab.node_id(node).to_owned();
    sample.note("killed", role(lab, node)?);
    let from = note_moment(sample, "killed_at");
    lab.kill_node(node)?;
    lab.await_until("three live members vote", SOON, |lab| {
        let elsewhere = lab
            .running("mongo")?
            .iter()
            .filter(|t| t.node != Some(node))
            .count();
        let config = lab.replset_config()?;
        let gone = !config.to_string().contains(&dead);
        Ok(elsewhere == 3 && gone && lab.set_is_whole("mongo", 3, 3)?)
    })?;
    let tasks: Vec<_> = lab
        .running("mongo")?
        .into_iter()
        .filter(|task| task.node != Some(node))
        .collect();
    let writable = member_log::first_writable(lab, &tasks, from).context("no new primary")?;
    sample.put("primary", seconds(from, writable));
    let primary = lab.primary_task()?;
    let log = member_log::of(lab, &primary)?;
    let whole = member_log::config_in_use(&log, from, |voters| {
        voters.len() == 3 && voters.iter().all(|host| !host.contains(&dead))
    });
    sample.put("whole", seconds(from, whole.context("never whole")?));
    note_story(lab, sample, from)?;
    // A dead manager would cost the next run a new Swarm.
    lab.revive_node(node)?;
    lab.await_node(node, "ready", SOON)?;
    std::thread::sleep(Duration::from_secs(2));
    judge(load, sample)
}

fn role(lab: &Lab, node: usize) -> Result<&'static str> {
    Ok(if lab.leader()? == node {
        "leader of the Swarm"
    } else if node <= lab.shape.managers {
        "manager"
    } else {
        "worker"
    })
}
