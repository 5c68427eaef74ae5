//! What a person asks for: a service's labels and specification, read into an [`Intent`].
//!
//! A mistake is a fault of that one service; every message names what was found, where, and what is allowed.

mod container;
mod labels;
mod router;
mod template;

use std::collections::BTreeMap;
use std::sync::Arc;

use thiserror::Error;

pub use container::mongod_port;
pub(crate) use container::{data_mount, option_value};
pub use labels::MemberOptions;
pub use router::{ConfigDb, RouterIntent, routers};
pub use template::HostTemplate;

use crate::names::{ClusterName, Host, ServiceId, ServiceName, SetKey, SetName, Slot};
use crate::swarm::model::{Container, Service, Swarm, Task};

/// The label that makes a service ours.
pub const LABEL_ROLE: &str = "swarmset.role";
/// The label that names the cluster.
pub const LABEL_CLUSTER: &str = "swarmset.cluster";
/// The label that names the replica set.
pub const LABEL_REPLICA_SET: &str = "swarmset.replica-set";
/// The label that says that a shard is to be emptied and removed.
pub const LABEL_DRAIN: &str = "swarmset.drain";
/// The label that says that the config servers are to be a shard, too.
pub const LABEL_CONFIG_SHARD: &str = "swarmset.config-shard";

/// The largest number of tasks that one service may ask for: MongoDB's limit on members
/// (manual, "Replica Set Members").
pub const MAX_MEMBERS: usize = 50;
/// The largest number of members with a vote (same page).
pub const MAX_VOTERS: usize = 7;

/// The longest name that Swarm takes for a config object (swarmkit, `validateConfigOrSecretAnnotations`).
const MAX_CONFIG_NAME: usize = 64;

/// What a service's mongods are for. Routers have no data and are no replica set: [`RouterIntent`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A replica set of its own.
    ReplicaSet,
    /// The config servers of a sharded cluster.
    ConfigServer,
    /// One shard of a sharded cluster.
    Shard,
}

impl Role {
    /// The role with this name in a label; `None` for a router and for anything else.
    pub fn of(label: &str) -> Option<Self> {
        match label {
            "replica-set" => Some(Self::ReplicaSet),
            "config-server" => Some(Self::ConfigServer),
            "shard" => Some(Self::Shard),
            _ => None,
        }
    }

    /// Its name in a label.
    pub fn name(self) -> &'static str {
        match self {
            Self::ReplicaSet => "replica-set",
            Self::ConfigServer => "config-server",
            Self::Shard => "shard",
        }
    }

    /// The option that mongod has to be started with.
    pub fn option(self) -> Option<&'static str> {
        match self {
            Self::ReplicaSet => None,
            Self::ConfigServer => Some("--configsvr"),
            Self::Shard => Some("--shardsvr"),
        }
    }
}

/// The names that the role's label may have.
const ROLES: &str = "replica-set, config-server, shard, router";
/// The role of services that run mongos.
const ROUTER: &str = "router";

/// What one service asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Intent {
    /// The service.
    pub service: ServiceId,
    /// The service's name.
    pub name: ServiceName,
    /// What its mongods are for.
    pub role: Role,
    /// The replica set that its tasks are members of.
    pub key: SetKey,
    /// The shard is to be emptied and removed.
    pub drain: bool,
    /// The config servers are to be a shard, too.
    pub config_shard: bool,
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
    pub container: Arc<Container>,
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
    #[error(
        "label {label} is set, but {LABEL_ROLE} is not; add {LABEL_ROLE}: replica-set (or config-server, shard, router)"
    )]
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
    /// mongod is started for another role.
    #[error("command has {option}, which role {role} does not take; remove it")]
    ShardingOption {
        /// The option.
        option: String,
        /// The service's role.
        role: &'static str,
    },
    /// mongod is not started for the role.
    #[error("command has no {option}, which role {role} needs; add it")]
    NoRoleOption {
        /// The option.
        option: &'static str,
        /// The service's role.
        role: &'static str,
    },
    /// The command starts the other program.
    #[error("command starts {found}, and role {role} needs {wanted}")]
    OtherProgram {
        /// What it starts.
        found: String,
        /// The service's role.
        role: &'static str,
        /// What it should start.
        wanted: &'static str,
    },
    /// The router is not told where the config servers are.
    #[error(
        "command has no --configdb; add --configdb <the config servers' --replSet>/<their service>:<port>"
    )]
    NoConfigDb,
    /// What the router is told of the config servers cannot be followed.
    #[error("--configdb {found:?}: {why}; allowed <set>/<host>:<port>[,<host>:<port> ...]")]
    BadConfigDb {
        /// The value.
        found: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A label that this role does not take.
    #[error("label {label} is not for role {role}; {allowed}")]
    LabelOfOtherRole {
        /// The label.
        label: String,
        /// The service's role.
        role: &'static str,
        /// Where it belongs, or what else to do.
        allowed: &'static str,
    },
    /// A router that takes no notice of its stop signal.
    #[error(
        "stop_signal is one that mongos takes no notice of, and nobody else ends a router: remove it"
    )]
    HeldRouter,
    /// MongoDB keeps this name for itself.
    #[error("--replSet config: MongoDB takes no shard of this name; choose another")]
    ReservedName,
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
    /// Services that run routers.
    pub routers: Vec<RouterIntent>,
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
        if let Some(router) = router::router(service) {
            match router {
                Ok(router) => found.routers.push(router),
                Err(bad) => found.bad.push(bad),
            }
            continue;
        }
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

/// Reads one service whose tasks are members of a set; `None` if it is none of these, or not ours.
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
    let role = match service.labels.get(LABEL_ROLE) {
        Some(label) if label == ROUTER => return None,
        Some(label) => Role::of(label).ok_or_else(|| IntentError::BadLabel {
            label: LABEL_ROLE.into(),
            found: label.clone(),
            allowed: ROLES.into(),
        }),
        None => Err(IntentError::NoRole {
            label: first.clone(),
        }),
    };
    let role = match role {
        Ok(role) => role,
        Err(error) => {
            errors.push(error);
            return bad(None, errors);
        }
    };
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
    if role == Role::Shard && key.set.as_str() == "config" {
        errors.push(IntentError::ReservedName);
    }
    let members = labels::member_options(&service.labels, role, &mut errors);
    let replicas = replicas(service, &mut errors);
    let port = container::port(&service.container, &mut errors);
    container::check(&service.container, role, &mut errors);
    let asks = |label| service.labels.get(label).is_some_and(|v| v == "true");
    let template = match &service.container.hostname {
        None => Err(IntentError::NoHostname),
        Some(text) => HostTemplate::parse(text),
    };
    match template {
        Ok(template) if errors.is_empty() => Some(Ok(Intent {
            service: service.id.clone(),
            name: service.name.clone(),
            role,
            key,
            drain: asks(LABEL_DRAIN),
            config_shard: asks(LABEL_CONFIG_SHARD),
            replicas,
            template,
            port,
            members,
            stop: Stop::of(&service.container),
            container: Arc::clone(&service.container),
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

#[cfg(test)]
mod tests;
