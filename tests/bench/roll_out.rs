//! `docker service update --force` under load: where the members are, and to empty disks.

use crate::lab::Lab;
use crate::measure::Sample;
use crate::runner::{judge, note_moment, note_story, seconds};
use crate::start::{SOON, deployed};
use anyhow::{Context, Result, ensure};
use mongodb::bson::{Bson, Document};
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;

/// Swarm keeps a held task for 60 s before it starts another elsewhere, one slot after the other.
const MOVED: Duration = Duration::from_secs(600);

/// On a Swarm of one node every task finds its own disk again. Done when every task is a new one and the
/// agent says converged; looked at each 100 ms.
pub fn in_place(lab: &mut Lab, sample: &mut Sample) -> Result<()> {
    deployed(lab, 3)?;
    lab.primary()?; // the lab's clients are in the network before the load begins
    let before = tasks(lab)?;
    note_moment(sample, "load_began");
    let load = lab.start_load()?;
    std::thread::sleep(Duration::from_secs(1));
    let from = note_moment(sample, "updated");
    lab.service_update("mongo", &["--force"])?;
    lab.await_until("all tasks are new and converged", SOON * 2, |lab| {
        is_rolled_out(lab, &before)
    })?;
    let done = note_moment(sample, "done");
    sample.put("done", seconds(from, done));
    std::thread::sleep(Duration::from_secs(1));
    note_story(lab, sample, from)?;
    judge(load, sample)
}

/// On five nodes, three with a member; the update forbids just these three, so that each task has to move to
/// a node where its slot never was.
///
/// At each look, 100 ms and an answer apart, the primary is asked for its configuration and status: a *working
/// voter* has a vote and is PRIMARY or SECONDARY, and how many there are beyond the majority that the
/// configuration asks for is the *margin*. While a primary hands over, a look may find none: such looks are
/// counted in the raw row; whether the set took writes then is what the longest gap tells.
pub fn to_empty_disks(lab: &mut Lab, sample: &mut Sample) -> Result<()> {
    deployed(lab, 3)?;
    lab.fill("mongo", 1000)?;
    lab.await_members(3, 3, SOON)?;
    let before = tasks(lab)?;
    let occupied: BTreeSet<usize> = nodes(lab)?;
    ensure!(occupied.len() == 3, "members share nodes: {occupied:?}");
    note_moment(sample, "load_began");
    let load = lab.start_load()?;
    std::thread::sleep(Duration::from_secs(1));
    let forbidden: Vec<String> = occupied
        .iter()
        .map(|node| format!("node.id!={}", lab.node_id(*node)))
        .collect();
    let mut options = vec!["--force"];
    options.extend(forbidden.iter().flat_map(|node| ["--constraint-add", node]));
    let from = note_moment(sample, "updated");
    lab.service_update("mongo", &options)?;
    let mut fewest = Fewest::default();
    lab.await_until("all tasks are new and converged", MOVED, |lab| {
        match lab
            .replset_config()
            .and_then(|config| Ok((config, lab.replset_status()?)))
        {
            Ok((config, status)) => fewest.look(&config, &status)?,
            Err(_) => fewest.without_primary += 1,
        }
        is_rolled_out(lab, &before)
    })?;
    let done = note_moment(sample, "done");
    sample.put("done", seconds(from, done));
    lab.await_members(3, 3, SOON)?;
    let after = nodes(lab)?;
    ensure!(
        occupied.is_disjoint(&after),
        "not all moved: {occupied:?}, then {after:?}"
    );
    fewest.put(sample)?;
    std::thread::sleep(Duration::from_secs(1));
    note_story(lab, sample, from)?;
    judge(load, sample)
}

fn tasks(lab: &mut Lab) -> Result<Vec<String>> {
    Ok(lab
        .running("mongo")?
        .into_iter()
        .map(|task| task.id)
        .collect())
}

fn nodes(lab: &mut Lab) -> Result<BTreeSet<usize>> {
    Ok(lab
        .running("mongo")?
        .into_iter()
        .filter_map(|task| task.node)
        .collect())
}

/// Three tasks run, none of them from before and no other; and the agent says converged.
fn is_rolled_out(lab: &mut Lab, before: &[String]) -> Result<bool> {
    let now = lab.tasks("mongo")?;
    let living: Vec<_> = now.iter().filter(|task| task.state == "running").collect();
    let new = living
        .iter()
        .filter(|task| task.runs() && !before.contains(&task.id));
    Ok(living.len() == before.len() && new.count() == before.len() && lab.is_converged()?)
}

/// The fewest working voters of many looks.
#[derive(Default)]
struct Fewest {
    looks: u64,
    without_primary: u64,
    working: Option<usize>,
    margin: Option<i64>,
}

impl Fewest {
    fn look(&mut self, config: &Document, status: &Document) -> Result<()> {
        let voters = members(config)?.filter(|member| matches!(member.get_i32("votes"), Ok(1)));
        let voters: BTreeSet<i32> = voters.filter_map(|m| m.get_i32("_id").ok()).collect();
        let working = members(status)?.filter(|member| {
            let votes = member.get_i32("_id").is_ok_and(|id| voters.contains(&id));
            votes && matches!(member.get_i32("state"), Ok(1 | 2))
        });
        let working = working.count();
        let majority = i64::from(status.get_i32("majorityVoteCount")?);
        self.looks += 1;
        self.working = Some(self.working.map_or(working, |least| least.min(working)));
        let margin = working as i64 - majority;
        self.margin = Some(self.margin.map_or(margin, |least| least.min(margin)));
        Ok(())
    }

    fn put(&self, sample: &mut Sample) -> Result<()> {
        let looks = json!({"with_primary": self.looks, "without_primary": self.without_primary});
        sample.note("looks", looks);
        sample.put(
            "working",
            self.working.context("no look found a primary")? as f64,
        );
        sample.put(
            "margin",
            self.margin.context("no look found a primary")? as f64,
        );
        Ok(())
    }
}

fn members(document: &Document) -> Result<impl Iterator<Item = &Document>> {
    let members = document.get_array("members")?;
    Ok(members.iter().filter_map(Bson::as_document))
}
