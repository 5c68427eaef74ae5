//! Sets that exist already.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mongodb::bson::{Document, doc};

use super::{
    SOON, THREE_MEMBERS, deployed, ended_cleanly, judge_without_errors, member_ids, takes_writes,
};
use crate::lab::Lab;
use crate::scenario::Scenario;

/// The scenarios of this file.
pub fn all() -> Vec<Scenario> {
    vec![
        Scenario::new("stack_removed_and_deployed_again_finds_its_set", redeployed).shape(1, 0),
        Scenario::new(
            "members_named_by_node_are_back_whatever_slots_swarm_deals",
            by_node,
        ),
        Scenario::new(
            "hand_made_set_is_adopted_and_changes_by_hand_survive",
            hand_made,
        ),
        Scenario::new("five_three_five_takes_the_old_volumes_back", old_volumes).shape(1, 0),
        Scenario::new("empty_disk_under_an_old_name_joins_anew", empty_disk).shape(1, 0),
    ]
}

fn redeployed(lab: &mut Lab) -> Result<()> {
    deployed(lab, 3)?;
    takes_writes(lab)?;
    let before = identity(&lab.replset_config()?)?;
    let host = lab.primary()?;
    let note =
        doc! {"insert": "kept", "documents": [{"_id": 1}], "writeConcern": {"w": "majority"}};
    lab.mongo(&host)?.run("test", note)?;
    lab.remove("app")?;
    lab.await_until("all mongods have ended", Duration::from_secs(20), |lab| {
        Ok(lab
            .all_tasks()?
            .iter()
            .all(|t| t["Status"]["State"] != "running"))
    })?;
    ended_cleanly(lab)?;
    lab.await_until(
        "the stack's network is gone",
        Duration::from_secs(20),
        |lab| {
            Ok(!lab
                .docker(&["network", "ls", "--format", "{{.Name}}"])?
                .contains("app_mongo"))
        },
    )?;
    lab.deploy("app", THREE_MEMBERS, &[])?;
    lab.await_members(3, 3, SOON)?;
    ensure!(
        identity(&lab.replset_config()?)? == before,
        "another set was initiated"
    );
    let host = lab.primary()?;
    let found = lab.mongo(&host)?.run("test", doc! {"count": "kept"})?;
    ensure!(found.get_i32("n")? == 1, "the data is gone: {found}");
    takes_writes(lab)
}

/// On several nodes, with one member each: the stack is removed and deployed again, then scaled to zero and back.
fn by_node(lab: &mut Lab) -> Result<()> {
    for node in 2..=4 {
        let id = lab.node_id(node).to_owned();
        lab.docker(&["node", "update", "--label-add", "mongo=true", &id])?;
    }
    lab.deploy("app", "stack/replica-set-per-node.yml", &[])?;
    lab.await_members(3, 3, SOON)?;
    let before = (identity(&lab.replset_config()?)?, member_ids(lab)?);
    lab.remove("app")?;
    lab.await_until("all tasks are gone", SOON, |lab| {
        Ok(lab.all_tasks()?.is_empty())
    })?;
    lab.deploy("app", "stack/replica-set-per-node.yml", &[])?;
    lab.await_members(3, 3, SOON)?;
    lab.scale("mongo", 0)?;
    lab.await_until("all mongods have ended", SOON, |lab| {
        Ok(lab.tasks("mongo")?.iter().all(|t| t.state != "running"))
    })?;
    lab.scale("mongo", 3)?;
    lab.await_members(3, 3, SOON)?;
    let after = (identity(&lab.replset_config()?)?, member_ids(lab)?);
    ensure!(before == after, "another set, or other members: {after:?}");
    takes_writes(lab)
}

fn identity(config: &Document) -> Result<Document> {
    Ok(config.get_document("settings")?.clone())
}

const WITHOUT_AGENT: &str = "
version: '3.8'
services:
  agent:
    deploy:
      mode: global
      placement: {constraints: ['node.labels.nowhere == true']}
";

