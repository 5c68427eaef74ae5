//! What a history begins with: the machines, the service and the agents. A seed chooses.

use std::collections::BTreeMap;
use std::sync::Arc;

use swarmset::names::{ServiceId, ServiceName};
use swarmset::swarm::model::{
    Container, EndpointMode, Mount, Service, ServiceDetails, UpdateState,
};

use crate::dice::Dice;

#[derive(Clone, Debug)]
pub struct Cast {
    pub nodes: u8,
    pub managers: u8,
    pub replicas: u64,
    /// Members are named by slot and node, else by slot alone.
    pub per_node: bool,
    /// Volumes follow their tasks to any node.
    pub volumes_follow: bool,
    /// Tasks come back to the node where their slot's volume is, as with placement constraints.
    pub placed: bool,
    /// `stop_signal: SIGCONT`.
    pub held: bool,
    pub grace_seconds: u64,
    pub agents: u8,
    /// All agents act, not only the one on the Swarm's leader.
    pub all_act: bool,
    pub labels: Vec<(&'static str, &'static str)>,
}

impl Cast {
    pub fn choose(seed: u64) -> Self {
        let mut dice = Dice::of(&[seed, 1]);
        let managers = if dice.percent(80) { 3 } else { 1 };
        let replicas = match dice.below(100) {
            0..10 => dice.between(1, 2),
            10..75 => 3,
            75..94 => dice.between(4, 5),
            _ => dice.between(6, 9),
        };
        let follows = dice.percent(12);
        let held = dice.percent(75);
        let labels = match dice.below(10) {
            0 => vec![("swarmset.priority.1", "5")],
            1 => vec![("swarmset.hidden.2", "true")],
            2 => vec![("swarmset.votes.3", "0")],
            _ => vec![],
        };
        Self {
            nodes: u8::try_from(dice.between(3, 6)).unwrap_or(3),
            managers,
            replicas,
            per_node: !follows,
            volumes_follow: follows,
            placed: dice.percent(50),
            held,
            grace_seconds: if held {
                900
            } else {
                dice.pick(&[10, 30, 120]).unwrap_or(10)
            },
            agents: u8::try_from(dice.between(1, u64::from(managers))).unwrap_or(1),
            all_act: dice.percent(50),
            labels,
        }
    }

    pub fn service(&self) -> Service {
        let mut labels: BTreeMap<String, String> = [
            ("com.docker.stack.namespace", "app"),
            ("swarmset.role", "replica-set"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        let own = self.labels.iter();
        labels.extend(own.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let hostname = if self.per_node {
            "{{.Service.Name}}-{{.Task.Slot}}-{{.Node.ID}}"
        } else {
            "{{.Service.Name}}-{{.Task.Slot}}"
        };
        Service {
            id: ServiceId::from("mongo"),
            name: ServiceName::from("mongo"),
            labels,
            replicas: Some(self.replicas),
            container: Arc::new(Container {
                image: "mongo:7.0".into(),
                command: ["mongod", "--replSet", "rs"].map(str::to_owned).into(),
                hostname: Some(hostname.into()),
                stop_signal: self.held.then(|| "SIGCONT".into()),
                stop_grace_seconds: Some(self.grace_seconds),
                mounts: vec![Mount {
                    source: Some("data-{{.Task.Slot}}".into()),
                    target: "/data/db".into(),
                }],
                force_update: 0,
            }),
            endpoint_mode: EndpointMode::Dnsrr,
            update: UpdateState::Settled,
            details: ServiceDetails::default(),
        }
    }
}
