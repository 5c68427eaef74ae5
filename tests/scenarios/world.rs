//! A small world of services, tasks and mongods, and the [`Observation`] that an agent would make of it.
//!
//! What is not said is as usual, and all that the mongods report fits together: one configuration a set, and
//! statuses as the primary sees them.

#[path = "sharding.rs"]
pub mod sharding;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bson::{Document, doc, oid::ObjectId};
use jiff::{SignedDuration, Timestamp};
use swarmset::mongo::model::{
    InitialSync, MemberConfig, MemberReport, MemberState, MemberStatus, OpTime, Replication,
    ServerVersion, SetConfig, SetReport,
};
use swarmset::names::{Host, MemberId, NodeId, ReplicaSetId, SetName, Slot, TaskId};
use swarmset::observation::{Observation, Reading, Sharding};
use swarmset::swarm::model::{
    Availability, Claim, ClaimContent, Container, DesiredState, Node, NodeDetails, Service, Swarm,
    Task, TaskState,
};

/// The date of every observation, in seconds since 1970.
pub const NOW: i64 = 1_800_000_000;

/// Everything there is.
#[derive(Clone, Debug, Default)]
pub struct World {
    pub swarm: Answer,
    pub nodes: BTreeMap<String, Node>,
    pub services: Vec<ServiceWorld>,
    pub cluster: sharding::ClusterWorld,
}

/// How a manager answers.
#[derive(Clone, Debug, Default)]
pub enum Answer {
    #[default]
    Seen,
    Empty,
    Unreadable(String),
}

/// A service, its tasks, and the replica sets that their mongods know.
#[derive(Clone, Debug)]
pub struct ServiceWorld {
    /// Its name; with a mark behind it where there are two of one name.
    pub key: String,
    pub service: Service,
    /// Removed, while its tasks are still listed.
    pub gone: bool,
    pub tasks: Vec<TaskWorld>,
    /// By identity: `A` is the usual one.
    pub sets: BTreeMap<char, SetWorld>,
    pub claim: ClaimWorld,
}

/// The config object of the service's set.
#[derive(Clone, Debug)]
pub enum ClaimWorld {
    /// There is one, with the identity recorded, if a mongod is a member of `A`.
    Usual,
    Missing,
    Is(Box<Claim>),
}

/// A replica set, as its members know it.
#[derive(Clone, Debug)]
pub struct SetWorld {
    pub config: SetConfig,
    pub newly_added: BTreeSet<MemberId>,
    pub committed: Option<bool>,
    /// States of members that have no task here.
    pub seen: BTreeMap<MemberId, MemberState>,
}

/// A task and its mongod.
#[derive(Clone, Debug)]
pub struct TaskWorld {
    pub name: String,
    pub slot: Option<u64>,
    pub node: Option<String>,
    pub desired: DesiredState,
    pub state: TaskState,
    pub address: Option<IpAddr>,
    pub created: Option<Timestamp>,
    pub error: Option<String>,
    /// What it runs, where that is not the service's present specification.
    pub container: Option<Arc<Container>>,
    pub mongod: Mongod,
    /// What the primary says of it, where that is not what it says itself.
    pub seen: Option<MemberState>,
    pub version: ServerVersion,
    pub quiesce_ms: u64,
}

/// What a mongod answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Mongod {
    Silent(String),
    /// With so many collections that are not MongoDB's own.
    Empty(u64),
    Standalone,
    Loading,
    InSet(Membership),
    /// A mongos.
    Router,
}

/// A mongod that has a configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Membership {
    pub of: char,
    pub state: MemberState,
    /// `None`: it does not tell how far it has applied.
    pub lag: Option<i64>,
    pub sync: Option<InitialSync>,
    pub term: Option<i64>,
    pub self_id: Option<MemberId>,
}

impl Membership {
    pub fn new(of: char, state: MemberState) -> Self {
        Self {
            of,
            state,
            lag: Some(0),
            sync: (state == MemberState::Startup2).then(InitialSync::default),
            term: None,
            self_id: None,
        }
    }
}

/// The `replicaSetId` that a letter stands for. Its date is a month ago; that of `F`, fresh, is 4 s ago.
pub fn identity(letter: char) -> ReplicaSetId {
    let age = if letter == 'F' { 4 } else { 720 * 3600 };
    let rest = letter.to_ascii_lowercase().to_string().repeat(16);
    ReplicaSetId::new(format!("{:08x}{rest}", NOW - age))
}

