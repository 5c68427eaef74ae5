//! All scenarios, each named after what it shows.

mod adopt;
mod agent;
mod nodes;
mod refuse;
mod replica_set;
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
    ];
    let mut all: Vec<Scenario> = all.into_iter().flatten().collect();
    // A lab of another shape has to be built afresh.
    all.sort_by_key(|scenario| std::cmp::Reverse(scenario.made_for().nodes()));
    all
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

/// What a driver may show a client of a planned hand-over: it retries once, and the old primary ends its operations
/// a moment before it says that it leads no more, so that the retry can meet it again.
const OF_A_HAND_OVER: [&str; 4] = [
    "InterruptedDueToReplStateChange",
    "NotPrimaryNoSecondaryOk",
    "NotWritablePrimary",
    "PrimarySteppedDown",
];
/// Operations that can be under way at that moment, at the load's pace.
const AT_THAT_MOMENT: u64 = 5;

/// Ends the load: nothing lost, nobody without an answer, and no error but the few that a hand-over can show.
fn judge_through_hand_overs(lab: &mut Lab, load: Load) -> Result<()> {
    let verdict = load.stop()?;
    lab.judge(&verdict)?;
    let errors = verdict.write_errors.iter().chain(&verdict.read_errors);
    let other: Vec<_> = errors
        .filter(|(kind, _)| !OF_A_HAND_OVER.contains(&kind.as_str()))
        .collect();
    ensure!(
        other.is_empty(),
        "errors that no hand-over explains: {other:?}"
    );
    ensure!(
        verdict.errors() <= AT_THAT_MOMENT,
        "{} errors are too many for a hand-over",
        verdict.errors()
    );
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
