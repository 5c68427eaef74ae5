//! The parts of the API's objects that only the doctor reads.

use std::collections::HashMap;

use bollard::models;

use crate::swarm::model::{
    MountedFile, Network, NodeDetails, ServiceDetails, UpdateConfig, UpdateOrder,
};

/// Where Swarm puts a secret whose file name is relative.
const SECRETS: &str = "/run/secrets/";
/// The permissions of a secret or config object for which none are given.
const DEFAULT_MODE: u32 = 0o444;

pub(super) fn service(spec: &models::ServiceSpec) -> ServiceDetails {
    let task = spec.task_template.clone().unwrap_or_default();
    let container = task.container_spec.unwrap_or_default();
    let mounts = container.mounts.unwrap_or_default();
    let placement = task.placement.unwrap_or_default();
    let networks = task.networks.iter().chain(&spec.networks).flatten();
    let limits = task.resources.and_then(|r| r.limits);
    let is_tmpfs = |m: &&models::Mount| m.typ == Some(models::MountType::TMPFS);
    let target = |m: &models::Mount| m.target.clone();
    let secrets = container.secrets.into_iter().flatten().filter_map(secret);
    let configs = container.configs.into_iter().flatten().filter_map(config);
    ServiceDetails {
        global: spec.mode.as_ref().is_some_and(|m| m.global.is_some()),
        entrypoint: container.command.unwrap_or_default(),
        user: container.user.filter(|u| !u.is_empty()),
        health_check: container
            .health_check
            .and_then(|h| h.test)
            .filter(|t| !t.is_empty()),
        tmpfs: mounts.iter().filter(is_tmpfs).filter_map(target).collect(),
        remote_volumes: mounts
            .iter()
            .filter(|m| is_remote(m))
            .filter_map(target)
            .collect(),
        files: secrets.chain(configs).collect(),
        update: spec.update_config.as_ref().map(update).unwrap_or_default(),
        rollback: spec
            .rollback_config
            .as_ref()
            .map(rollback)
            .unwrap_or_default(),
        networks: networks.filter_map(|n| n.target.clone()).collect(),
        memory_limit: limits.and_then(|l| positive(l.memory_bytes)),
        max_per_node: positive(placement.max_replicas),
        constraints: placement.constraints.unwrap_or_default(),
        ingress_ports: ingress_ports(spec.endpoint_spec.as_ref()),
    }
}

fn positive(number: Option<i64>) -> Option<u64> {
    u64::try_from(number?).ok().filter(|n| *n > 0)
}

/// Another driver's volume may follow its task; `local` with a `type` other than a local file system does.
fn is_remote(mount: &models::Mount) -> bool {
    let volume = mount.volume_options.as_ref();
    let Some(driver) = volume.and_then(|v| v.driver_config.as_ref()) else {
        return mount.typ == Some(models::MountType::CLUSTER);
    };
    let option = |name: &str| driver.options.as_ref().and_then(|o| o.get(name));
    match driver.name.as_deref().unwrap_or_default() {
        "" | "local" => option("type").is_some_and(|t| t.starts_with("nfs") || t == "cifs"),
        _ => true,
    }
}

fn secret(secret: models::TaskSpecContainerSpecSecrets) -> Option<MountedFile> {
    let file = secret.file?;
    let path = file.name?;
    Some(MountedFile {
        name: secret.secret_name.unwrap_or_default(),
        path: if path.starts_with('/') {
            path
        } else {
            format!("{SECRETS}{path}")
        },
        uid: file.uid.unwrap_or_else(|| "0".into()),
        mode: file.mode.unwrap_or(DEFAULT_MODE),
    })
}

fn config(config: models::TaskSpecContainerSpecConfigs) -> Option<MountedFile> {
    let file = config.file?;
    let path = file.name?;
    Some(MountedFile {
        name: config.config_name.unwrap_or_default(),
        path: format!("/{}", path.trim_start_matches('/')),
        uid: file.uid.unwrap_or_else(|| "0".into()),
        mode: file.mode.unwrap_or(DEFAULT_MODE),
    })
}

fn update(config: &models::ServiceSpecUpdateConfig) -> UpdateConfig {
    let start_first = config.order == Some(models::ServiceSpecUpdateConfigOrderEnum::START_FIRST);
    update_config(config.parallelism, config.delay, start_first)
}

fn rollback(config: &models::ServiceSpecRollbackConfig) -> UpdateConfig {
    let start_first = config.order == Some(models::ServiceSpecRollbackConfigOrderEnum::START_FIRST);
    update_config(config.parallelism, config.delay, start_first)
}

/// A parallelism of 0 stands for "all at once".
fn update_config(parallelism: Option<i64>, delay: Option<i64>, start_first: bool) -> UpdateConfig {
    let whole = |n: Option<i64>| n.and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
    UpdateConfig {
        parallelism: whole(parallelism),
        delay_ms: whole(delay) / 1_000_000,
        order: if start_first {
            UpdateOrder::StartFirst
        } else {
            UpdateOrder::StopFirst
        },
    }
}

fn ingress_ports(endpoint: Option<&models::EndpointSpec>) -> Vec<u16> {
    let ports = endpoint
        .and_then(|e| e.ports.as_ref())
        .into_iter()
        .flatten();
    let in_ingress =
        ports.filter(|p| p.publish_mode != Some(models::EndpointPortConfigPublishModeEnum::HOST));
    in_ingress
        .filter_map(|p| u16::try_from(p.published_port?).ok())
        .collect()
}

pub(super) fn node(node: &models::Node) -> NodeDetails {
    let description = node.description.as_ref();
    let labels = node.spec.as_ref().and_then(|s| s.labels.clone());
    NodeDetails {
        labels: labels.unwrap_or_default().into_iter().collect(),
        memory: description
            .and_then(|d| d.resources.as_ref())
            .and_then(|r| positive(r.memory_bytes)),
        address: node
            .status
            .as_ref()
            .and_then(|s| s.addr.clone())
            .filter(|a| !a.is_empty() && a != "0.0.0.0"),
        engine: description
            .and_then(|d| d.engine.as_ref())
            .and_then(|e| e.engine_version.clone()),
    }
}

/// A network, from what its specification and its driver say.
pub(super) fn network(name: Option<String>, options: &HashMap<String, String>) -> Network {
    let mtu = options.get("com.docker.network.driver.mtu");
    // As the overlay driver reads it: the key alone means yes.
    let encrypted = options.get("encrypted");
    Network {
        name: name.unwrap_or_default(),
        encrypted: encrypted.is_some_and(|v| v != "false"),
        mtu: mtu.and_then(|m| m.parse().ok()),
    }
}
