//! Why nothing is done now: each reason reads like advice from a colleague.

use jiff::Timestamp;
use thiserror::Error;

use super::sharding::{ShardingFault, ShardingWait};
use crate::intent::IntentError;
use crate::mongo::model::{MemberState, ServerVersion};
use crate::names::{Host, ReplicaSetId, ServiceName, SetName};

/// Something that comes by itself, as far as is known. What to do if it does not is part of the text.
#[derive(Clone, Debug, PartialEq, Error, strum::IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Waiting {
    /// The Swarm could not be read.
    #[error(
        "the Swarm cannot be read ({why}); nothing is changed until it can: check that a majority of the managers is up"
    )]
    SwarmUnreadable {
        /// The error.
        why: String,
    },
    /// Swarm has not made all tasks yet.
    #[error("{found} of {wanted} tasks are assigned to a node{}; see docker service ps --no-trunc for the others", detail.as_deref().map(|d| format!(" ({d})")).unwrap_or_default())]
    TasksMissing {
        /// Tasks that are to run and have a node.
        found: usize,
        /// Tasks that the service asks for.
        wanted: u64,
        /// What Swarm says of one that is not there.
        detail: Option<String>,
    },
    /// Swarm has not yet said which tasks are to go.
    #[error(
        "{found} tasks are to run, and the service asks for {wanted}: Swarm has not yet said which are to go"
    )]
    TasksSurplus {
        /// Tasks that are to run.
        found: usize,
        /// Tasks that the service asks for.
        wanted: u64,
    },
    /// A mongod does not answer.
    #[error("{host} does not answer yet ({why}); if it stays so, see its log: docker service logs")]
    NotAnswering {
        /// Which.
        host: Host,
        /// The last error.
        why: String,
    },
    /// A mongod has not yet read its own configuration.
    #[error("{host} is still reading its configuration from disk")]
    LoadingConfig {
        /// Which.
        host: Host,
    },
    /// Members exist, and none is primary.
    #[error("no primary: {healthy} of {voters} voters answer, {needed} are needed to elect one{}", if healthy < needed { "; bring members back: no configuration is ever forced" } else { "; the election is under way" })]
    NoPrimary {
        /// Voters that are primary or secondary.
        healthy: usize,
        /// Voters in the configuration.
        voters: usize,
        /// The majority.
        needed: usize,
    },
    /// The primary is a member that is no task of the service.
    #[error(
        "{host} is primary, and is no task of this service: nothing is changed while it leads; let another stand (rs.stepDown there), or give it priority 0"
    )]
    PrimaryElsewhere {
        /// Which.
        host: Host,
    },
    /// The last change has not reached a majority.
    #[error("configuration {version} is not yet committed by a majority")]
    NotCommitted {
        /// The configuration.
        version: crate::mongo::model::ConfigVersion,
    },
    /// A new member copies the data.
    #[error("{host} is {state}{}: it votes once it has caught up", progress.as_deref().map(|p| format!(", {p}")).unwrap_or_default())]
    CatchingUp {
        /// Which.
        host: Host,
        /// Its state.
        state: MemberState,
        /// How far it is.
        progress: Option<String>,
    },
    /// A member is there and does not work.
    #[error("{host} is {state}{}", message.as_deref().map(|m| format!(" ({m})")).unwrap_or_default())]
    Unhealthy {
        /// Which.
        host: Host,
        /// Its state.
        state: MemberState,
        /// What the primary says of it.
        message: Option<String>,
    },
    /// A member has left for Swarm, and is needed until others are ready.
    #[error(
        "{host} is to leave; it stays until its successor has caught up and votes ({ready} of {wanted} are ready)"
    )]
    SuccessorNotReady {
        /// The leaver.
        host: Host,
        /// Members that stay, and are ready.
        ready: usize,
        /// Members that the service asks for.
        wanted: u64,
    },
    /// A member's task is gone, and Swarm has not yet said what comes instead.
    #[error("{host} has no task, and Swarm has not yet made another: it stays a member until then")]
    NoWordFromSwarm {
        /// Which.
        host: Host,
    },
    /// A removal or a restart would leave too few healthy voters.
    #[error(
        "{host} cannot leave now: {healthy} of {voters} voters would be healthy, {needed} are needed"
    )]
    MajorityAtRisk {
        /// Who is to leave.
        host: Host,
        /// Healthy voters without it.
        healthy: usize,
        /// Voters without it.
        voters: usize,
        /// The majority.
        needed: usize,
    },
    /// The primary is to leave, and nobody can take over yet.
    #[error(
        "{host} is primary and is to leave or to restart; no other member that stays is caught up and may be elected"
    )]
    NoCandidate {
        /// The primary.
        host: Host,
    },
    /// The primary is to leave, and its successor has not applied the newest writes.
    #[error(
        "{host} is primary and is to leave or to restart; {to} takes over once it has caught up ({lag_seconds} s behind): writes would be held up for as long"
    )]
    SuccessorBehind {
        /// The primary.
        host: Host,
        /// Who takes over.
        to: Host,
        /// How far it is behind, in whole seconds.
        lag_seconds: i64,
    },
    /// A restart in place waits for its turn.
    #[error(
        "{host} is to restart; it waits until {other} is well, which is {state} now: one at a time"
    )]
    RestartInTurn {
        /// Who waits.
        host: Host,
        /// For whom.
        other: Host,
        /// The other's state.
        state: MemberState,
    },
    /// The old task still holds the name and the data of the new one.
    #[error("{host} is restarting: its new task is not up yet")]
    Restarting {
        /// Which.
        host: Host,
    },
    /// Two tasks with the same name and data at the same time.
    #[error(
        "{host} has two live tasks with the same name and data; nothing is added or promoted until one has ended"
    )]
    TwoTasks {
        /// The name.
        host: Host,
    },
    /// Before the initiation: an old task's disk may hold a set.
    #[error(
        "{host} was told to stop and does not answer: whether it holds a set is not known, so none is initiated; bring its node back, or give it up: docker node rm --force"
    )]
    OldTaskUnheard {
        /// Which.
        host: Host,
    },
    /// Old members are being ended.
    #[error("{count} mongods of the dissolved set are being shut down")]
    Dissolving {
        /// How many are left.
        count: usize,
    },
    /// A safety rule forbids what was planned.
    #[error("held back by safety rule {rule}: {why}")]
    HeldBack {
        /// The rule's number in the design.
        rule: u8,
        /// What would have been broken.
        why: String,
    },
    /// More tasks than MongoDB takes members.
    #[error("{host} is beyond MongoDB's limit of 50 members")]
    BeyondFifty {
        /// Which.
        host: Host,
    },
    /// A member that no service of ours explains.
    #[error(
        "{host} in the configuration is no task of this service; it is left alone: rs.remove it if it is not yours"
    )]
    Stranger {
        /// Which.
        host: Host,
    },
    /// About a sharded cluster.
    #[error(transparent)]
    Sharding(#[from] ShardingWait),
}

