//! All scenarios, each named after what it shows.

mod adopt;
mod agent;
mod nodes;
mod refuse;
mod replica_set;
mod sharding;
mod smoke;
mod update;

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::lab::Lab;
use crate::overlay::Load;
use crate::scenario::Scenario;

/// The stack file that people deploy.
const THREE_MEMBERS: &str = "stack/replica-set.yml";

/// Long enough for anything that needs no time-out of Swarm's or MongoDB's own.
const SOON: Duration = Duration::from_secs(60);

/// Every scenario, in the order in which they run.
pub fn all() -> Vec<Scenario> {
    let all = [
        smoke::all(),
        replica_set::all(),
        update::all(),
        nodes::all(),
        adopt::all(),
        agent::all(),
        refuse::all(),
        sharding::all(),
    ];
    let mut all: Vec<Scenario> = all.into_iter().flatten().collect();
    // A lab of another shape has to be built afresh.
    all.sort_by_key(|scenario| std::cmp::Reverse(scenario.made_for().nodes()));
    all
}

/// Those that need an image with a router.
pub fn sharding() -> Vec<Scenario> {
    sharding::all()
}

/// A converged set of so many members.
fn deployed(lab: &mut Lab, members: u64) -> Result<()> {
    lab.deploy("app", THREE_MEMBERS, &[])?;
    if members != 3 {
        lab.scale("mongo", members)?;
    }
    let voters = usize::try_from(members)?.min(7);
    lab.await_members(members as usize, voters, Duration::from_secs(90))
}

/// Ends the load: nothing lost, and no client saw an error.
fn judge_without_errors(lab: &mut Lab, load: Load) -> Result<()> {
    let verdict = load.stop()?;
    lab.judge(&verdict)?;
    verdict.assert_no_errors()
}

/// A short load on the set as it stands, which has to go through without an error.
fn takes_writes(lab: &mut Lab) -> Result<()> {
    let load = lab.start_load()?;
    std::thread::sleep(Duration::from_secs(2));
    judge_without_errors(lab, load)
}

/// The last mongods of the slots 1 to 3, all on node 1, were shut down, not killed.
fn ended_cleanly(lab: &Lab) -> Result<()> {
    for slot in 1..=3 {
        let clean = lab.ended_cleanly(1, &format!("app_mongo-{slot}"))?;
        ensure!(clean, "the member in slot {slot} was killed");
    }
    Ok(())
}

/// The `_id`s of all members, as the primary has them.
fn member_ids(lab: &mut Lab) -> Result<Vec<i32>> {
    let config = lab.replset_config()?;
    let members = config
        .get_array("members")?
        .iter()
        .filter_map(|m| m.as_document());
    Ok(members.filter_map(|m| m.get_i32("_id").ok()).collect())
}

/// Swarm's victims are the highest slots on the fullest nodes; the highest slot of all is always one.
fn primary_to_highest_slot(lab: &mut Lab) -> Result<()> {
    let highest = lab
        .running("mongo")?
        .iter()
        .map(|t| t.slot)
        .max()
        .unwrap_or(0);
    lab.await_until("the primary is in the highest slot", SOON, |lab| {
        if lab.primary_task()?.slot == highest {
            return Ok(true);
        }
        let _ = lab
            .mongo_in_slot(highest)?
            .run("admin", mongodb::bson::doc! {"replSetStepUp": 1});
        Ok(false)
    })
}
