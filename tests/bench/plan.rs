//! How long the planner takes over many sets with nothing to do, as at every cycle of an idle agent.
//!
//! Each of the sets has a service and seven tasks on seven of fifty nodes, all voting and caught up, and its
//! claim: what an agent would observe. Only `plan()` is timed, once warm, over and over; a run's figure is the median.

use crate::measure::Sample;
use crate::report::median;
use anyhow::{Result, ensure};
use jiff::Timestamp;
use mongodb::bson::{Document, doc, oid::ObjectId};
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use swarmset::mongo::model::{
    ClusterReport, MemberConfig, MemberReport, MemberState, MemberStatus, OpTime, Replication,
    ServerVersion, SetConfig, SetReport, ShardEntry,
};
use swarmset::names::{Host, MemberId, NodeId, ReplicaSetId, ServiceId, SetName, Slot, TaskId};
use swarmset::observation::{Observation, Reading};
use swarmset::plan::plan;
use swarmset::swarm::model::{
    Availability, Claim, ClaimContent, Container, DesiredState, EndpointMode, Mount, Node,
    NodeDetails, Service, ServiceDetails, Swarm, Task, TaskState, UpdateState,
};

const NOW: u32 = 1_800_000_000;
const MEMBERS: u64 = 7;
const NODES: u64 = 50;
/// One size is timed for as long as this.
const TIMED: Duration = Duration::from_secs(1);

/// Ten, a hundred and a thousand sets.
pub fn nothing_to_do(sample: &mut Sample) -> Result<()> {
    let sizes = [(10, "sets_10"), (100, "sets_100"), (1000, "sets_1000")];
    let mut for_one_set = Vec::new();
    for (sets, key) in sizes {
        let observation = observation(sets)?;
        let planned = plan(&observation);
        let idle =
            planned.steps.is_empty() && planned.waiting.is_empty() && planned.faults.is_empty();
        ensure!(idle, "there is something to do: {planned:?}");
        let milliseconds = time(&observation);
        sample.put(key, milliseconds);
        for_one_set.push(milliseconds / sets as f64);
    }
    sample.put("growth", for_one_set[2] / for_one_set[0]);
    let observation = cluster(1000)?;
    let planned = plan(&observation);
    let idle = planned.steps.is_empty() && planned.waiting.is_empty() && planned.faults.is_empty();
    ensure!(idle, "there is something to do: {planned:?}");
    sample.put("shards_1000", time(&observation));
    Ok(())
}

/// One cluster of so many shards of three, with config servers and a service of routers.
fn cluster(shards: u64) -> Result<Observation> {
    let mut observation = observation(0)?;
    let Reading::Seen(mut swarm) = observation.swarm else {
        anyhow::bail!("there is a Swarm");
    };
    observation.swarm = Reading::Seen(Swarm::default());
    let mut report = ClusterReport {
        cluster_id: Some(identity(0).to_string()),
        ..ClusterReport::default()
    };
    for number in 0..=shards {
        let (role, option) = match number {
            0 => ("config-server", "--configsvr"),
            _ => ("shard", "--shardsvr"),
        };
        let name = format!("set{number}");
        let made = Made {
            number,
            members: 3,
            set: name.clone(),
            role,
            cluster: "app".to_owned(),
            options: vec![option.to_owned(), "--port".to_owned(), "27017".to_owned()],
        };
        let hosts = add_set(&made, &mut swarm, &mut observation)?;
        if number > 0 {
            let hosts: Vec<_> = hosts.iter().map(Host::as_str).collect();
            let host = format!("{name}/{}", hosts.join(","));
            report.shards.push(ShardEntry::parse(&name, &host, false));
        }
    }
    let mut routers = service(&Made::set(shards + 1));
    let container = Arc::make_mut(&mut routers.container);
    container.command = vec!["mongos".into(), "--configdb".into(), "set0/set0:1".into()];
    container.stop_signal = None;
    routers.replicas = Some(0);
    for (label, value) in [("swarmset.role", "router"), ("swarmset.cluster", "app")] {
        routers.labels.insert(label.to_owned(), value.to_owned());
    }
    swarm.services.insert(routers.id.clone(), routers);
    let seen = Reading::Seen(report);
    observation.sharding.clusters.insert("app".into(), seen);
    observation.swarm = Reading::Seen(swarm);
    Ok(observation)
}

/// The median time of one plan, in milliseconds.
fn time(observation: &Observation) -> f64 {
    let (began, mut times) = (Instant::now(), Vec::new());
    while began.elapsed() < TIMED || times.len() < 3 {
        let one = Instant::now();
        let planned = black_box(plan(black_box(observation)));
        times.push(one.elapsed().as_secs_f64() * 1000.0);
        drop(planned);
    }
    times.sort_by(f64::total_cmp);
    median(&times)
}

fn observation(sets: u64) -> Result<Observation> {
    let mut swarm = Swarm::default();
    for number in 0..NODES {
        let id = NodeId::new(format!("node{number:021}"));
        let node = Node {
            id: id.clone(),
            hostname: format!("node{number}"),
            ready: true,
            availability: Availability::Active,
            leader: number == 0,
            manager: number < 3,
            details: NodeDetails::default(),
        };
        swarm.nodes.insert(id, node);
    }
    let mut observation = Observation {
        now: Timestamp::from_second(i64::from(NOW))?,
        swarm: Reading::Unreachable {
            since: Timestamp::UNIX_EPOCH,
            why: String::new(),
        },
        members: Default::default(),
        had_data: Default::default(),
        sharding: Default::default(),
    };
    for number in 0..sets {
        add_set(&Made::set(number), &mut swarm, &mut observation)?;
    }
    observation.swarm = Reading::Seen(swarm);
    Ok(observation)
}

