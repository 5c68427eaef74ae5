//! What a person asks for: a service's labels and specification, read into an [`Intent`].
//!
//! A mistake is a fault of that one service; every message names what was found, where, and what is allowed.

mod labels;
mod template;

use std::collections::BTreeMap;

use thiserror::Error;

pub use labels::MemberOptions;
pub use template::HostTemplate;

use crate::names::{ClusterName, Host, ServiceId, ServiceName, SetKey, SetName, Slot};
use crate::swarm::model::{Container, Mount, Service, Swarm, Task};

/// The label that makes a service ours.
pub const LABEL_ROLE: &str = "swarmset.role";
/// The label that names the cluster.
pub const LABEL_CLUSTER: &str = "swarmset.cluster";
/// The label that names the replica set.
pub const LABEL_REPLICA_SET: &str = "swarmset.replica-set";

/// The largest number of tasks that one service may ask for: MongoDB's limit on members
/// (manual, "Replica Set Members").
pub const MAX_MEMBERS: usize = 50;
/// The largest number of members with a vote (same page).
pub const MAX_VOTERS: usize = 7;

/// The longest name that Swarm takes for a config object (swarmkit, `validateConfigOrSecretAnnotations`).
const MAX_CONFIG_NAME: usize = 64;

/// What one service asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Intent {
    /// The service.
    pub service: ServiceId,
    /// The service's name.
    pub name: ServiceName,
    /// The replica set that its tasks are members of.
    pub key: SetKey,
    /// How many members it asks for.
    pub replicas: u64,
    /// How a task's host name is made.
    pub template: HostTemplate,
    /// The port that its mongods listen on.
    pub port: u16,
    /// Fields for new members, for all and for single slots.
    pub members: MemberOptions,
    /// How its tasks are stopped.
    pub stop: Stop,
    /// The service's present specification, to tell updated tasks from others.
    pub container: Container,
}

/// What happens when Swarm tells a member to stop (design, section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// `stop_signal` is one that mongod takes no notice of: it serves on until the agent ends it.
    Held,
    /// SIGTERM: it quiesces, within this many seconds from the signal to SIGKILL.
    Signalled {
        /// `stop_grace_period`, in seconds.
        grace_seconds: u64,
    },
}

impl Stop {
    /// How a task with this container specification takes a stop.
    ///
    /// mongod acts on SIGTERM, SIGINT, SIGHUP, SIGXCPU and SIGUSR1, and leaves the default action (none) to these.
    pub fn of(container: &Container) -> Self {
        let signal = container.stop_signal.as_deref().unwrap_or("SIGTERM");
        let signal = signal.to_ascii_uppercase();
        match signal.trim_start_matches("SIG") {
            "CONT" | "18" | "CHLD" | "17" | "URG" | "23" | "WINCH" | "28" => Self::Held,
            _ => Self::Signalled {
                grace_seconds: container.stop_grace_seconds.unwrap_or(10),
            },
        }
    }
}

impl Intent {
    /// The host under which a task is, or would be, a member; `None` until it has a node.
    pub fn host_of(&self, task: &Task, swarm: &Swarm) -> Option<Host> {
        // A task keeps the name and port that it was started with, whatever the service says by now.
        let (own, now) = (&task.container, &self.container);
        let template = if own.hostname == now.hostname {
            None
        } else {
            own.hostname
                .as_deref()
                .and_then(|text| HostTemplate::parse(text).ok())
        };
        let template = template.as_ref().unwrap_or(&self.template);
        let name = template.expand(&self.name, task, swarm)?;
        let port = mongod_port(own).unwrap_or(self.port);
        Some(Host::new(format!("{name}:{port}")))
    }

    /// Whether a host could be that of one of this service's tasks, present or past; with its slot, if the host tells it.
    pub fn recognises(&self, host: &Host) -> Option<Option<Slot>> {
        let (name, port) = host.as_str().rsplit_once(':')?;
        if port.parse() != Ok(self.port) {
            return None;
        }
        self.template.recognise(&self.name, name)
    }
}

