//! From the Docker API's objects, in which all is optional, to ours.

mod details;

use std::collections::HashMap;
use std::net::IpAddr;

use base64::Engine as _;
use bollard::errors::Error;
use bollard::models;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::names::{NodeId, ReplicaSetId, ServiceId, ServiceName, Slot, TaskId};
use crate::swarm::model::{
    Availability, Claim, Container, DesiredState, EndpointMode, LABEL_REPLICA_SET_ID, Mount,
    Network, Node, Service, Task, TaskState, UpdateState,
};

/// A task as it was read, with what belongs to others, too.
pub(crate) struct ReadTask {
    pub(crate) task: Task,
    /// Its addresses in all its networks.
    pub(crate) addresses: Vec<Address>,
    /// These networks, by id.
    pub(crate) networks: Vec<(String, Network)>,
}

/// A task's address in one network.
pub(crate) struct Address {
    /// The network's id.
    pub(crate) network: String,
    /// The address.
    pub(crate) ip: IpAddr,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Attachment {
    network: Option<AttachedNetwork>,
    #[serde(default)]
    addresses: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct AttachedNetwork {
    #[serde(rename = "ID")]
    id: Option<String>,
    #[serde(rename = "Spec")]
    spec: Option<NetworkSpec>,
    #[serde(rename = "DriverState")]
    driver: Option<NetworkDriver>,
}

#[derive(Default, Deserialize)]
struct NetworkSpec {
    #[serde(rename = "Name")]
    name: Option<String>,
    #[serde(rename = "DriverConfiguration")]
    driver: Option<NetworkDriver>,
}

#[derive(Deserialize)]
struct NetworkDriver {
    #[serde(rename = "Options")]
    options: Option<HashMap<String, String>>,
}

impl AttachedNetwork {
    fn network(&self) -> Option<(String, Network)> {
        let spec = self.spec.as_ref();
        let drivers = spec.and_then(|s| s.driver.as_ref()).into_iter();
        let options = drivers
            .chain(&self.driver)
            .filter_map(|d| d.options.clone())
            .flatten();
        let name = spec.and_then(|s| s.name.clone());
        Some((self.id.clone()?, details::network(name, &options.collect())))
    }
}

/// `Ok(None)` for one without id or name, which a manager never sends.
pub(crate) fn service(mut service: Value) -> Result<Option<Service>, Error> {
    // The engine spells it `Healthcheck`, its documentation and bollard `HealthCheck`.
    let container = service.pointer_mut("/Spec/TaskTemplate/ContainerSpec");
    if let Some(Value::Object(container)) = container
        && let Some(check) = container.remove("Healthcheck")
    {
        container.insert("HealthCheck".to_owned(), check);
    }
    Ok(read_service(serde_json::from_value(service)?))
}

fn read_service(service: models::Service) -> Option<Service> {
    let spec = service.spec?;
    let details = details::service(&spec);
    let update = service.update_status.and_then(|u| u.state);
    let endpoint = spec.endpoint_spec.and_then(|e| e.mode);
    let mode = spec.mode.unwrap_or_default();
    Some(Service {
        id: ServiceId::new(service.id?),
        name: ServiceName::new(spec.name?),
        labels: spec.labels.unwrap_or_default().into_iter().collect(),
        replicas: mode
            .replicated
            .map(|r| r.replicas.unwrap_or(1).try_into().unwrap_or(0)),
        container: container(spec.task_template.unwrap_or_default()).into(),
        endpoint_mode: match endpoint {
            Some(models::EndpointSpecModeEnum::DNSRR) => EndpointMode::Dnsrr,
            _ => EndpointMode::Vip,
        },
        update: match update {
            Some(models::ServiceUpdateStatusStateEnum::UPDATING) => UpdateState::Updating,
            Some(models::ServiceUpdateStatusStateEnum::PAUSED) => UpdateState::Paused,
            _ => UpdateState::Settled,
        },
        details,
    })
}

fn container(task: models::TaskSpec) -> Container {
    let spec = task.container_spec.unwrap_or_default();
    let command = spec.command.into_iter().chain(spec.args).flatten();
    let mounts = spec.mounts.unwrap_or_default().into_iter();
    Container {
        image: spec.image.unwrap_or_default(),
        command: command.collect(),
        hostname: spec.hostname.filter(|h| !h.is_empty()),
        stop_signal: spec.stop_signal.filter(|s| !s.is_empty()),
        stop_grace_seconds: spec
            .stop_grace_period
            .and_then(|ns| u64::try_from(ns / 1_000_000_000).ok()),
        mounts: mounts
            .filter(|m| m.typ != Some(models::MountType::TMPFS))
            .map(|m| Mount {
                source: m.source.filter(|s| !s.is_empty()),
                target: m.target.unwrap_or_default(),
            })
            .collect(),
        force_update: task.force_update.unwrap_or(0),
    }
}

/// A task with its addresses. `Ok(None)`: it is no container of a service.
pub(crate) fn task(value: Value) -> Result<Option<ReadTask>, Error> {
    let attachments = value
        .get("NetworksAttachments")
        .cloned()
        .unwrap_or(Value::Null);
    let attachments: Option<Vec<Attachment>> = serde_json::from_value(attachments)?;
    let task: models::Task = serde_json::from_value(value)?;
    let (Some(id), Some(service)) = (task.id, task.service_id) else {
        return Ok(None);
    };
    let status = task.status.unwrap_or_default();
    let slot = task
        .slot
        .and_then(|s| u64::try_from(s).ok())
        .filter(|s| *s > 0);
    let task = Task {
        id: TaskId::new(id),
        service: ServiceId::new(service),
        slot: slot.map(Slot),
        node: task.node_id.filter(|n| !n.is_empty()).map(NodeId::new),
        desired: desired(task.desired_state),
        state: state(status.state),
        container: container(task.spec.unwrap_or_default()).into(),
        addresses: Vec::new(),
        created: timestamp(task.created_at.as_deref()),
        reported: timestamp(status.timestamp.as_deref()),
        error: status.err.filter(|e| !e.is_empty()),
    };
    let attachments = attachments.unwrap_or_default();
    let networks = attachments.iter().filter_map(|a| a.network.as_ref());
    let networks = networks.filter_map(AttachedNetwork::network).collect();
    let addresses = attachments.into_iter().flat_map(|a| {
        let network = a.network.and_then(|n| n.id).unwrap_or_default();
        let addresses = a.addresses.unwrap_or_default().into_iter();
        addresses.filter_map(move |text| {
            let ip = text.split('/').next()?.parse().ok()?;
            let network = network.clone();
            Some(Address { network, ip })
        })
    });
    Ok(Some(ReadTask {
        task,
        addresses: addresses.collect(),
        networks,
    }))
}

fn desired(state: Option<models::TaskState>) -> DesiredState {
    use models::TaskState as S;
    match state {
        Some(S::RUNNING) => DesiredState::Running,
        Some(S::REMOVE) => DesiredState::Remove,
        Some(S::COMPLETE | S::SHUTDOWN | S::FAILED | S::REJECTED | S::ORPHANED) => {
            DesiredState::Shutdown
        }
        _ => DesiredState::Ready,
    }
}

fn state(state: Option<models::TaskState>) -> TaskState {
    use models::TaskState as S;
    match state {
        Some(S::STARTING) => TaskState::Starting,
        Some(S::RUNNING) => TaskState::Running,
        Some(S::COMPLETE | S::SHUTDOWN | S::FAILED | S::REJECTED | S::REMOVE) => TaskState::Ended,
        Some(S::ORPHANED) => TaskState::Orphaned,
        _ => TaskState::Pending,
    }
}

/// `None` for one without an id, which a manager never sends.
pub(crate) fn node(node: models::Node) -> Option<Node> {
    let details = details::node(&node);
    let manager = node.manager_status;
    let state = node.status.and_then(|s| s.state);
    let availability = node.spec.and_then(|s| s.availability);
    Some(Node {
        id: NodeId::new(node.id?),
        hostname: node
            .description
            .and_then(|d| d.hostname)
            .unwrap_or_default(),
        ready: state == Some(models::NodeState::READY),
        availability: match availability {
            Some(models::NodeSpecAvailabilityEnum::DRAIN) => Availability::Drain,
            Some(models::NodeSpecAvailabilityEnum::PAUSE) => Availability::Pause,
            _ => Availability::Active,
        },
        leader: manager.as_ref().and_then(|m| m.leader).unwrap_or(false),
        manager: manager.is_some(),
        details,
    })
}

/// A claim under its name; `None` for a config object that is none.
pub(super) fn claim(config: models::Config) -> Option<(String, Claim)> {
    let spec = config.spec?;
    let name = spec.name.filter(|n| n.starts_with("swarmset."))?;
    let data = base64::engine::general_purpose::STANDARD.decode(spec.data.unwrap_or_default());
    let content = data
        .map_err(|e| e.to_string())
        .and_then(|data| serde_json::from_slice(&data).map_err(|e| e.to_string()));
    let id = spec.labels.and_then(|mut l| l.remove(LABEL_REPLICA_SET_ID));
    let claim = Claim {
        id: config.id?,
        version: config.version.and_then(|v| v.index).unwrap_or(0),
        created: timestamp(config.created_at.as_deref()),
        content,
        replica_set_id: id.map(ReplicaSetId::new),
    };
    Some((name, claim))
}

fn timestamp(text: Option<&str>) -> Option<Timestamp> {
    text?.parse().ok()
}
