//! The agent dies at any point, and looks after several sets at once.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{
    SOON, THREE_MEMBERS, deployed, judge_without_errors, primary_to_highest_slot, takes_writes,
};
use crate::lab::Lab;
use crate::scenario::Scenario;

/// The scenarios of this file.
pub fn all() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "agents_killed_during_a_deploy_initiate_once",
            killed_during_deploy,
        ),
        Scenario::new(
            "agents_killed_during_a_scale_down_finish_it",
            killed_during_scale_down,
        ),
        Scenario::new("swarm_leader_lost_another_agent_acts", leader_lost),
        Scenario::new("broken_set_never_holds_up_another", two_sets).shape(1, 0),
        Scenario::new("scale_7_to_2_by_quiesce_without_the_two_lines", quiesce),
        Scenario::new(
            "default_grace_period_loses_no_acknowledged_write",
            default_grace,
        ),
    ]
}

fn kill_all_agents(lab: &mut Lab) -> Result<()> {
    for node in 1..=3 {
        // One that is just being started again has nothing to kill.
        let _ = lab.kill_agent(node);
    }
    Ok(())
}

fn killed_during_deploy(lab: &mut Lab) -> Result<()> {
    lab.deploy("app", THREE_MEMBERS, &[])?;
    lab.await_until("the claim is made", SOON, |lab| {
        Ok(!lab.config_objects()?.is_empty())
    })?;
    kill_all_agents(lab)?;
    lab.await_members(3, 3, SOON)?;
    let version = lab.replset_config()?.get_i32("version")?;
    ensure!(
        version == 1,
        "more than one configuration was needed: {version}"
    );
    takes_writes(lab)
}

fn killed_during_scale_down(lab: &mut Lab) -> Result<()> {
    deployed(lab, 5)?;
    primary_to_highest_slot(lab)?;
    let load = lab.start_load()?;
    lab.scale("mongo", 2)?;
    for _ in 0..4 {
        std::thread::sleep(Duration::from_millis(1300));
        kill_all_agents(lab)?;
    }
    lab.await_members(2, 2, SOON)?;
    lab.await_tasks("mongo", 2, SOON)?;
    judge_without_errors(lab, load)
}

fn leader_lost(lab: &mut Lab) -> Result<()> {
    deployed(lab, 3)?;
    let load = lab.start_load()?;
    let leader = lab.leader()?;
    lab.pause_dockerd(leader)?;
    let other = (1..=3).find(|n| *n != leader).unwrap_or(1);
    lab.speak_through(other);
    lab.await_until("another manager leads", SOON, |lab| {
        Ok(lab.leader()? != leader)
    })?;
    lab.scale("mongo", 5)?;
    lab.await_members(5, 5, SOON)?;
    lab.resume_dockerd(leader)?;
    lab.await_node(leader, "ready", SOON)?;
    lab.await_members(5, 5, SOON)?;
    judge_without_errors(lab, load)
}

/// A second set in the same stack, in the same words as the first.
const SECOND_SET: &str = r#"
version: "3.8"
services:
  other:
    image: ${MONGO_IMAGE}
    command: [mongod, --replSet, other, --bind_ip_all, --keyFile, /run/secrets/mongo-keyfile, --wiredTigerCacheSizeGB, "0.25"]
    hostname: "{{.Service.Name}}-{{.Task.Slot}}-{{.Node.ID}}"
    networks: [mongo]
    secrets: [{source: mongo-keyfile, uid: "999", gid: "999", mode: 0400}]
    volumes: ["data:/data/db", {type: tmpfs, target: /data/configdb}]
    stop_signal: SIGCONT
    stop_grace_period: 15m
    deploy:
      replicas: 3
      endpoint_mode: dnsrr
      labels: {swarmset.role: replica-set}
"#;

fn two_sets(lab: &mut Lab) -> Result<()> {
    lab.deploy_with("app", THREE_MEMBERS, &[], &[SECOND_SET])?;
    lab.await_members(3, 3, SOON)?;
    lab.await_members_of("other", 3, 3, SOON)?;
    let load = lab.start_load()?;
    let broken: Vec<_> = lab.running("other")?.into_iter().take(2).collect();
    for task in &broken {
        lab.pause_task(task)?;
    }
    lab.scale("mongo", 4)?;
    lab.await_until("the healthy set has four voters", SOON, |lab| {
        Ok(lab.replset_status()?.get_i32("votingMembersCount")? == 4)
    })?;
    lab.await_until("the broken set is named with its reason", SOON, |lab| {
        let status = lab.status()?;
        let sets = status["sets"].as_array().cloned().unwrap_or_default();
        let of = |name: &str| {
            sets.iter()
                .find(|s| s["set"] == name)
                .cloned()
                .unwrap_or_default()
        };
        let waits = of("other")["waiting"]
            .as_array()
            .is_some_and(|w| !w.is_empty());
        Ok(of("rs")["converged"] == true && of("other")["converged"] == false && waits)
    })?;
    for task in &broken {
        lab.resume_task(task)?;
    }
    lab.await_members_of("other", 3, 3, SOON)?;
    lab.await_members(4, 4, SOON)?;
    judge_without_errors(lab, load)
}

fn stopped_by(signal: &str, grace: &str) -> String {
    format!(
        "version: '3.8'\nservices:\n  mongo:\n    stop_signal: {signal}\n    stop_grace_period: {grace}\n"
    )
}

fn quiesce(lab: &mut Lab) -> Result<()> {
    lab.deploy_with("app", THREE_MEMBERS, &[], &[&stopped_by("SIGTERM", "60s")])?;
    lab.scale("mongo", 7)?;
    lab.await_members(7, 7, SOON)?;
    primary_to_highest_slot(lab)?;
    let load = lab.start_load()?;
    std::thread::sleep(Duration::from_secs(2));
    lab.scale("mongo", 2)?;
    lab.await_members(2, 2, SOON)?;
    lab.await_tasks("mongo", 2, SOON)?;
    judge_without_errors(lab, load)
}

/// SIGTERM and 10 s to SIGKILL, Docker's default: less than the members' own quiesce.
fn default_grace(lab: &mut Lab) -> Result<()> {
    lab.deploy_with("app", THREE_MEMBERS, &[], &[&stopped_by("SIGTERM", "10s")])?;
    lab.scale("mongo", 5)?;
    lab.await_members(5, 5, SOON)?;
    let load = lab.start_load()?;
    lab.scale("mongo", 3)?;
    lab.await_members(3, 3, SOON)?;
    let verdict = load.stop()?;
    lab.judge(&verdict)
}
