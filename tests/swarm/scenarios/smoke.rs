//! The lab itself works: a Swarm, real mongods under the design's templates, names, clients.

use crate::history::Verdict;
use crate::lab::Lab;
use crate::scenario::Scenario;
use anyhow::{Result, ensure};
use mongodb::bson::doc;
use std::time::Duration;

/// The scenarios of this file.
pub fn all() -> Vec<Scenario> {
    vec![
        Scenario::new("lab_runs_real_members_under_their_names", real_members).without_agent(),
        Scenario::new("lab_breaks_and_heals_nodes", breaks_and_heals)
            .without_agent()
            .limit(180),
        Scenario::new("lab_freezes_kills_and_cuts", freezes_kills_and_cuts).without_agent(),
    ]
}

/// Three members without an agent, on the nodes that fit the given constraint.
const STACK: &str = r#"
version: "3.8"
services:
  mongo:
    image: ${MONGO_IMAGE}
    command: [mongod, --replSet, rs, --bind_ip_all, --keyFile, /run/secrets/mongo-keyfile, --wiredTigerCacheSizeGB, "${MONGO_CACHE_GB}",
              --setParameter, shutdownTimeoutMillisForSignaledShutdown=0]
    hostname: "{{.Service.Name}}-{{.Task.Slot}}-{{.Node.ID}}"
    networks: [mongo]
    secrets: [{source: mongo-keyfile, uid: "999", gid: "999", mode: 0400}]
    volumes: ["data:/data/db"]
    stop_signal: SIGCONT
    stop_grace_period: 15m
    deploy:
      replicas: 3
      endpoint_mode: dnsrr
      placement: {constraints: ["${NODES}"]}
networks:
  mongo: {driver: overlay, attachable: true}
secrets:
  mongo-keyfile: {external: true}
volumes:
  data: {name: "{{.Service.Name}}-{{.Task.Slot}}"}
"#;

fn deploy_three(lab: &mut Lab, nodes: &str) -> Result<Vec<String>> {
    lab.deploy_text("app", STACK, &[("NODES", nodes)])?;
    lab.await_tasks("mongo", 3, Duration::from_secs(60))?;
    let tasks = lab.running("mongo")?;
    let node_of = |lab: &Lab, node: Option<usize>| {
        node.map(|node| lab.node_id(node).to_owned())
            .unwrap_or_default()
    };
    Ok(tasks
        .iter()
        .map(|task| format!("app_mongo-{}-{}:27017", task.slot, node_of(lab, task.node)))
        .collect())
}

/// What the agent will do, done by hand.
fn initiate(lab: &mut Lab, hosts: &[String]) -> Result<()> {
    for host in hosts {
        lab.await_until(
            &format!("{host} answers by its name"),
            Duration::from_secs(20),
            |lab| {
                let hello = lab.mongo(host)?.run("admin", doc! {"hello": 1})?;
                Ok(hello.get_bool("isreplicaset")?)
            },
        )?;
    }
    let members: Vec<_> = hosts
        .iter()
        .enumerate()
        .map(|(id, host)| doc! {"_id": id as i32, "host": host})
        .collect();
    lab.mongo(&hosts[0])?.run(
        "admin",
        doc! {"replSetInitiate": {"_id": "rs", "members": members}},
    )?;
    lab.await_until("there is a primary", Duration::from_secs(30), |lab| {
        if let Ok(first) = lab.mongo(&hosts[0]) {
            let _ = first.run("admin", doc! {"replSetStepUp": 1});
        }
        lab.primary().map(|_| true)
    })
}

