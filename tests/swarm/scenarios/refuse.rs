//! What is refused is named in one line, and the rest goes on.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{SOON, THREE_MEMBERS, deployed, takes_writes};
use crate::lab::Lab;
use crate::scenario::Scenario;

/// The scenarios of this file.
pub fn all() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "bad_services_are_named_and_the_good_one_goes_on",
            bad_services,
        )
        .shape(1, 0),
        Scenario::new(
            "foreign_volume_is_refused_by_its_replica_set_id",
            foreign_volume,
        )
        .shape(1, 0),
        Scenario::new("lost_volumes_are_never_initiated_again", lost_volumes).shape(1, 0),
    ]
}

/// Services that each have one mistake; the two last ones name the same set.
const MISTAKES: &str = r#"
version: "3.8"
x-mongod: &mongod
  image: ${MONGO_IMAGE}
  networks: [mongo]
  secrets: [{source: mongo-keyfile, uid: "999", gid: "999", mode: 0400}]
services:
  label:
    <<: *mongod
    command: [mongod, --replSet, label, --bind_ip_all]
    hostname: "{{.Service.Name}}-{{.Task.Slot}}-{{.Node.ID}}"
    volumes: ["data:/data/db"]
    deploy: {labels: {swarmset.role: replica-set, swarmset.priority: high}}
  option:
    <<: *mongod
    command: [mongod, --bind_ip_all]
    hostname: "{{.Service.Name}}-{{.Task.Slot}}-{{.Node.ID}}"
    volumes: ["data:/data/db"]
    deploy: {labels: {swarmset.role: replica-set}}
  volume:
    <<: *mongod
    command: [mongod, --replSet, volume, --bind_ip_all]
    hostname: "{{.Service.Name}}-{{.Task.Slot}}-{{.Node.ID}}"
    volumes: ["/data/db"]
    deploy: {labels: {swarmset.role: replica-set}}
  name:
    <<: *mongod
    command: [mongod, --replSet, name, --bind_ip_all]
    volumes: ["data:/data/db"]
    deploy: {labels: {swarmset.role: replica-set}}
  one:
    <<: *mongod
    command: [mongod, --replSet, same, --bind_ip_all]
    hostname: "{{.Service.Name}}-{{.Task.Slot}}-{{.Node.ID}}"
    volumes: ["data:/data/db"]
    deploy: {labels: {swarmset.role: replica-set}}
  two:
    <<: *mongod
    command: [mongod, --replSet, same, --bind_ip_all]
    hostname: "{{.Service.Name}}-{{.Task.Slot}}-{{.Node.ID}}"
    volumes: ["data:/data/db"]
    deploy: {labels: {swarmset.role: replica-set}}
"#;

fn bad_services(lab: &mut Lab) -> Result<()> {
    lab.deploy_with("app", THREE_MEMBERS, &[], &[MISTAKES])?;
    lab.await_until("the good set is converged", SOON, |lab| {
        let status = lab.status()?;
        let sets = status["sets"].as_array().cloned().unwrap_or_default();
        Ok(sets
            .iter()
            .any(|s| s["set"] == "rs" && s["converged"] == true))
    })?;
    let faults = lab.status()?["faults"].to_string();
    let expected = [
        "app_label: label swarmset.priority=\\\"high\\\": allowed a number from 0 to 1000",
        "app_option: command has no --replSet",
        "app_volume: no named volume at /data/db",
        "app_name: no hostname",
        "replica set same is named by services app_one and app_two",
    ];
    for line in expected {
        ensure!(
            faults.contains(line),
            "{line:?} is not among the faults: {faults}"
        );
    }
    ensure!(
        lab.config_objects()? == ["swarmset.app.rs"],
        "a bad service was claimed"
    );
    takes_writes(lab)
}

/// Puts the volume of another set's member under the name of one of ours.
fn foreign_volume(lab: &mut Lab) -> Result<()> {
    deployed(lab, 3)?;
    end(lab, "app")?;
    lab.deploy("old", THREE_MEMBERS, &[])?;
    lab.await_members(3, 3, SOON)?;
    end(lab, "old")?;
    let swap = "root=$(docker info -f '{{.DockerRootDir}}')/volumes; rm -rf $root/app_mongo-2/_data; cp -a $root/old_mongo-2/_data $root/app_mongo-2/_data";
    lab.run_on_node(1, &["sh", "-c", swap])?;
    lab.deploy("app", THREE_MEMBERS, &[])?;
    lab.await_until("the foreign member is refused", SOON, |lab| {
        let set = lab.status()?["sets"][0].clone();
        let named = set["faults"].to_string().contains("app_mongo-2-")
            && set["faults"]
                .to_string()
                .contains("belongs to replica set rs (");
        Ok(named && !set["primary"].is_null())
    })?;
    std::thread::sleep(Duration::from_secs(5));
    let config = lab.replset_config()?;
    ensure!(
        config.get_array("members")?.len() == 3,
        "the configuration was touched: {config}"
    );
    takes_writes(lab)
}

fn lost_volumes(lab: &mut Lab) -> Result<()> {
    deployed(lab, 3)?;
    end(lab, "app")?;
    lab.await_until("the volumes are deleted", SOON, |lab| {
        for volume in lab.volumes(1)? {
            lab.delete_volume(1, &volume)?;
        }
        Ok(lab.volumes(1)?.is_empty())
    })?;
    lab.deploy("app", THREE_MEMBERS, &[])?;
    lab.await_until("the missing data is named", SOON, |lab| {
        let faults = lab.status()?["sets"][0]["faults"].to_string();
        Ok(faults.contains("no member has its data now")
            && faults.contains("docker config rm swarmset.app.rs"))
    })?;
    std::thread::sleep(Duration::from_secs(5));
    ensure!(lab.primary().is_err(), "a set was initiated over lost data");
    lab.docker(&["config", "rm", "swarmset.app.rs"])?;
    lab.await_members(3, 3, SOON)?;
    takes_writes(lab)
}

fn end(lab: &mut Lab, stack: &str) -> Result<()> {
    lab.remove(stack)?;
    lab.await_until("all tasks are gone", SOON, |lab| {
        Ok(lab.all_tasks()?.is_empty())
    })
}
