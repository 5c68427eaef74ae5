//! Sharded clusters: config servers and shards are real mongods; the router is a stand-in (tests/router), or a real one
//! where `SWARMSET_TEST_MONGOS` is given.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mongodb::bson::{Document, doc};
use serde_json::Value;

use super::{SOON, judge_without_errors};
use crate::images;
use crate::lab::Lab;
use crate::overlay::{Load, Mongo};
use crate::scenario::Scenario;

/// The stack file that people deploy.
const CLUSTER: &str = "stack/sharded.yml";
const DOCUMENTS: i64 = 400;
const CHUNKS: i64 = 8;

/// The scenarios of this file.
pub fn all() -> Vec<Scenario> {
    vec![
        Scenario::new("shard_cluster_comes_up_and_scales", bring_up_and_scale).limit(300),
        Scenario::new("shard_added_while_the_cluster_serves", added).limit(300),
        Scenario::new("shard_with_data_of_its_own_is_refused", refused)
            .shape(1, 0)
            .limit(300),
        Scenario::new("shard_drained_and_removed_while_agents_die", drained).limit(400),
        Scenario::new("shard_scaled_to_zero_undrained_is_kept", scaled_to_zero)
            .shape(1, 0)
            .limit(300),
        Scenario::new("shard_service_removed_undrained_is_kept", service_removed)
            .shape(1, 0)
            .limit(300),
    ]
}

fn with_cluster(lab: &mut Lab) -> Result<()> {
    lab.deploy("app", CLUSTER, &[("MONGO_IMAGE", images::SHARDED)])?;
    match_router_version(lab)?;
    lab.await_until(
        "two shards serve and the cluster is converged",
        SOON * 2,
        |lab| {
            let cluster = cluster(lab)?;
            let serving = shards_in(&cluster, "serving");
            Ok(serving == ["shard1", "shard2"] && cluster["converged"] == true)
        },
    )
}

/// A router of an older major version is shut out by a newer featureCompatibilityVersion, which new config servers have.
fn match_router_version(lab: &mut Lab) -> Result<()> {
    let Some(mongos) = std::env::var_os("SWARMSET_TEST_MONGOS") else {
        return Ok(());
    };
    let libraries = std::env::var("SWARMSET_TEST_LIBS").unwrap_or_default();
    let argv = [mongos, "--version".into()];
    let said = crate::tools::run_with(SOON, &argv, &[("LD_LIBRARY_PATH", &libraries)])?;
    let version = said
        .split(['v', '\n', ' '])
        .find(|w| w.starts_with(|c: char| c.is_ascii_digit()));
    let major = version
        .and_then(|v| v.split('.').next())
        .context("mongos tells no version")?;
    lab.await_until(
        "the config servers have the router's version",
        SOON,
        |lab| {
            let command = doc! { "setFeatureCompatibilityVersion": format!("{major}.0") };
            on_config(lab, command).map(|_| true)
        },
    )
}

/// The one cluster in the status.
fn cluster(lab: &Lab) -> Result<Value> {
    let status = lab.status()?;
    let clusters = status["clusters"].as_array().cloned().unwrap_or_default();
    clusters
        .into_iter()
        .next()
        .context("the status has no cluster")
}

fn shards_in(cluster: &Value, state: &str) -> Vec<String> {
    let shards = cluster["shards"].as_array().into_iter().flatten();
    let there = shards.filter(|s| s["state"] == *state);
    there
        .filter_map(|s| s["shard"].as_str().map(str::to_owned))
        .collect()
}

fn await_shard(lab: &mut Lab, shard: &str, state: &str, limit: Duration) -> Result<()> {
    lab.await_until(&format!("{shard} is {state}"), limit, |lab| {
        Ok(shards_in(&cluster(lab)?, state).iter().any(|s| s == shard))
    })
}

fn await_cluster(lab: &mut Lab, limit: Duration) -> Result<()> {
    lab.await_until("the cluster is converged", limit, |lab| {
        Ok(cluster(lab)?["converged"] == true && lab.is_converged()?)
    })
}

/// The words of all reasons of a set, or of the cluster.
fn words(lab: &Lab, kind: &str) -> Result<String> {
    let status = lab.status()?;
    let of = |list: &Value| -> Vec<String> {
        let entries = list.as_array().into_iter().flatten();
        entries.map(|entry| entry[kind].to_string()).collect()
    };
    Ok([of(&status["sets"]), of(&status["clusters"])]
        .concat()
        .join("\n"))
}

fn router(lab: &mut Lab) -> Result<Mongo> {
    let task = lab
        .running("router")?
        .into_iter()
        .find(|t| t.address.is_some());
    let address = task.and_then(|t| t.address).context("no router runs")?;
    lab.mongo_in("router", &address)
}

fn on_router(lab: &mut Lab, database: &str, command: Document) -> Result<Document> {
    router(lab)?.run(database, command)
}