/// Something that a person has to mend. It holds up only what it is about.
#[derive(Clone, Debug, PartialEq, Error, strum::IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Fault {
    /// A label or option that cannot be followed.
    #[error("service {service}: {error}")]
    BadService {
        /// The service.
        service: ServiceName,
        /// The mistake.
        error: IntentError,
    },
    /// One set name, several services.
    #[error("replica set {set} is named by services {}; give each its own --replSet", services.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and "))]
    ContestedName {
        /// The set.
        set: SetName,
        /// The services.
        services: Vec<ServiceName>,
    },
    /// A member of another set.
    #[error(
        "{host} belongs to replica set {found}, and this one is {ours}: it is not added; move its volume away, or deploy it where it belongs"
    )]
    ForeignMember {
        /// Which.
        host: Host,
        /// Its set.
        found: String,
        /// Ours.
        ours: String,
    },
    /// Several sets among the tasks, and no record says which is ours.
    #[error("the volumes belong to several replica sets ({}); nothing is changed until one is left: move the others away", sets.join("; "))]
    SeveralSets {
        /// Each set with its members.
        sets: Vec<String>,
    },
    /// A mongod that is no member yet has data that joining would erase.
    #[error(
        "{host} holds data of its own ({collections} collections), which joining the set would erase: it is not added; save the data and empty its volume, or initiate by hand there"
    )]
    HoldsData {
        /// Which.
        host: Host,
        /// Its collections, without MongoDB's own.
        collections: u64,
    },
    /// The set existed, and all members are empty.
    #[error("replica set {set} was initiated{}, and no member has its data now: bring the volumes back (was a task placed on another node?); if the data is given up for good: docker config rm {claim}", when.map(|w| format!(" on {w:.0}")).unwrap_or_default())]
    DataMissing {
        /// The set.
        set: SetName,
        /// When.
        when: Option<Timestamp>,
        /// The claim's name.
        claim: String,
    },
    /// The claim names other members than there are, and the set was never seen.
    #[error("config {claim} claims the initiation of {}, and the tasks are now {}; if nothing was ever written: docker config rm {claim}", claimed.join(", "), found.join(", "))]
    ClaimDiffers {
        /// The claim's name.
        claim: String,
        /// The members that it names.
        claimed: Vec<String>,
        /// The members that there are.
        found: Vec<String>,
    },
    /// The claim cannot be read.
    #[error(
        "config {claim} cannot be read ({why}); if it is not ours, remove it: docker config rm {claim}"
    )]
    ClaimUnreadable {
        /// The claim's name.
        claim: String,
        /// The error.
        why: String,
    },
    /// mongod runs without `--replSet`.
    #[error("{host} runs without --replSet; add it to the service's command")]
    NotReplicated {
        /// Which.
        host: Host,
    },
    /// The server is too old.
    #[error(
        "{host} runs MongoDB {found}; {} or later is needed",
        ServerVersion::OLDEST
    )]
    TooOld {
        /// Which.
        host: Host,
        /// Its version.
        found: ServerVersion,
    },
    /// mongod's set name is not the service's.
    #[error(
        "{host} is a member of {found}, and the service says {wanted}: set --replSet {found}, or use an empty volume"
    )]
    OtherSetName {
        /// Which.
        host: Host,
        /// Its set's name.
        found: SetName,
        /// The service's.
        wanted: SetName,
    },
    /// A known member lost its data, and the set cannot spare its vote.
    #[error(
        "{host} came back with an empty disk under its old _id, and the set cannot spare its vote now ({healthy} of {voters} voters healthy): bring another member back first"
    )]
    EmptyDisk {
        /// Which.
        host: Host,
        /// Healthy voters without it.
        healthy: usize,
        /// Voters without it.
        voters: usize,
    },
    /// A step was refused.
    #[error("{step}: {why}")]
    StepRefused {
        /// The step.
        step: String,
        /// What the server said.
        why: String,
    },
    /// Two identities where one must be.
    #[error(
        "the set is {found}, and config {claim} records {recorded}: it is not touched; if the old set is given up for good: docker config rm {claim}"
    )]
    IdentityDiffers {
        /// The claim's name.
        claim: String,
        /// The identity recorded.
        recorded: ReplicaSetId,
        /// The identity found.
        found: ReplicaSetId,
    },
    /// About a sharded cluster.
    #[error(transparent)]
    Sharding(#[from] ShardingFault),
}