fn hand_made(lab: &mut Lab) -> Result<()> {
    lab.deploy_with("app", THREE_MEMBERS, &[], &[WITHOUT_AGENT])?;
    lab.await_tasks("mongo", 3, SOON)?;
    let tasks = lab.running("mongo")?;
    let mut members = Vec::new();
    for (id, task) in (0..).zip(&tasks) {
        let node = task
            .node
            .map(|n| lab.node_id(n).to_owned())
            .unwrap_or_default();
        members.push(doc! {"_id": id, "host": format!("app_mongo-{}-{node}:27017", task.slot), "tags": {"by": "hand"}});
    }
    let first = members[0].get_str("host")?.to_owned();
    lab.await_until("the first mongod answers", SOON, |lab| {
        Ok(lab.mongo(&first)?.run("admin", doc! {"hello": 1}).is_ok())
    })?;
    lab.await_until("it is initiated by hand", SOON, |lab| {
        let config = doc! {"replSetInitiate": {"_id": "rs", "members": members.clone()}};
        Ok(lab.mongo(&first)?.run("admin", config).is_ok())
    })?;
    lab.await_until("it has a primary", SOON, |lab| lab.primary().map(|_| true))?;
    let made = lab.replset_config()?;
    lab.deploy("app", THREE_MEMBERS, &[])?;
    lab.await_members(3, 3, SOON)?;
    let adopted = lab.replset_config()?;
    ensure!(
        identity(&made)? == identity(&adopted)?,
        "another set: {adopted}"
    );
    change_by_hand(lab)?;
    let load = lab.start_load()?;
    let changed = changed_by_hand(&lab.replset_config()?)?;
    lab.scale("mongo", 5)?;
    lab.await_members(5, 5, SOON)?;
    lab.scale("mongo", 3)?;
    lab.await_members(3, 3, SOON)?;
    let kept = changed_by_hand(&lab.replset_config()?)?;
    ensure!(changed == kept, "what a person changed is gone: {kept:?}");
    judge_without_errors(lab, load)
}

/// As a person would by `rs.reconfig`: the first member is preferred and has a tag, the second one is hidden.
fn change_by_hand(lab: &mut Lab) -> Result<()> {
    let mut config = lab.replset_config()?;
    let version = config.get_i32("version")?;
    config.insert("version", version + 1);
    for member in config.get_array_mut("members")? {
        match member.as_document_mut() {
            Some(m) if m.get_i32("_id").is_ok_and(|id| id == 0) => {
                m.insert("priority", 3.0);
                m.insert("tags", doc! {"rack": "7"});
            }
            Some(m) if m.get_i32("_id").is_ok_and(|id| id == 1) => {
                m.insert("priority", 0.0);
                m.insert("hidden", true);
            }
            _ => {}
        }
    }
    let primary = lab.primary()?;
    lab.mongo(&primary)?
        .run("admin", doc! {"replSetReconfig": config})
        .map(drop)
}

/// What a person may have changed, of each of the three first members.
fn changed_by_hand(config: &Document) -> Result<Vec<(i32, Document)>> {
    let members = config.get_array("members")?.iter();
    let members = members.filter_map(|m| m.as_document());
    let mut found = Vec::new();
    for member in members {
        let id = member.get_i32("_id")?;
        if id < 3 {
            let fields = ["priority", "hidden", "tags"];
            let fields = fields.map(|f| Ok((f.to_owned(), member.get(f).context(f)?.clone())));
            found.push((id, fields.into_iter().collect::<Result<_>>()?));
        }
    }
    ensure!(found.len() == 3, "a member is missing: {config}");
    Ok(found)
}

fn old_volumes(lab: &mut Lab) -> Result<()> {
    deployed(lab, 5)?;
    let before = member_ids(lab)?;
    let load = lab.start_load()?;
    lab.scale("mongo", 3)?;
    lab.await_members(3, 3, SOON)?;
    lab.scale("mongo", 5)?;
    lab.await_members(5, 5, SOON)?;
    judge_without_errors(lab, load)?;
    let after = member_ids(lab)?;
    let new = after.iter().filter(|id| !before.contains(id)).count();
    ensure!(
        new == 2,
        "who came back must have a new _id: {before:?}, then {after:?}"
    );
    Ok(())
}

/// A volume that is deleted under its name: the member must not vote with an empty disk under its old `_id`.
fn empty_disk(lab: &mut Lab) -> Result<()> {
    deployed(lab, 3)?;
    let before = member_ids(lab)?;
    let load = lab.start_load()?;
    let primary = lab.primary_task()?.slot;
    let slot = (1..=3).find(|s| *s != primary).unwrap_or(1);
    lab.run_on_node(1, &["sh", "-c", &empty_volume(slot)])?;
    lab.kill_mongod(slot)?;
    lab.await_until("the member has a new _id", SOON, |lab| {
        let after = member_ids(lab)?;
        Ok(after.len() == 3 && after.iter().any(|id| !before.contains(id)))
    })?;
    lab.await_members(3, 3, SOON)?;
    let verdict = load.stop()?;
    lab.judge(&verdict)
}

/// Deletes what a volume holds, while mongod still has its files open.
fn empty_volume(slot: u64) -> String {
    format!(
        "dir=$(docker volume inspect -f '{{{{.Mountpoint}}}}' app_mongo-{slot}) && find \"$dir\" -mindepth 1 -delete"
    )
}
