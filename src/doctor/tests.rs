//! Cases are in `cases.txt`: what differs from a healthy stack, in the Docker API's own JSON, and what is found.
//!
//! ```text
//! ## title
//! mongo /Spec/Labels/swarmset.role = "replica-set"      a service's field (`mongo`, `other`, `agent`)
//! without mongo /Spec/EndpointSpec                      takes a field away
//! node n1 /Spec/Labels = {"zone": "a"}                  a node's field
//! task mongo.1 /NodeID = "n2"                           a task's field
//! network mongo /DriverState/Options = {}               a network's field
//! api 1.40                                              the API version
//! ----
//! danger service app_mongo check-name: what was found | fix
//! ```
//! `UPDATE_GOLDEN=1` writes what is found into the file: read the difference.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::{Value, json};
use strum::IntoEnumIterator;

use super::*;
use crate::observation::Reading;
use crate::swarm::client::convert;
use crate::swarm::model::ApiVersion;

const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctor/cases.txt");

/// A Swarm as its engine tells it.
struct World {
    services: BTreeMap<String, Value>,
    nodes: BTreeMap<String, Value>,
    tasks: BTreeMap<String, Value>,
    networks: BTreeMap<String, Value>,
    api: ApiVersion,
}

/// `stack/replica-set.yml` on three managers.
fn healthy() -> World {
    let node = |name: &str| {
        json!({
            "ID": name,
            "Spec": { "Availability": "active", "Labels": {} },
            "Description": {
                "Hostname": format!("{name}.example"),
                "Resources": { "MemoryBytes": 8_589_934_592_u64 },
                "Engine": { "EngineVersion": "24.0.7" },
            },
            "Status": { "State": "ready" },
            "ManagerStatus": { "Leader": name == "n1", "Addr": "10.0.0.1:2377" },
        })
    };
    let nodes = ["n1", "n2", "n3"].map(|n| (n.to_owned(), node(n)));
    let mut tasks = BTreeMap::new();
    for service in ["mongo", "agent"] {
        for slot in 1..=3 {
            let task = task(service, slot, &format!("n{slot}"));
            tasks.insert(format!("{service}.{slot}"), task);
        }
    }
    World {
        services: BTreeMap::from([
            ("mongo".to_owned(), mongo("mongo")),
            ("agent".to_owned(), agent()),
        ]),
        nodes: BTreeMap::from(nodes),
        tasks,
        networks: BTreeMap::from([("mongo".to_owned(), network("mongo"))]),
        api: ApiVersion(1, 43),
    }
}

fn mongo(name: &str) -> Value {
    json!({
        "ID": name,
        "Spec": {
            "Name": format!("app_{name}"),
            "Labels": { "com.docker.stack.namespace": "app", "swarmset.role": "replica-set" },
            "TaskTemplate": {
                "ContainerSpec": {
                    "Image": "mongo:7.0",
                    "Args": [
                        "mongod", "--replSet", "rs", "--bind_ip_all", "--keyFile",
                        "/run/secrets/mongo-keyfile", "--wiredTigerCacheSizeGB", "0.5",
                    ],
                    "Hostname": "{{.Service.Name}}-{{.Task.Slot}}-{{.Node.ID}}",
                    "Mounts": [
                        { "Type": "volume", "Source": "{{.Service.Name}}-{{.Task.Slot}}", "Target": "/data/db" },
                        { "Type": "tmpfs", "Target": "/data/configdb" },
                    ],
                    "StopSignal": "SIGCONT",
                    "StopGracePeriod": 900_000_000_000_u64,
                    "Secrets": [{
                        "File": { "Name": "mongo-keyfile", "UID": "999", "GID": "999", "Mode": 0o400 },
                        "SecretName": "mongo-keyfile",
                    }],
                },
                "Placement": {},
                "Networks": [{ "Target": "net-mongo" }],
            },
            "Mode": { "Replicated": { "Replicas": 3 } },
            "UpdateConfig": { "Parallelism": 1, "FailureAction": "continue", "Order": "stop-first" },
            "EndpointSpec": { "Mode": "dnsrr" },
        },
    })
}

fn agent() -> Value {
    json!({
        "ID": "agent",
        "Spec": {
            "Name": "app_agent",
            "Labels": { "com.docker.stack.namespace": "app" },
            "TaskTemplate": {
                "ContainerSpec": { "Image": "swarmset/agent" },
                "Placement": { "Constraints": ["node.role == manager"] },
                "Networks": [{ "Target": "net-mongo" }],
            },
            "Mode": { "Global": {} },
            "EndpointSpec": { "Mode": "dnsrr" },
        },
    })
}

fn network(name: &str) -> Value {
    json!({
        "ID": format!("net-{name}"),
        "Spec": { "Name": format!("app_{name}"), "DriverConfiguration": { "Name": "overlay" } },
        "DriverState": {
            "Name": "overlay",
            "Options": { "com.docker.network.driver.overlay.vxlanid_list": "4097" },
        },
    })
}

fn task(service: &str, slot: u64, node: &str) -> Value {
    json!({
        "ID": format!("{service}.{slot}"),
        "ServiceID": service,
        "Slot": slot,
        "NodeID": node,
        "DesiredState": "running",
        "Status": { "State": "running" },
        "Spec": {},
    })
}