/// Why a service's labels or specification cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IntentError {
    /// A label's value is not one of those allowed.
    #[error("label {label}={found:?}: allowed {allowed}")]
    BadLabel {
        /// The label.
        label: String,
        /// Its value.
        found: String,
        /// What it may be.
        allowed: String,
    },
    /// A label under `swarmset.` that means nothing.
    #[error("label {label} is not known; known are {known}")]
    UnknownLabel {
        /// The label.
        label: String,
        /// All that are known.
        known: String,
    },
    /// There are labels of ours, but none gives the role.
    #[error("label {label} is set, but {LABEL_ROLE} is not; add {LABEL_ROLE}: replica-set")]
    NoRole {
        /// The label that was found.
        label: String,
    },
    /// A global service or a job.
    #[error("deploy.mode is not replicated; members need slots: use mode replicated with replicas")]
    NotReplicated,
    /// More tasks than MongoDB allows members.
    #[error("{found} replicas; a replica set has at most {MAX_MEMBERS} members")]
    TooManyReplicas {
        /// What was asked for.
        found: u64,
    },
    /// mongod is not started as a member of a replica set.
    #[error("command has no --replSet; add --replSet <name>")]
    NoReplSet,
    /// Label and option name different sets.
    #[error("label {LABEL_REPLICA_SET} says {label}, --replSet says {option}; make them the same")]
    TwoSetNames {
        /// The label's value.
        label: String,
        /// The option's value.
        option: String,
    },
    /// mongod is started with a role in a sharded cluster.
    #[error("command has {option}, which role replica-set does not take; remove it")]
    ShardingOption {
        /// The option.
        option: String,
    },
    /// Swarm would not take the claim's name.
    #[error(
        "config {claim} would be the record of this set, and Swarm takes only names of up to {MAX_CONFIG_NAME} letters, digits, -, _ and . there; choose another --replSet, or set {LABEL_CLUSTER}"
    )]
    BadClaimName {
        /// The claim's name.
        claim: String,
    },
    /// `--port` is not a port.
    #[error("--port {found:?}: allowed 1 to 65535")]
    BadPort {
        /// Its value.
        found: String,
    },
    /// No host name, so that members cannot find each other.
    #[error(
        "no hostname; set hostname: \"{{{{.Service.Name}}}}-{{{{.Task.Slot}}}}-{{{{.Node.ID}}}}\""
    )]
    NoHostname,
    /// A host name template that cannot be followed.
    #[error("hostname {template:?}: {why}")]
    BadHostname {
        /// The template.
        template: String,
        /// What is wrong with it, and what is allowed.
        why: String,
    },
    /// The data directory is in an anonymous volume or in the container, and goes with the task.
    #[error(
        "no named volume at {path}: a member's data would go with its container; mount a named volume there"
    )]
    NoVolume {
        /// mongod's `--dbpath`.
        path: String,
    },
}

/// A service that has at least one mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadService {
    /// The service's name.
    pub name: ServiceName,
    /// The set that it would be, as far as that can be told: its members are left alone.
    pub key: Option<SetKey>,
    /// All mistakes.
    pub errors: Vec<IntentError>,
}

/// All intents in a Swarm: those that can be followed, by set, and the services that have a mistake.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Intents {
    /// What is asked for, set by set.
    pub sets: BTreeMap<SetKey, Intent>,
    /// Services with mistakes.
    pub bad: Vec<BadService>,
    /// Sets named by more than one service, with these services.
    pub contested: BTreeMap<SetKey, Vec<ServiceName>>,
}

/// Reads the intents of all services.
pub fn intents(swarm: &Swarm) -> Intents {
    let mut found = Intents::default();
    let mut by_key: BTreeMap<SetKey, Vec<Intent>> = BTreeMap::new();
    for service in swarm.services.values() {
        match intent(service) {
            None => {}
            Some(Ok(intent)) => by_key.entry(intent.key.clone()).or_default().push(intent),
            Some(Err(bad)) => found.bad.push(bad),
        }
    }
    // A service with a mistake still lays claim to its set's name.
    for bad in &found.bad {
        if let Some(key) = &bad.key
            && let Some(others) = by_key.remove(key)
        {
            let names = others.into_iter().map(|i| i.name).chain([bad.name.clone()]);
            found.contested.insert(key.clone(), names.collect());
        }
    }
    for names in found.contested.values_mut() {
        names.sort();
    }
    for (key, mut intents) in by_key {
        match intents.len() {
            1 => {
                found.sets.extend(intents.pop().map(|i| (key, i)));
            }
            _ => {
                let mut names: Vec<_> = intents.into_iter().map(|i| i.name).collect();
                names.sort();
                found.contested.insert(key, names);
            }
        }
    }
    found
}