fn on_config(lab: &mut Lab, command: Document) -> Result<Document> {
    let primary = lab.primary_of("config")?;
    lab.mongo_in("config", &primary)?.run("admin", command)
}

/// A command on a set's primary, by its address: the name of a member that is told to stop has left DNS.
fn on_primary(
    lab: &mut Lab,
    service: &str,
    database: &str,
    command: &Document,
) -> Result<Document> {
    let tasks = lab
        .tasks(service)?
        .into_iter()
        .filter(|t| t.state == "running");
    for address in tasks.filter_map(|t| t.address) {
        let member = lab.mongo_in(service, &address)?;
        let leads = |hello: Document| hello.get_bool("isWritablePrimary").unwrap_or(false);
        if member.run("admin", doc! { "hello": 1 }).is_ok_and(leads) {
            return member.run(database, command.clone());
        }
    }
    anyhow::bail!("{service} has no primary")
}

/// The documents of a collection on the primary of one service's set.
fn found(lab: &mut Lab, service: &str, database: &str, find: Document) -> Result<Vec<Document>> {
    let answer = on_primary(lab, service, database, &find)?;
    let batch = answer.get_document("cursor")?.get_array("firstBatch")?;
    Ok(batch
        .iter()
        .filter_map(|d| d.as_document().cloned())
        .collect())
}

/// The members of a shard, as `config.shards` lists them.
fn listed(lab: &mut Lab, shard: &str) -> Result<Vec<String>> {
    let find = doc! { "find": "shards", "filter": { "_id": shard } };
    let entry = found(lab, "config", "config", find)?.pop();
    let entry = entry.with_context(|| format!("config.shards has no {shard}"))?;
    let hosts = entry.get_str("host")?.split('/').nth(1).unwrap_or_default();
    let mut hosts: Vec<_> = hosts.split(',').map(str::to_owned).collect();
    hosts.sort();
    Ok(hosts)
}

fn members(lab: &mut Lab, service: &str) -> Result<Vec<String>> {
    let config = lab.replset_config_of(service)?;
    let members = config
        .get_array("members")?
        .iter()
        .filter_map(|m| m.as_document());
    let mut hosts: Vec<_> = members
        .filter_map(|m| m.get_str("host").ok().map(str::to_owned))
        .collect();
    hosts.sort();
    Ok(hosts)
}

fn await_listed(lab: &mut Lab, shard: &str) -> Result<()> {
    lab.await_until(
        &format!("config.shards lists {shard}'s members"),
        SOON,
        |lab| Ok(listed(lab, shard)? == members(lab, shard)?),
    )
}

/// A sharded collection of some chunks, all of them on one shard.
fn fill(lab: &mut Lab, shard: &str) -> Result<()> {
    lab.step(format!("a sharded collection on {shard}"));
    on_router(
        lab,
        "admin",
        doc! { "enableSharding": "shop", "primaryShard": shard },
    )?;
    let documents: Vec<_> = (0..DOCUMENTS).map(|id| doc! { "_id": id }).collect();
    on_router(
        lab,
        "shop",
        doc! { "insert": "orders", "documents": documents },
    )?;
    on_router(
        lab,
        "shop",
        doc! { "insert": "carts", "documents": [{ "_id": 1 }] },
    )?;
    on_router(
        lab,
        "admin",
        doc! { "shardCollection": "shop.orders", "key": { "_id": 1 } },
    )?;
    for chunk in 1..CHUNKS {
        let middle = doc! { "_id": chunk * DOCUMENTS / CHUNKS };
        on_router(
            lab,
            "admin",
            doc! { "split": "shop.orders", "middle": middle },
        )?;
    }
    Ok(())
}

/// Clients: through the routers where these are real ones, else directly on a shard. The stand-in knows no sessions, so
/// that clients could not try their writes again.
fn start_load(lab: &mut Lab, shard: &str) -> Result<Load> {
    match std::env::var_os("SWARMSET_TEST_MONGOS") {
        None => lab.start_load_on(shard),
        Some(_) => {
            on_router(
                lab,
                "admin",
                doc! { "enableSharding": "swarmset_lab", "primaryShard": shard },
            )?;
            lab.start_load_through("router")
        }
    }
}

/// Every document is on one of these shards, and none is there twice.
fn await_documents(lab: &mut Lab, shards: &[&str]) -> Result<()> {
    lab.await_until("every document is there once", SOON, |lab| {
        let mut ids = Vec::new();
        for shard in shards {
            let find =
                doc! { "find": "orders", "batchSize": DOCUMENTS as i32, "limit": DOCUMENTS as i32 };
            let found = found(lab, shard, "shop", find)?;
            ids.extend(found.iter().filter_map(number));
        }
        ids.sort_unstable();
        Ok(ids.into_iter().eq(0..DOCUMENTS))
    })
}