pub fn now() -> Timestamp {
    Timestamp::from_second(NOW).expect("a date")
}

pub fn ago(duration: SignedDuration) -> Timestamp {
    now().checked_sub(duration).expect("a date")
}

pub fn node(name: &str) -> Node {
    Node {
        id: NodeId::new(name),
        hostname: format!("{name}.example"),
        ready: true,
        availability: Availability::Active,
        leader: name == "n1",
        manager: true,
        details: NodeDetails::default(),
    }
}

/// A configuration without members.
pub fn new_config(set: &SetName, of: char) -> SetConfig {
    let id = ObjectId::parse_str(identity(of).as_str()).expect("24 hexadecimal digits");
    SetConfig {
        set: set.clone(),
        version: 1,
        term: Some(1),
        members: Vec::new(),
        settings: doc! { "replicaSetId": id },
        other: Document::new(),
    }
}

impl World {
    /// Fills in what was not said: nodes that tasks run on, addresses, configurations.
    pub fn complete(&mut self) {
        for service in &mut self.services {
            for name in service.tasks.iter().filter_map(|t| t.node.clone()) {
                self.nodes
                    .entry(name)
                    .or_insert_with_key(|name| node(name.as_str()));
            }
            service.complete();
        }
    }

    /// What an agent sees.
    pub fn observe(&mut self) -> Observation {
        self.complete();
        let mut observation = Observation {
            now: now(),
            swarm: Reading::Seen(Swarm::default()),
            members: BTreeMap::new(),
            had_data: BTreeSet::new(),
            sharding: Sharding::default(),
        };
        let swarm = match &self.swarm {
            Answer::Unreadable(why) => {
                observation.swarm = Reading::Unreachable {
                    since: now(),
                    why: why.clone(),
                };
                return observation;
            }
            Answer::Empty => return observation,
            Answer::Seen => {
                let mut swarm = Swarm::default();
                for node in self.nodes.values() {
                    swarm.nodes.insert(node.id.clone(), node.clone());
                }
                swarm
            }
        };
        observation.swarm = Reading::Seen(swarm);
        for service in &self.services {
            service.show(&mut observation);
        }
        self.show_cluster(&mut observation);
        observation
    }
}

impl ServiceWorld {
    /// `--replSet`, else the service's name.
    pub fn set_name(&self) -> SetName {
        let words = &self.service.container.command;
        let at = words.iter().position(|w| w == "--replSet");
        let name = at.and_then(|at| words.get(at + 1));
        SetName::new(name.map_or(self.service.name.as_str(), String::as_str))
    }

    pub fn cluster(&self) -> &str {
        let label = self.service.labels.get("swarmset.cluster");
        let name = label.map(String::as_str).or(self.service.stack());
        name.unwrap_or(self.service.name.as_str())
    }

    pub fn claim_name(&self) -> String {
        format!("swarmset.{}.{}", self.cluster(), self.set_name())
    }

    pub fn port(&self) -> u16 {
        let words = &self.service.container.command;
        let at = words.iter().position(|w| w == "--port");
        let port = at.and_then(|at| words.get(at + 1)?.parse().ok());
        port.unwrap_or(27017)
    }

    /// A task's host name, by the service's template.
    pub fn host(&self, task: &TaskWorld) -> Option<Host> {
        let template = self.service.container.hostname.as_deref()?;
        let node = task.node.as_deref();
        if template.contains(".Node.") && node.is_none() {
            return None;
        }
        let slot = task.slot.map(|s| s.to_string()).unwrap_or_default();
        let name = template
            .replace("{{.Service.Name}}", self.service.name.as_str())
            .replace("{{.Task.Slot}}", &slot)
            .replace("{{.Node.ID}}", node.unwrap_or_default())
            .replace(
                "{{.Node.Hostname}}",
                &format!("{}.example", node.unwrap_or_default()),
            );
        Some(Host::new(format!("{name}:{}", self.port())))
    }

