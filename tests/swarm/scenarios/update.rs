//! Restarts and roll-outs.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{SOON, deployed, judge_without_errors, member_ids};
use crate::images;
use crate::lab::Lab;
use crate::scenario::Scenario;

/// The scenarios of this file.
pub fn all() -> Vec<Scenario> {
    vec![
        Scenario::new("update_in_place_hands_the_primary_over", update_in_place).shape(1, 0),
        Scenario::new(
            "update_with_parallelism_3_restarts_one_at_a_time",
            all_at_once,
        )
        .shape(1, 0),
        Scenario::new("second_update_in_the_middle_of_one", twice).shape(1, 0),
        Scenario::new("crashed_mongod_comes_back_under_its_name", crash).shape(1, 0),
        Scenario::new("update_that_moves_members_makes_before_it_breaks", moves).limit(420),
    ]
}

const OTHER_IMAGE: &str = "swarmset/mongo-other:latest";

const ROLLED_OUT: Duration = Duration::from_secs(120);

/// Converged, and every task of `before` has been replaced.
fn await_roll_out(lab: &mut Lab, before: &[String], limit: Duration) -> Result<()> {
    let before = before.to_vec();
    lab.await_until(
        "all tasks are new and the agent says converged",
        limit,
        |lab| {
            let now = lab.running("mongo")?;
            let renewed = now.len() == before.len() && now.iter().all(|t| !before.contains(&t.id));
            Ok(renewed && lab.is_converged()?)
        },
    )
}

fn tasks(lab: &mut Lab) -> Result<Vec<String>> {
    Ok(lab.running("mongo")?.into_iter().map(|t| t.id).collect())
}

fn update_in_place(lab: &mut Lab) -> Result<()> {
    deployed(lab, 3)?;
    let (ids, before) = (member_ids(lab)?, tasks(lab)?);
    let load = lab.start_load()?;
    lab.service_update("mongo", &["--force"])?;
    await_roll_out(lab, &before, ROLLED_OUT)?;
    judge_without_errors(lab, load)?;
    ensure!(
        ids == member_ids(lab)?,
        "members were replaced, although their data was in place"
    );
    Ok(())
}

fn all_at_once(lab: &mut Lab) -> Result<()> {
    deployed(lab, 3)?;
    let (ids, before) = (member_ids(lab)?, tasks(lab)?);
    let load = lab.start_load()?;
    lab.service_update("mongo", &["--force", "--update-parallelism", "3"])?;
    await_roll_out(lab, &before, ROLLED_OUT)?;
    judge_without_errors(lab, load)?;
    ensure!(
        ids == member_ids(lab)?,
        "members were replaced, although their data was in place"
    );
    Ok(())
}

fn twice(lab: &mut Lab) -> Result<()> {
    deployed(lab, 3)?;
    let before = tasks(lab)?;
    let load = lab.start_load()?;
    // The same image under another name, as a new version would have.
    lab.run_on_node(1, &["docker", "tag", images::MONGO, OTHER_IMAGE])?;
    lab.service_update("mongo", &["--image", OTHER_IMAGE])?;
    std::thread::sleep(Duration::from_secs(3));
    lab.service_update(
        "mongo",
        &[
            "--args",
            "mongod --replSet rs --bind_ip_all --keyFile /run/secrets/mongo-keyfile --wiredTigerCacheSizeGB 0.26",
        ],
    )?;
    await_roll_out(lab, &before, ROLLED_OUT)?;
    lab.await_until(
        "every task runs the new image and arguments",
        ROLLED_OUT,
        |lab| {
            let tasks = lab.all_tasks()?;
            let running = tasks
                .iter()
                .filter(|t| t["DesiredState"] == "running" && !t["Slot"].is_null());
            let old = running.filter(|t| {
                let container = &t["Spec"]["ContainerSpec"];
                let arguments = container["Args"].to_string();
                container["Image"] != OTHER_IMAGE || !arguments.contains("0.26")
            });
            Ok(old.count() == 0 && lab.is_converged()?)
        },
    )?;
    judge_without_errors(lab, load)
}

fn crash(lab: &mut Lab) -> Result<()> {
    deployed(lab, 3)?;
    let ids = member_ids(lab)?;
    let load = lab.start_load()?;
    let primary = lab.primary_task()?;
    lab.kill_mongod(primary.slot)?;
    lab.await_until("Swarm started it again", SOON, |lab| {
        Ok(lab
            .running("mongo")?
            .iter()
            .any(|t| t.slot == primary.slot && t.id != primary.id))
    })?;
    lab.await_members(3, 3, SOON)?;
    let verdict = load.stop()?;
    lab.judge(&verdict)?;
    ensure!(
        ids == member_ids(lab)?,
        "a member was replaced, although its data was in place"
    );
    Ok(())
}

/// On five nodes a forced update moves tasks to nodes without their data.
fn moves(lab: &mut Lab) -> Result<()> {
    deployed(lab, 3)?;
    let load = lab.start_load()?;
    let before = tasks(lab)?;
    lab.service_update("mongo", &["--force"])?;
    lab.await_until(
        "the roll-out is complete",
        Duration::from_secs(330),
        |lab| {
            let status = lab.replset_status()?;
            let members = status.get_array("members")?.clone();
            let works = |m: &&mongodb::bson::Bson| {
                let state = m.as_document().and_then(|d| d.get_i32("state").ok());
                matches!(state, Some(1 | 2))
            };
            let working = members.iter().filter(works).count();
            ensure!(working >= 2, "no majority with data: {status}");
            let now = tasks(lab)?;
            Ok(now.len() == 3 && now.iter().all(|t| !before.contains(t)) && lab.is_converged()?)
        },
    )?;
    lab.await_members(3, 3, SOON)?;
    judge_without_errors(lab, load)
}