/// The `replicaSetId` of a set: a date in the past, then what is its own.
fn identity(number: u64) -> ReplicaSetId {
    ReplicaSetId::new(format!("{:08x}{number:016x}", NOW - 3600))
}

/// One set, as it is made.
struct Made {
    number: u64,
    members: u64,
    set: String,
    role: &'static str,
    cluster: String,
    options: Vec<String>,
}

impl Made {
    /// A replica set of its own.
    fn set(number: u64) -> Self {
        Self {
            number,
            members: MEMBERS,
            set: "rs".to_owned(),
            role: "replica-set",
            cluster: format!("stack{number}"),
            options: Vec::new(),
        }
    }
}

/// Its members' hosts.
fn add_set(made: &Made, swarm: &mut Swarm, observation: &mut Observation) -> Result<Vec<Host>> {
    let (number, service) = (made.number, service(made));
    let tasks: Vec<Task> = (1..=made.members)
        .map(|slot| task(&service, number, slot))
        .collect();
    let host = |task: &Task| {
        let (slot, node) = (task.slot?, task.node.as_ref()?);
        Some(Host::new(format!("{}-{slot}-{node}:27017", service.name)))
    };
    let hosts: Vec<Host> = tasks.iter().filter_map(host).collect();
    let claim = Claim {
        id: format!("claim{number}"),
        version: 10,
        created: None,
        content: Ok(ClaimContent {
            initiator: hosts.first().map(ToString::to_string),
            members: hosts.iter().map(ToString::to_string).collect(),
        }),
        replica_set_id: Some(identity(number)),
    };
    swarm
        .claims
        .insert(format!("swarmset.{}.{}", made.cluster, made.set), claim);
    for (id, task) in (0..).map(MemberId).zip(tasks) {
        let report = report(id, &hosts, &identity(number), &made.set)?;
        observation.had_data.insert((identity(number), id));
        observation
            .members
            .insert(task.id.clone(), Reading::Seen(report));
        swarm.tasks.insert(task.id.clone(), task);
    }
    swarm.known_services.insert(service.id.clone());
    swarm.services.insert(service.id.clone(), service);
    Ok(hosts)
}

fn service(made: &Made) -> Service {
    let number = made.number;
    let labels = [
        ("com.docker.stack.namespace", made.cluster.clone()),
        ("swarmset.role", made.role.to_owned()),
    ];
    let command = ["mongod", "--replSet", &made.set, "--bind_ip_all"].map(str::to_owned);
    let target = match made.role {
        "config-server" => "/data/configdb",
        _ => "/data/db",
    };
    Service {
        id: ServiceId::new(format!("service{number:018}")),
        name: format!("stack{number}_mongo").as_str().into(),
        labels: labels
            .map(|(label, value)| (label.to_owned(), value))
            .into(),
        replicas: Some(made.members),
        container: Arc::new(Container {
            image: "mongo:7.0".to_owned(),
            command: command.into_iter().chain(made.options.clone()).collect(),
            hostname: Some("{{.Service.Name}}-{{.Task.Slot}}-{{.Node.ID}}".to_owned()),
            stop_signal: Some("SIGCONT".to_owned()),
            stop_grace_seconds: Some(900),
            mounts: vec![Mount {
                source: Some("{{.Service.Name}}-{{.Task.Slot}}".to_owned()),
                target: target.to_owned(),
            }],
            force_update: 0,
        }),
        endpoint_mode: EndpointMode::Dnsrr,
        update: UpdateState::Settled,
        details: ServiceDetails::default(),
    }
}

fn task(service: &Service, number: u64, slot: u64) -> Task {
    let [.., high, low] = number.to_be_bytes();
    Task {
        id: TaskId::new(format!("task{number:018}{slot:03}")),
        service: service.id.clone(),
        slot: Some(Slot(slot)),
        node: Some(NodeId::new(format!("node{:021}", (number + slot) % NODES))),
        desired: DesiredState::Running,
        state: TaskState::Running,
        container: Arc::clone(&service.container),
        addresses: vec![IpAddr::V4(Ipv4Addr::new(10, high, low, slot as u8))],
        created: None,
        reported: None,
        error: None,
    }
}

/// What the member with this `_id` says; the first is the primary.
fn report(
    own: MemberId,
    hosts: &[Host],
    identity: &ReplicaSetId,
    set: &str,
) -> Result<MemberReport> {
    let state = |id: MemberId| match id {
        MemberId(0) => MemberState::Primary,
        _ => MemberState::Secondary,
    };
    let applied = OpTime {
        term: 1,
        seconds: NOW,
        increment: 1,
    };
    let member = |(id, host): (MemberId, &Host)| MemberStatus {
        id,
        host: host.clone(),
        state: state(id),
        healthy: true,
        applied: Some(applied),
        sync_source: None,
        message: None,
    };
    let all = || (0..).map(MemberId).zip(hosts);
    let config = SetConfig {
        set: SetName::new(set),
        version: 1,
        term: Some(1),
        members: all()
            .map(|(id, host)| MemberConfig::new(id, host.clone()))
            .collect(),
        settings: doc! {"replicaSetId": ObjectId::parse_str(identity.as_str())?},
        other: Document::new(),
    };
    let report = SetReport {
        state: state(own),
        self_id: Some(own),
        term: 1,
        config,
        committed: (own == MemberId(0)).then_some(true),
        newly_added: Default::default(),
        members: all().map(member).collect(),
        initial_sync: None,
    };
    Ok(MemberReport {
        version: ServerVersion(7, 0, 0),
        quiesce_ms: None,
        replication: Replication::InSet(Box::new(report)),
    })
}