fn real_members(lab: &mut Lab) -> Result<()> {
    let hosts = deploy_three(lab, "node.hostname != none")?;
    initiate(lab, &hosts)?;
    let load = lab.start_load()?;
    lab.fill("mongo", 16)?;
    std::thread::sleep(Duration::from_secs(3));
    let progress = load.progress()?;
    ensure!(
        progress.acknowledged > 100 && progress.errors == 0,
        "{progress:?}"
    );
    let verdict: Verdict = load.stop()?;
    lab.judge(&verdict)?;
    verdict.assert_no_errors()?;
    lab.remove("app")?;
    std::thread::sleep(Duration::from_secs(4));
    let still = lab.tasks("mongo")?;
    ensure!(
        still.iter().filter(|task| task.state == "running").count() == 3,
        "SIGCONT did not hold the members: {still:?}"
    );
    for task in &still {
        lab.signal_task(if task.slot == 1 { "KILL" } else { "TERM" }, task)?;
    }
    lab.await_until("all tasks are gone", Duration::from_secs(30), |lab| {
        Ok(lab.tasks("mongo")?.is_empty())
    })?;
    for task in &still {
        let volume = format!("app_mongo-{}", task.slot);
        let clean = lab.ended_cleanly(task.node.unwrap_or_default(), &volume)?;
        ensure!(clean == (task.slot != 1), "{task}: ended cleanly: {clean}");
    }
    Ok(())
}

fn breaks_and_heals(lab: &mut Lab) -> Result<()> {
    // A second member on a lost node would be lost for good: Swarm replaces its task, its name leaves DNS, and there
    // is no agent here to make up for it.
    let hosts = deploy_three(lab, "node.hostname != node1")?;
    initiate(lab, &hosts)?;
    let load = lab.start_load()?;
    let primary = lab.primary_task()?;
    let node = primary.node.unwrap_or_default();
    lab.kill_node(node)?;
    lab.await_until("another primary", Duration::from_secs(40), |lab| {
        Ok(lab.primary_task()?.id != primary.id)
    })?;
    lab.await_node(node, "down", Duration::from_secs(40))?;
    lab.revive_node(node)?;
    lab.await_node(node, "ready", Duration::from_secs(40))?;
    lab.partition(&[1], &[2, 3, 4, 5])?;
    lab.await_until("another manager leads", Duration::from_secs(40), |lab| {
        Ok(lab.leader()? != 1)
    })?;
    lab.heal()?;
    lab.await_node(1, "ready", Duration::from_secs(40))?;
    let verdict = load.stop()?;
    lab.judge(&verdict)
}

fn freezes_kills_and_cuts(lab: &mut Lab) -> Result<()> {
    let hosts = deploy_three(lab, "node.role != manager")?;
    initiate(lab, &hosts)?;
    let hello = doc! {"hello": 1};
    let member = lab.member("mongo", 2)?;
    let node = member.node.unwrap_or_default();
    let others: Vec<usize> = (1..=5).filter(|other| *other != node).collect();

    lab.pause_mongod(2)?;
    ensure!(
        lab.mongo(&hosts[1])?.run("admin", hello.clone()).is_err(),
        "a frozen member answers"
    );
    lab.resume_mongod(2)?;
    lab.mongo(&hosts[1])?.run("admin", hello.clone())?;

    lab.pause_dockerd(node)?;
    lab.mongo(&hosts[1])?.run("admin", hello.clone())?;
    lab.resume_dockerd(node)?;

    lab.partition(&[node], &others)?;
    ensure!(
        !reaches(lab, node, others[0]),
        "a partition lets packets through"
    );
    lab.mongo(&hosts[1])?.run("admin", hello.clone())?;
    lab.heal()?;
    ensure!(
        reaches(lab, node, others[0]),
        "a healed partition lets nothing through"
    );

    lab.kill_mongod(2)?;
    lab.await_until(
        "Swarm starts the member again",
        Duration::from_secs(30),
        |lab| Ok(lab.member("mongo", 2)?.id != member.id),
    )?;
    let worker = lab.member("mongo", 1)?;
    let node = worker.node.unwrap_or_default();
    lab.cut_from_managers(node)?;
    lab.await_node(node, "down", Duration::from_secs(40))?;
    lab.mongo(&worker.address.unwrap_or_default())?
        .run("admin", hello)?;
    lab.heal()?;
    lab.await_node(node, "ready", Duration::from_secs(40))
}

/// Whether a manager's Swarm port can be reached from a node.
fn reaches(lab: &Lab, node: usize, manager: usize) -> bool {
    let connect = format!("</dev/tcp/10.99.0.{manager}/2377");
    lab.run_on_node(node, &["timeout", "1", "bash", "-c", &connect])
        .is_ok()
}
