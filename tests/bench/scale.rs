//! Growing and shrinking.

use crate::lab::Lab;
use crate::measure::Sample;
use crate::member_log;
use crate::runner::{judge, note_moment, note_story, seconds};
use crate::start::{SOON, deployed, last_since};
use anyhow::{Context, Result};
use mongodb::bson::doc;
use std::time::Duration;

/// From the last new task's being running, by its node's report to Swarm, until a configuration is in use in
/// which all five vote (`votingMembersCount` counts the same members): on the primary, and, later, on every
/// one of the five. By the members' logs, exact to some milliseconds.
pub fn three_to_five(lab: &mut Lab, sample: &mut Sample) -> Result<()> {
    deployed(lab, 3)?;
    let before: Vec<String> = lab.running("mongo")?.into_iter().map(|t| t.id).collect();
    let from = note_moment(sample, "scaled");
    lab.scale("mongo", 5)?;
    lab.await_members(5, 5, SOON)?;
    let tasks = lab.running("mongo")?;
    let new: Vec<_> = tasks
        .iter()
        .filter(|t| !before.contains(&t.id))
        .cloned()
        .collect();
    let running = last_since(&new)?;
    let primary = lab.primary_task()?;
    let mut last = running;
    for task in &tasks {
        let log = member_log::of(lab, task)?;
        let voting = member_log::config_in_use(&log, from, |voters| voters.len() == 5)
            .with_context(|| format!("{task} never had five voters"))?;
        last = last.max(voting);
        if task.id == primary.id {
            sample.put("voting_primary", seconds(running, voting));
        }
    }
    sample.put("voting", seconds(running, last));
    sample.note("last_new_task_running", running.to_string());
    note_story(lab, sample, from)?;
    Ok(())
}

/// From the scale command's being given until Swarm lists but two living tasks (polled each 100 ms) and the
/// last of these two has a configuration in which they alone vote (from the logs).
///
/// Which slots leave is Swarm's choice; the highest of all is always among them, and the primary is put
/// there first.
pub fn down_to_two(lab: &mut Lab, sample: &mut Sample, members: u32) -> Result<()> {
    deployed(lab, members)?;
    primary_to_highest_slot(lab)?;
    lab.await_converged(SOON)?;
    note_moment(sample, "load_began");
    let load = lab.start_load()?;
    std::thread::sleep(Duration::from_secs(2));
    let from = note_moment(sample, "scaled");
    lab.scale("mongo", 2)?;
    lab.await_tasks("mongo", 2, SOON)?;
    let ended = note_moment(sample, "leavers_ended");
    lab.await_members(2, 2, SOON)?;
    let tasks = lab.running("mongo")?;
    let mut last = ended;
    for task in &tasks {
        let log = member_log::of(lab, task)?;
        let alone = member_log::config_in_use(&log, from, |voters| voters.len() == 2)
            .with_context(|| format!("{task} never had two voters"))?;
        last = last.max(alone);
    }
    sample.put("done", seconds(from, last));
    if let Some(writable) = member_log::first_writable(lab, &tasks, from) {
        sample.note("handed_over_after_s", seconds(from, writable));
    }
    std::thread::sleep(Duration::from_secs(1));
    note_story(lab, sample, from)?;
    judge(load, sample)
}

fn primary_to_highest_slot(lab: &mut Lab) -> Result<()> {
    let slots = lab.running("mongo")?.into_iter().map(|task| task.slot);
    let highest = slots.max().context("no member runs")?;
    lab.await_until("the primary is in the highest slot", SOON, |lab| {
        if lab.primary_task()?.slot == highest {
            return Ok(true);
        }
        let stand = doc! {"replSetStepUp": 1};
        lab.mongo_in_slot(highest)?
            .run("admin", stand)
            .map(|_| false)
    })
}