/// A document's `_id`: orders and answers go through JSON, which knows one kind of number.
fn number(document: &Document) -> Option<i64> {
    let id = document.get("_id")?;
    id.as_i64().or_else(|| id.as_i32().map(i64::from))
}

fn bring_up_and_scale(lab: &mut Lab) -> Result<()> {
    lab.deploy("app", CLUSTER, &[("MONGO_IMAGE", images::SHARDED)])?;
    match_router_version(lab)?;
    lab.await_until("all tasks run", SOON * 2, |lab| {
        let counts = [("config", 3), ("shard1", 3), ("shard2", 3), ("router", 2)];
        for (service, wanted) in counts {
            if lab.running(service)?.len() != wanted {
                return Ok(false);
            }
        }
        Ok(true)
    })?;
    let began = Instant::now();
    lab.await_until("two shards serve", SOON, |lab| {
        Ok(shards_in(&cluster(lab)?, "serving") == ["shard1", "shard2"])
    })?;
    lab.figure(format!(
        "tasks running to both shards added: {:.2} s",
        began.elapsed().as_secs_f64()
    ));
    await_cluster(lab, SOON)?;
    for shard in ["shard1", "shard2"] {
        let find = doc! { "find": "system.version", "filter": { "_id": "shardIdentity" } };
        let identity = found(lab, shard, "admin", find)?
            .pop()
            .context("no shard identity")?;
        ensure!(identity.get_str("shardName")? == shard, "{identity}");
    }
    fill(lab, "shard1")?;
    let load = start_load(lab, "shard1")?;
    for (service, count) in [("shard1", 5), ("config", 5), ("router", 3)] {
        lab.scale(service, count)?;
    }
    lab.await_members_of("shard1", 5, 5, SOON)?;
    lab.await_members_of("config", 5, 5, SOON)?;
    await_listed(lab, "shard1")?;
    for (service, count) in [("shard1", 3), ("config", 3), ("router", 1)] {
        lab.scale(service, count)?;
    }
    lab.await_members_of("shard1", 3, 3, SOON * 2)?;
    lab.await_members_of("config", 3, 3, SOON)?;
    await_listed(lab, "shard1")?;
    judge_without_errors(lab, load)?;
    on_router(lab, "admin", doc! { "listShards": 1 })?;
    await_documents(lab, &["shard1"])
}

/// One more shard, laid over the stack file.
const THIRD: &str = r#"
version: "3.8"
services:
  shard3:
    image: ${MONGO_IMAGE}
    command: [mongod, --shardsvr, --replSet, shard3, --port, "27017", --bind_ip_all, --keyFile, /run/secrets/mongo-keyfile, --wiredTigerCacheSizeGB, "0.25"]
    hostname: "{{.Service.Name}}-{{.Task.Slot}}-{{.Node.ID}}"
    networks: [mongo]
    secrets: [{source: mongo-keyfile, uid: "999", gid: "999", mode: 0400}]
    stop_signal: SIGCONT
    stop_grace_period: 15m
    volumes: ["data:/data/db", {type: tmpfs, target: /data/configdb}]
    deploy:
      replicas: 3
      endpoint_mode: dnsrr
      labels: {swarmset.role: shard, swarmset.cluster: CLUSTER}
"#;

fn deploy_third(lab: &mut Lab, cluster: &str) -> Result<()> {
    let third = THIRD.replace("CLUSTER", cluster);
    lab.deploy_with(
        "app",
        CLUSTER,
        &[("MONGO_IMAGE", images::SHARDED)],
        &[&third],
    )
}

fn added(lab: &mut Lab) -> Result<()> {
    with_cluster(lab)?;
    let load = start_load(lab, "shard1")?;
    deploy_third(lab, "app")?;
    lab.await_until("its tasks run", SOON, |lab| {
        Ok(lab.running("shard3")?.len() == 3)
    })?;
    let began = Instant::now();
    await_shard(lab, "shard3", "serving", SOON)?;
    lab.figure(format!(
        "tasks running to added: {:.2} s",
        began.elapsed().as_secs_f64()
    ));
    await_cluster(lab, SOON)?;
    await_listed(lab, "shard3")?;
    judge_without_errors(lab, load)
}