    /// The `_id` under which a mongod finds itself.
    pub fn self_id(&self, task: &TaskWorld) -> Option<MemberId> {
        let Mongod::InSet(membership) = &task.mongod else {
            return None;
        };
        let config = &self.sets.get(&membership.of)?.config;
        let (host, address) = (self.host(task), task.address);
        let mine = |m: &&MemberConfig| {
            Some(&m.host) == host.as_ref() || m.host.name().parse().ok() == address
        };
        let found = config.members.iter().find(|m| mine(m)).map(|m| m.id);
        membership.self_id.or(found)
    }

    fn complete(&mut self) {
        let number = 1 + self.key.bytes().fold(0, u8::wrapping_add).wrapping_rem(200);
        let mut used: BTreeSet<IpAddr> = self.tasks.iter().filter_map(|t| t.address).collect();
        let mut hosts = 1u8;
        for task in self.tasks.iter_mut().filter(|t| t.address.is_none()) {
            let mut address = IpAddr::V4(Ipv4Addr::new(10, 0, number, hosts));
            while !used.insert(address) {
                hosts += 1;
                address = IpAddr::V4(Ipv4Addr::new(10, 0, number, hosts));
            }
            task.address = Some(address);
        }
        let identities: BTreeSet<char> = self.memberships().map(|(_, m)| m.of).collect();
        for of in identities {
            if self.sets.contains_key(&of) {
                continue;
            }
            let mut config = new_config(&self.set_name(), of);
            let hosts = self.memberships().filter(|(_, m)| m.of == of);
            for host in hosts.filter_map(|(t, _)| self.host(t)) {
                if config.member_at(&host).is_none() {
                    let id = MemberId(i32::try_from(config.members.len()).expect("few"));
                    let mut member = MemberConfig::new(id, host);
                    if config.votes() == 7 {
                        member.put_beyond_seven();
                    }
                    config.members.push(member);
                }
            }
            self.sets.insert(of, SetWorld::new(config));
        }
    }

    pub fn is_router(&self) -> bool {
        self.role() == "router"
    }

    pub fn role(&self) -> &str {
        let role = self.service.labels.get("swarmset.role");
        role.map_or("", String::as_str)
    }

    fn memberships(&self) -> impl Iterator<Item = (&TaskWorld, &Membership)> {
        self.tasks.iter().filter_map(|t| match &t.mongod {
            Mongod::InSet(membership) => Some((t, membership)),
            _ => None,
        })
    }

    pub fn task_id(&self, task: &TaskWorld) -> TaskId {
        TaskId::new(format!("{}.{}", self.key, task.name))
    }

    fn show(&self, observation: &mut Observation) {
        for task in &self.tasks {
            if !matches!(task.state, TaskState::Ended | TaskState::Orphaned)
                && task.address != Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
                && !self.is_router()
            {
                let reading = self.reading(task);
                observation.members.insert(self.task_id(task), reading);
            }
        }
        let Reading::Seen(swarm) = &mut observation.swarm else {
            return;
        };
        if !self.gone {
            let service = self.service.clone();
            swarm.known_services.insert(service.id.clone());
            swarm.services.insert(service.id.clone(), service);
        }
        for task in &self.tasks {
            let id = self.task_id(task);
            let container = task.container.as_ref().unwrap_or(&self.service.container);
            let address = task.address.filter(|a| !a.is_unspecified());
            swarm.tasks.insert(
                id.clone(),
                Task {
                    id,
                    service: self.service.id.clone(),
                    slot: task.slot.map(Slot),
                    node: task.node.as_deref().map(NodeId::new),
                    desired: task.desired,
                    state: task.state,
                    container: container.clone(),
                    addresses: address.into_iter().collect(),
                    created: task.created,
                    reported: None,
                    error: task.error.clone(),
                },
            );
        }
        if let Some(claim) = self.claim() {
            swarm.claims.insert(self.claim_name(), claim);
        }
    }

    /// The config object, if there is one.
    pub fn claim(&self) -> Option<Claim> {
        match &self.claim {
            ClaimWorld::Missing => None,
            ClaimWorld::Is(claim) => Some(Claim::clone(claim)),
            ClaimWorld::Usual => {
                let members = &self.sets.get(&'A')?.config.members;
                let members: Vec<_> = members.iter().map(|m| m.host.to_string()).collect();
                Some(Claim {
                    id: "claim".into(),
                    version: 10,
                    created: Some(ago(SignedDuration::from_hours(720))),
                    content: Ok(ClaimContent {
                        initiator: members.first().cloned(),
                        members,
                    }),
                    replica_set_id: Some(identity('A')),
                })
            }
        }
    }