/// Reads one service; `None` if it is not ours.
pub fn intent(service: &Service) -> Option<Result<Intent, BadService>> {
    let first = service.labels.keys().find(|l| l.starts_with("swarmset."))?;
    let mut errors = Vec::new();
    let bad = |key, errors| {
        Some(Err(BadService {
            name: service.name.clone(),
            key,
            errors,
        }))
    };
    match service.labels.get(LABEL_ROLE).map(String::as_str) {
        Some("replica-set") => {}
        Some(other) => {
            errors.push(IntentError::BadLabel {
                label: LABEL_ROLE.into(),
                found: other.into(),
                allowed: "replica-set (config-server, shard and router are not supported yet)"
                    .into(),
            });
            return bad(None, errors);
        }
        None => {
            errors.push(IntentError::NoRole {
                label: first.clone(),
            });
            return bad(None, errors);
        }
    }
    let key = SetKey {
        cluster: cluster(service),
        set: set_name(service, &mut errors),
    };
    let claim = key.claim_name();
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let ends_well = claim.ends_with(|c: char| c.is_ascii_alphanumeric());
    if claim.len() > MAX_CONFIG_NAME || !claim.chars().all(fits) || !ends_well {
        errors.push(IntentError::BadClaimName { claim });
    }
    let members = labels::member_options(&service.labels, &mut errors);
    let replicas = replicas(service, &mut errors);
    let port = port(&service.container, &mut errors);
    check_container(&service.container, &mut errors);
    let template = match &service.container.hostname {
        None => Err(IntentError::NoHostname),
        Some(text) => HostTemplate::parse(text),
    };
    match template {
        Ok(template) if errors.is_empty() => Some(Ok(Intent {
            service: service.id.clone(),
            name: service.name.clone(),
            key,
            replicas,
            template,
            port,
            members,
            stop: Stop::of(&service.container),
            container: service.container.clone(),
        })),
        Ok(_) => bad(Some(key), errors),
        Err(error) => {
            errors.push(error);
            bad(Some(key), errors)
        }
    }
}

fn cluster(service: &Service) -> ClusterName {
    let name = service
        .labels
        .get(LABEL_CLUSTER)
        .map(String::as_str)
        .or(service.stack())
        .unwrap_or(service.name.as_str());
    ClusterName::new(name)
}

fn set_name(service: &Service, errors: &mut Vec<IntentError>) -> SetName {
    let label = service.labels.get(LABEL_REPLICA_SET);
    let option = option_value(&service.container.command, "--replSet");
    if let (Some(label), Some(option)) = (label, option)
        && label != option
    {
        errors.push(IntentError::TwoSetNames {
            label: label.clone(),
            option: option.to_owned(),
        });
    }
    let name = option.or(label.map(String::as_str));
    SetName::new(name.unwrap_or(service.name.as_str()))
}

fn replicas(service: &Service, errors: &mut Vec<IntentError>) -> u64 {
    let replicas = service.replicas.unwrap_or_else(|| {
        errors.push(IntentError::NotReplicated);
        0
    });
    if replicas > MAX_MEMBERS as u64 {
        errors.push(IntentError::TooManyReplicas { found: replicas });
    }
    replicas
}

fn port(container: &Container, errors: &mut Vec<IntentError>) -> u16 {
    mongod_port(container).unwrap_or_else(|| {
        let found = option_value(&container.command, "--port").unwrap_or_default();
        let found = found.to_owned();
        errors.push(IntentError::BadPort { found });
        27017
    })
}

/// The port that a container's mongod listens on: `--port`, else 27017. `None` if that is no port.
pub fn mongod_port(container: &Container) -> Option<u16> {
    match option_value(&container.command, "--port") {
        None => Some(27017),
        Some(found) => found.parse().ok().filter(|port| *port > 0),
    }
}

fn check_container(container: &Container, errors: &mut Vec<IntentError>) {
    let has = |names: &[&str]| {
        container.command.iter().any(|word| {
            let name = word.split_once('=').map_or(word.as_str(), |(name, _)| name);
            names.contains(&name)
        })
    };
    // With a configuration file the name may stand there; mongod itself will tell.
    if !has(&["--replSet", "--config", "-f"]) {
        errors.push(IntentError::NoReplSet);
    }
    for option in ["--configsvr", "--shardsvr"] {
        if has(&[option]) {
            let option = option.to_owned();
            errors.push(IntentError::ShardingOption { option });
        }
    }
    let (path, mount) = data_mount(container);
    if mount.is_none_or(|m| m.source.is_none()) {
        let path = path.to_owned();
        errors.push(IntentError::NoVolume { path });
    }
}

/// mongod's data directory, and what is mounted there.
pub(crate) fn data_mount(container: &Container) -> (&str, Option<&Mount>) {
    let path = option_value(&container.command, "--dbpath").unwrap_or("/data/db");
    let holds = |target: &str| {
        let target = target.trim_end_matches('/');
        path == target || path.starts_with(&format!("{target}/"))
    };
    // The innermost mount holds the data: an anonymous volume inside a named one still loses it.
    let innermost = container
        .mounts
        .iter()
        .filter(|m| holds(&m.target))
        .max_by_key(|m| m.target.trim_end_matches('/').len());
    (path, innermost)
}

/// The value of `--name value` or `--name=value`.
pub(crate) fn option_value<'a>(command: &'a [String], name: &str) -> Option<&'a str> {
    let mut words = command.iter().map(String::as_str);
    while let Some(word) = words.next() {
        match word.strip_prefix(name) {
            Some("") => return words.next(),
            Some(rest) if rest.starts_with('=') => return rest.strip_prefix('='),
            Some(_) | None => {}
        }
    }
    None
}

#[cfg(test)]
mod tests;