/// A set that took writes before it was asked to be a shard of this cluster.
fn refused(lab: &mut Lab) -> Result<()> {
    with_cluster(lab)?;
    deploy_third(lab, "elsewhere")?;
    lab.await_until("the third set has its members", SOON, |lab| {
        lab.set_is_whole("shard3", 3, 3)
    })?;
    let primary = lab.primary_of("shard3")?;
    let insert = doc! { "insert": "things", "documents": [{ "_id": 1 }], "writeConcern": { "w": "majority" } };
    lab.mongo_in("shard3", &primary)?.run("old", insert)?;
    lab.service_update("shard3", &["--label-add", "swarmset.cluster=app"])?;
    lab.await_until("the refusal is told", SOON, |lab| {
        Ok(words(lab, "faults")?.contains("shard3 holds databases of its own (old)"))
    })?;
    std::thread::sleep(Duration::from_secs(3));
    ensure!(listed(lab, "shard3").is_err(), "it was added all the same");
    let primary = lab.primary_of("shard3")?;
    let drop = doc! { "dropDatabase": 1, "writeConcern": { "w": "majority" } };
    lab.mongo_in("shard3", &primary)?.run("old", drop)?;
    await_shard(lab, "shard3", "serving", SOON)?;
    await_cluster(lab, SOON)
}

fn drained(lab: &mut Lab) -> Result<()> {
    with_cluster(lab)?;
    fill(lab, "shard2")?;
    on_router(lab, "admin", doc! { "balancerStop": 1 })?;
    lab.service_update("shard2", &["--label-add", "swarmset.drain=true"])?;
    await_shard(lab, "shard2", "draining", SOON)?;
    // Meanwhile: the agents die, the shard has another primary, and is scaled.
    for node in 1..=3 {
        let _ = lab.kill_agent(node);
    }
    lab.scale("shard2", 4)?;
    let primary = lab.primary_of("shard2")?;
    let _ = lab
        .mongo_in("shard2", &primary)?
        .run("admin", doc! { "replSetStepDown": 10 });
    await_shard(lab, "shard2", "removed", SOON * 4)?;
    lab.await_until("it is told to be safe", SOON, |lab| {
        Ok(words(lab, "waiting")?.contains("safe to remove service app_shard2"))
    })?;
    for (collection, filter) in [
        ("shards", doc! { "_id": "shard2" }),
        ("chunks", doc! { "shard": "shard2" }),
        ("databases", doc! { "primary": "shard2" }),
    ] {
        let left = found(
            lab,
            "config",
            "config",
            doc! { "find": collection, "filter": filter },
        )?;
        ensure!(left.is_empty(), "config.{collection}: {left:?}");
    }
    await_documents(lab, &["shard1"])?;
    lab.docker(&["service", "rm", "app_shard2"])?;
    lab.await_until("its mongods have ended", SOON, |lab| {
        Ok(lab.tasks("shard2")?.iter().all(|t| t.state != "running"))
    })?;
    await_cluster(lab, SOON)
}

/// The shard's primary takes writes, whatever Swarm was told.
fn serves(lab: &mut Lab, shard: &str) -> Result<()> {
    let insert = doc! {
        "update": "beats",
        "updates": [{ "q": { "_id": 1 }, "u": { "$inc": { "n": 1 } }, "upsert": true }],
        "writeConcern": { "w": "majority", "wtimeout": 5000 },
    };
    on_primary(lab, shard, "lab", &insert).map(drop)
}

fn scaled_to_zero(lab: &mut Lab) -> Result<()> {
    with_cluster(lab)?;
    fill(lab, "shard2")?;
    let identity = lab
        .replset_config_of("shard2")?
        .get_document("settings")?
        .clone();
    lab.scale("shard2", 0)?;
    lab.await_until("the fault is told", SOON, |lab| {
        Ok(words(lab, "faults")?
            .contains("service app_shard2 is scaled to 0, and shard shard2 was not drained"))
    })?;
    for _ in 0..5 {
        std::thread::sleep(Duration::from_secs(2));
        serves(lab, "shard2")?;
    }
    lab.scale("shard2", 3)?;
    lab.await_members_of("shard2", 3, 3, SOON * 3)?;
    await_cluster(lab, SOON)?;
    ensure!(
        lab.replset_config_of("shard2")?.get_document("settings")? == &identity,
        "it is another set"
    );
    await_documents(lab, &["shard2"])
}

fn service_removed(lab: &mut Lab) -> Result<()> {
    with_cluster(lab)?;
    fill(lab, "shard2")?;
    let identity = lab
        .replset_config_of("shard2")?
        .get_document("settings")?
        .clone();
    lab.docker(&["service", "rm", "app_shard2"])?;
    lab.await_until("the fault is told", SOON, |lab| {
        Ok(words(lab, "faults")?.contains("shard shard2 has no service any more"))
    })?;
    for _ in 0..5 {
        std::thread::sleep(Duration::from_secs(2));
        serves(lab, "shard2")?;
    }
    lab.deploy("app", CLUSTER, &[("MONGO_IMAGE", images::SHARDED)])?;
    lab.await_members_of("shard2", 3, 3, SOON * 3)?;
    await_cluster(lab, SOON)?;
    ensure!(
        lab.replset_config_of("shard2")?.get_document("settings")? == &identity,
        "it is another set"
    );
    await_documents(lab, &["shard2"])
}
