//! The doctor: what bites people on Swarm, found before it does. Pure: from an [`Observation`] to findings.
//!
//! One file a subject, each with the checks that it makes. A finding changes nothing: it is advice, and does not
//! count for `converged`. A new check is a variant of [`Check`], a function, a case in `doctor/cases.txt`, and a line
//! in the README.

mod agents;
mod memory;
mod network;
mod process;
mod rollout;
mod stop;
mod storage;
mod voters;

use serde::{Deserialize, Serialize};

use crate::intent::{self, Intent, LABEL_ROLE, intent};
use crate::names::ServiceId;
use crate::observation::{Observation, TaskSeen};
use crate::swarm::model::{Mount, Node, Service, Swarm, Task};

/// Something that is going to bite.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is about: `service <name>`, `network <name>`, `node <name>` or `agent`.
    pub about: String,
    /// Which check found it.
    pub check: Check,
    /// What was found.
    pub found: String,
    /// Why that matters.
    pub why: String,
    /// The line to change, as it stands in a stack file, or the command.
    pub fix: String,
}

/// How bad a finding is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, strum::Display,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Severity {
    /// Data, or the set as a whole, can be lost; or it cannot work like this.
    Danger,
    /// It hurts on the day that something else goes wrong.
    Warning,
    /// It could be better.
    Advice,
}

/// What is checked. The names are those in `/status`.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumIter,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Check {
    /// The service has a virtual IP.
    VirtualIp,
    /// SIGKILL comes before mongod is done, or before its successor is.
    GraceTooShort,
    /// Members are held, and the agent cannot end them.
    HeldWithoutKey,
    /// Swarm sets the pace of stops.
    NotHeld,
    /// A data directory in an anonymous volume, or in the container.
    NoNamedVolume,
    /// An anonymous volume that the image makes.
    AnonymousVolume,
    /// Two tasks of one node share a volume.
    SharedVolume,
    /// A task on an empty disk would bear a member's old name.
    OldNameEmptyDisk,
    /// A health check that needs the set.
    HealthCheckNeedsSet,
    /// The new task starts before the old one ends.
    StartFirst,
    /// Several tasks are updated at a time.
    UpdateParallelism,
    /// An update does not wait between tasks.
    UpdateDelay,
    /// An even number of voters.
    EvenVoters,
    /// Too many voters on one node.
    MajorityOnOneNode,
    /// Too many voters in one zone.
    MajorityInOneZone,
    /// The agent cannot reach the members.
    NetworkNotShared,
    /// An encrypted network with full-size packets.
    EncryptedMtu,
    /// There is no key file where mongod looks for it.
    KeyFileMissing,
    /// Others may read the key file.
    KeyFileMode,
    /// mongod may not read the key file.
    KeyFileOwner,
    /// The image's entrypoint is bypassed.
    EntrypointBypassed,
    /// mongod listens on the loop-back address only.
    BindIp,
    /// The agent runs on some managers only.
    OneAgent,
    /// The Docker API is older than the agent needs.
    ApiVersion,
    /// No limit on the cache.
    DefaultCache,
    /// Caches beyond the memory.
    CacheTooBig,
}

/// Looks at everything. The worst comes first.
pub fn examine(observation: &Observation, agent: Option<&ServiceId>) -> Vec<Finding> {
    let Some(swarm) = observation.swarm.seen() else {
        return Vec::new();
    };
    let agent = agent.and_then(|id| swarm.services.get(id));
    let tasks = observation.tasks_by_service(swarm);
    let services = swarm.services.values();
    let patients: Vec<Patient<'_>> = services
        .filter_map(|service| {
            let own = tasks.get(&service.id).map_or(&[][..], Vec::as_slice);
            Patient::new(observation, swarm, service, own)
        })
        .collect();
    let crowds = memory::crowds(&patients);
    let mut findings = Vec::new();
    for patient in &patients {
        network::examine(patient, agent, &mut findings);
        process::examine(patient, &mut findings);
        if patient.role == Role::Data {
            stop::examine(patient, &mut findings);
            storage::examine(patient, &mut findings);
            rollout::examine(patient, &mut findings);
            voters::examine(patient, &mut findings);
            memory::examine(patient, &crowds, &mut findings);
        }
    }
    if !patients.is_empty() {
        storage::shared_between_services(&patients, &mut findings);
        network::encrypted(&patients, &mut findings);
        memory::on_nodes(&patients, &mut findings);
        agents::examine(swarm, agent, &mut findings);
    }
    findings.sort();
    findings
}

/// A service with what belongs to it.
struct Patient<'a> {
    observation: &'a Observation,
    swarm: &'a Swarm,
    service: &'a Service,
    role: Role,
    /// `None`: it has a mistake, which is a fault already.
    intent: Option<Intent>,
    /// Its tasks that run, or are to run.
    tasks: Vec<&'a Task>,
}

/// What a service's processes do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// mongod.
    Data,
    /// mongos.
    Router,
}

impl<'a> Patient<'a> {
    /// `None` for a service that is not ours.
    fn new(
        observation: &'a Observation,
        swarm: &'a Swarm,
        service: &'a Service,
        tasks: &[TaskSeen<'a>],
    ) -> Option<Self> {
        let role = match service.labels.get(LABEL_ROLE)?.as_str() {
            "router" => Role::Router,
            _ => Role::Data,
        };
        let own = tasks
            .iter()
            .map(|(task, _)| *task)
            .filter(|t| t.is_wanted());
        Some(Self {
            observation,
            swarm,
            service,
            role,
            intent: intent(service).and_then(Result::ok),
            tasks: own.collect(),
        })
    }

    /// mongod's data directory, and what is mounted there.
    fn data_mount(&self) -> (&'a str, Option<&'a Mount>) {
        let label = self.service.labels.get(LABEL_ROLE).map(String::as_str);
        let role = label.and_then(intent::Role::of);
        let role = role.unwrap_or(intent::Role::ReplicaSet);
        intent::data_mount(&self.service.container, role)
    }

    fn about(&self) -> String {
        format!("service {}", self.service.name)
    }

    fn finding(&self, severity: Severity, check: Check, found: impl Into<String>) -> Draft {
        Draft {
            severity,
            about: self.about(),
            check,
            found: found.into(),
        }
    }

    /// Whether mongod may be told things by a file that is not seen here.
    fn has_config_file(&self) -> bool {
        self.has_option(&["--config", "-f"])
    }

    fn has_option(&self, names: &[&str]) -> bool {
        self.service.container.command.iter().any(|word| {
            let name = word.split_once('=').map_or(word.as_str(), |(name, _)| name);
            names.contains(&name)
        })
    }

    /// Whether the image is MongoDB's own on Docker Hub, or one that is made after it.
    fn has_official_image(&self) -> bool {
        let image = &self.service.container.image;
        let name = image.split('@').next().unwrap_or(image);
        let last = name.rsplit('/').next().unwrap_or(name);
        last.split(':').next() == Some("mongo")
    }

    fn node_of(&self, task: &Task) -> Option<&'a Node> {
        self.swarm.nodes.get(task.node.as_ref()?)
    }
}

/// A finding without its reason and remedy.
struct Draft {
    severity: Severity,
    about: String,
    check: Check,
    found: String,
}

impl Draft {
    fn because(self, why: impl Into<String>, fix: impl Into<String>) -> Finding {
        Finding {
            severity: self.severity,
            about: self.about,
            check: self.check,
            found: self.found,
            why: why.into(),
            fix: fix.into(),
        }
    }
}

#[cfg(test)]
mod tests;