    fn reading(&self, task: &TaskWorld) -> Reading<MemberReport> {
        let replication = match &task.mongod {
            Mongod::Silent(why) => {
                return Reading::Unreachable {
                    since: now(),
                    why: why.clone(),
                };
            }
            Mongod::Empty(collections) => Replication::NotYetInitialised {
                collections: *collections,
            },
            Mongod::Standalone => Replication::NotEnabled,
            Mongod::Loading => Replication::LoadingConfig,
            Mongod::Router => unreachable!("routers are asked otherwise"),
            Mongod::InSet(membership) => {
                Replication::InSet(Box::new(self.report(task, membership)))
            }
        };
        let leaving = matches!(task.desired, DesiredState::Shutdown | DesiredState::Remove);
        Reading::Seen(MemberReport {
            version: task.version,
            quiesce_ms: leaving.then_some(task.quiesce_ms),
            replication,
        })
    }

    fn report(&self, task: &TaskWorld, membership: &Membership) -> SetReport {
        let set = &self.sets[&membership.of];
        let self_id = self.self_id(task);
        let mut members: Vec<_> = set
            .config
            .members
            .iter()
            .map(|m| self.status(set, membership.of, m))
            .collect();
        for own in members.iter_mut().filter(|m| Some(m.id) == self_id) {
            own.state = membership.state;
            own.healthy = true;
        }
        SetReport {
            state: membership.state,
            self_id,
            term: membership.term.or(set.config.term).unwrap_or(0),
            config: set.config.clone(),
            committed: (membership.state == MemberState::Primary)
                .then_some(set.committed)
                .flatten(),
            newly_added: set.newly_added.clone(),
            members,
            initial_sync: membership.sync,
        }
    }

    /// A member, as the primary sees it.
    fn status(&self, set: &SetWorld, of: char, member: &MemberConfig) -> MemberStatus {
        let is_it =
            |t: &&TaskWorld| self.self_id(t) == Some(member.id) && belongs(&t.mongod, Some(of));
        let has_name =
            |t: &&TaskWorld| self.host(t).as_ref() == Some(&member.identity()) && t.is_alive();
        let (mut named, mut it) = (
            self.tasks.iter().filter(has_name),
            self.tasks.iter().filter(is_it),
        );
        let task = it
            .next()
            .or_else(|| named.clone().find(|t| t.seen.is_some()))
            .or_else(|| named.next());
        let state = match task {
            None => set.seen.get(&member.id).copied(),
            Some(task) => task.seen.or(match &task.mongod {
                Mongod::InSet(m) if m.of == of => Some(m.state),
                Mongod::Empty(_) | Mongod::Loading => Some(MemberState::Startup),
                _ => None,
            }),
        };
        let state = state.unwrap_or(MemberState::Down);
        let lag = task.map_or(Some(0), |t| match &t.mongod {
            Mongod::InSet(m) => m.lag,
            _ => Some(0),
        });
        let applies = state.is_data_bearing() || state == MemberState::Recovering;
        let applied = lag.filter(|_| applies).map(|lag| OpTime {
            term: set.config.term.unwrap_or(0),
            seconds: u32::try_from(NOW - lag).expect("a lag"),
            increment: 1,
        });
        MemberStatus {
            id: member.id,
            host: member.host.clone(),
            state,
            healthy: state != MemberState::Down,
            applied,
            sync_source: (state == MemberState::Secondary).then(|| Host::from("source:27017")),
            message: None,
        }
    }
}

fn belongs(mongod: &Mongod, of: Option<char>) -> bool {
    matches!(mongod, Mongod::InSet(m) if of.is_none_or(|of| m.of == of))
}

impl SetWorld {
    pub fn new(config: SetConfig) -> Self {
        Self {
            config,
            newly_added: BTreeSet::new(),
            committed: Some(true),
            seen: BTreeMap::new(),
        }
    }
}

impl TaskWorld {
    pub fn is_alive(&self) -> bool {
        !matches!(self.state, TaskState::Ended | TaskState::Orphaned)
    }

    pub fn is_wanted(&self) -> bool {
        matches!(self.desired, DesiredState::Running | DesiredState::Ready) && self.is_alive()
    }
}
