//! A set comes up, grows and shrinks.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{
    SOON, THREE_MEMBERS, deployed, ended_cleanly, judge_without_errors, primary_to_highest_slot,
    takes_writes,
};
use crate::lab::Lab;
use crate::scenario::Scenario;

/// The scenarios of this file.
pub fn all() -> Vec<Scenario> {
    vec![
        Scenario::new("deploy_initiates_once_and_converges", deploy),
        Scenario::new("scale_3_5_7_9_and_back_to_3", grow).limit(240),
        Scenario::new("scale_7_to_2_with_the_primary_leaving", shrink_far),
        Scenario::new("scale_5_to_1_at_once", shrink_to_one),
        Scenario::new("scale_to_zero_and_back", zero_and_back).shape(1, 0),
    ]
}

fn deploy(lab: &mut Lab) -> Result<()> {
    lab.deploy("app", THREE_MEMBERS, &[])?;
    lab.await_members(3, 3, SOON)?;
    ensure!(
        lab.config_objects()? == ["swarmset.app.rs"],
        "the claim is missing: {:?}",
        lab.config_objects()?
    );
    let config = lab.replset_config()?;
    ensure!(
        config.get_i32("version")? == 1,
        "more than one configuration was needed: {config}"
    );
    for node in 1..=3 {
        let status = lab.status_of(node)?;
        ensure!(
            status["version"] == 1 && status["sets"][0]["set"] == "rs",
            "agent {node}: {status}"
        );
        ensure!(
            lab.agent(node, "/healthz")?.code == 200,
            "agent {node} is not healthy"
        );
        ensure!(
            lab.agent(node, "/metrics")?.code == 200,
            "agent {node} has no metrics"
        );
    }
    takes_writes(lab)
}

fn grow(lab: &mut Lab) -> Result<()> {
    deployed(lab, 3)?;
    let load = lab.start_load()?;
    for (members, voters) in [(5, 5), (7, 7), (9, 7)] {
        lab.scale("mongo", members as u64)?;
        lab.await_members(members, voters, SOON)?;
    }
    lab.scale("mongo", 3)?;
    lab.await_members(3, 3, SOON)?;
    judge_without_errors(lab, load)
}

fn shrink_far(lab: &mut Lab) -> Result<()> {
    deployed(lab, 7)?;
    primary_to_highest_slot(lab)?;
    let load = lab.start_load()?;
    std::thread::sleep(Duration::from_secs(2));
    lab.scale("mongo", 2)?;
    lab.await_members(2, 2, SOON)?;
    lab.await_tasks("mongo", 2, SOON)?;
    judge_without_errors(lab, load)
}

fn shrink_to_one(lab: &mut Lab) -> Result<()> {
    deployed(lab, 5)?;
    let load = lab.start_load()?;
    lab.scale("mongo", 1)?;
    lab.await_members(1, 1, SOON)?;
    lab.await_tasks("mongo", 1, SOON)?;
    judge_without_errors(lab, load)
}

fn zero_and_back(lab: &mut Lab) -> Result<()> {
    deployed(lab, 3)?;
    let before = lab.replset_config()?;
    takes_writes(lab)?;
    lab.scale("mongo", 0)?;
    lab.await_until("all mongods have ended", Duration::from_secs(20), |lab| {
        Ok(lab.tasks("mongo")?.iter().all(|t| t.state != "running"))
    })?;
    ended_cleanly(lab)?;
    lab.scale("mongo", 3)?;
    lab.await_members(3, 3, SOON)?;
    let after = lab.replset_config()?;
    for part in ["settings", "members"] {
        ensure!(
            before.get(part) == after.get(part),
            "another configuration: {before} {after}"
        );
    }
    takes_writes(lab)
}