impl World {
    fn say(&mut self, line: &str) {
        let (subject, rest) = line.split_once(' ').unwrap_or((line, ""));
        match subject {
            "without" => {
                let (service, path) = rest.split_once(' ').expect("without SERVICE PATH");
                remove(self.services.get_mut(service).expect("a service"), path);
            }
            "api" => {
                let (major, minor) = rest.split_once('.').expect("MAJOR.MINOR");
                self.api = ApiVersion(major.parse().unwrap(), minor.parse().unwrap());
            }
            "node" => set(self.nodes.get_mut(name(rest)).expect("a node"), tail(rest)),
            "down" => self.tasks.retain(|_, t| t["NodeID"] != rest),
            "network" => {
                let name = name(rest);
                let network = self.networks.entry(name.to_owned());
                set(network.or_insert_with(|| self::network(name)), tail(rest));
            }
            "task" => {
                let id = name(rest);
                let (service, slot) = id.split_once('.').expect("SERVICE.SLOT");
                let fresh = task(service, slot.parse().unwrap(), "n1");
                let task = self.tasks.entry(id.to_owned()).or_insert(fresh);
                set(task, tail(rest));
            }
            service => {
                let fresh = mongo(service);
                let service = self.services.entry(service.to_owned()).or_insert(fresh);
                set(service, rest);
            }
        }
    }

    fn observe(self) -> Observation {
        let mut swarm = Swarm {
            api: Some(self.api),
            ..Swarm::default()
        };
        for service in self.services.into_values() {
            let service = convert::service(service).expect("a service of the API");
            let service = service.expect("a service");
            swarm.known_services.insert(service.id.clone());
            swarm.services.insert(service.id.clone(), service);
        }
        for node in self.nodes.into_values() {
            let node = serde_json::from_value(node).expect("a node of the API");
            let node = convert::node(node).expect("a node");
            swarm.nodes.insert(node.id.clone(), node);
        }
        for mut task in self.tasks.into_values() {
            task["NetworksAttachments"] = self
                .networks
                .values()
                .map(|n| json!({ "Network": n, "Addresses": ["10.0.1.2/24"] }))
                .collect();
            let read = convert::task(task).expect("a task of the API");
            let read = read.expect("a task");
            swarm.networks.extend(read.networks);
            swarm.tasks.insert(read.task.id.clone(), read.task);
        }
        Observation {
            now: Timestamp::UNIX_EPOCH,
            swarm: Reading::Seen(swarm),
            members: BTreeMap::new(),
            had_data: BTreeSet::new(),
            sharding: Default::default(),
        }
    }
}

fn name(rest: &str) -> &str {
    rest.split(' ').next().expect("a name")
}

fn tail(rest: &str) -> &str {
    rest.split_once(' ').expect("PATH = JSON").1
}

/// `PATH = JSON`: the parts of the path are separated by `/`; a number is an index.
fn set(value: &mut Value, line: &str) {
    let (path, new) = line.split_once(" = ").expect("PATH = JSON");
    let new: Value = serde_json::from_str(new).unwrap_or_else(|e| panic!("{new}: {e}"));
    let mut at = value;
    for part in path.trim_start_matches('/').split('/') {
        at = match part.parse::<usize>() {
            Ok(index) if at.is_array() => &mut at[index],
            _ => &mut at[part],
        };
    }
    *at = new;
}

fn remove(value: &mut Value, path: &str) {
    let (parent, last) = path.rsplit_once('/').expect("a path");
    let parent = value.pointer_mut(parent).expect("an object");
    parent.as_object_mut().expect("an object").remove(last);
}

fn found(lines: &[&str]) -> Vec<Finding> {
    let mut world = healthy();
    for line in lines {
        world.say(line);
    }
    examine(&world.observe(), Some(&ServiceId::new("agent")))
}

#[test]
fn cases() {
    let text = std::fs::read_to_string(CASES).expect("cases.txt");
    let mut whole = String::new();
    let mut seen = BTreeSet::new();
    for block in text.split_inclusive("\n\n") {
        let Some((before, expected)) = block.split_once("----\n") else {
            whole.push_str(block);
            continue;
        };
        let lines: Vec<&str> = before
            .lines()
            .filter(|l| !l.is_empty() && !l.starts_with('#'))
            .collect();
        let mut now = format!("{before}----\n");
        for f in found(&lines) {
            seen.insert(f.check);
            assert!(!f.why.is_empty() && !f.fix.is_empty(), "{f:?}");
            let Finding {
                severity,
                about,
                check,
                found,
                fix,
                ..
            } = f;
            writeln!(now, "{severity} {about} {check}: {found} | {fix}").unwrap();
        }
        if expected.ends_with("\n\n") || expected == "\n" {
            now.push('\n');
        }
        whole.push_str(&now);
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(CASES, &whole).expect("cases.txt is written");
    }
    for (found, expected) in whole.split("\n\n").zip(text.split("\n\n")) {
        assert_eq!(found, expected);
    }
    assert_eq!(whole, text);
    let all: BTreeSet<_> = Check::iter().collect();
    let without_a_case: Vec<_> = all.difference(&seen).collect();
    assert!(
        without_a_case.is_empty(),
        "no case shows {without_a_case:?}"
    );
}

#[test]
fn every_check_is_in_the_readme() {
    let readme = include_str!("../../README.md");
    for check in Check::iter() {
        assert!(readme.contains(&format!("| `{check}` |")), "{check}");
    }
}

#[test]
fn nothing_is_said_of_services_that_are_not_ours_or_of_what_is_not_seen() {
    let lines = [
        "without mongo /Spec/Labels/swarmset.role",
        "mongo /Spec/EndpointSpec/Mode = \"vip\"",
        "api 1.24",
    ];
    assert_eq!(found(&lines), []);
    let unreadable = Observation {
        now: Timestamp::UNIX_EPOCH,
        swarm: Reading::Unreachable {
            since: Timestamp::UNIX_EPOCH,
            why: "no".into(),
        },
        members: BTreeMap::new(),
        had_data: BTreeSet::new(),
        sharding: Default::default(),
    };
    assert_eq!(examine(&unreadable, None), []);
}
