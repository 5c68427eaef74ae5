//! The Swarm: its nodes, managers, tasks and claims, and what a manager tells of them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use jiff::Timestamp;
use swarmset::names::{Host, NodeId, Slot, TaskId};
use swarmset::swarm::model::{
    Availability, Claim, DesiredState, Node, NodeDetails, Service, Swarm, Task, TaskState,
    UpdateState,
};

use crate::cast::Cast;

/// The date at which every history begins, in seconds since 1970.
pub const BEGINNING: i64 = 1_800_000_000;
/// How many seconds of readings a stale manager may be behind.
const KEPT: usize = 40;

pub fn date(second: u64) -> Timestamp {
    Timestamp::from_second(BEGINNING + second as i64).expect("a date")
}

#[derive(Debug)]
pub struct SwarmWorld {
    pub service: Service,
    /// The service was removed (`docker stack rm`).
    pub removed: bool,
    pub tasks: BTreeMap<u32, SimTask>,
    pub nodes: BTreeMap<u8, SimNode>,
    pub claims: BTreeMap<String, Claim>,
    pub leader: Option<u8>,
    pub leader_lost: u64,
    /// Slots that a rolling update still has to come to, and the new task that it waits for.
    pub update: VecDeque<Slot>,
    pub updating: Option<u32>,
    pub next_task: u32,
    per_node: bool,
    readings: VecDeque<(u64, Rc<Swarm>)>,
    noted: u64,
}

#[derive(Debug)]
pub struct SimTask {
    pub task: Task,
    pub node: Option<u8>,
    /// It starts when this other task has ended, or at this second.
    pub after: Option<(u32, u64)>,
    pub starts_at: Option<u64>,
    /// When its node sends the stop signal, and when SIGKILL.
    pub signal_at: Option<u64>,
    pub kill_at: Option<u64>,
}

#[derive(Debug)]
pub struct SimNode {
    pub up: bool,
    pub manager: bool,
    pub availability: Availability,
    /// As the managers see it.
    pub ready: bool,
    pub unheard_since: Option<u64>,
    /// It was lost for good, with its disks.
    pub lost: bool,
    /// `docker node rm --force`.
    pub removed: bool,
}

impl SwarmWorld {
    pub fn new(cast: &Cast) -> Self {
        let node = |number| {
            let node = SimNode {
                up: true,
                manager: number <= cast.managers,
                availability: Availability::Active,
                ready: true,
                unheard_since: None,
                lost: false,
                removed: false,
            };
            (number, node)
        };
        Self {
            service: cast.service(),
            removed: false,
            tasks: BTreeMap::new(),
            nodes: (1..=cast.nodes).map(node).collect(),
            claims: BTreeMap::new(),
            leader: Some(1),
            leader_lost: 0,
            update: VecDeque::new(),
            updating: None,
            next_task: 1,
            per_node: cast.per_node,
            readings: VecDeque::new(),
            noted: 0,
        }
    }

    /// Makes a task in a slot; a manager places it later.
    pub fn new_task(&mut self, slot: Slot, after: Option<(u32, u64)>, now: u64) -> u32 {
        let number = self.next_task;
        self.next_task += 1;
        let task = Task {
            id: TaskId::new(format!("t{number}")),
            service: self.service.id.clone(),
            slot: Some(slot),
            node: None,
            desired: match after {
                Some(_) => DesiredState::Ready,
                None => DesiredState::Running,
            },
            state: TaskState::Pending,
            container: self.service.container.clone(),
            addresses: Vec::new(),
            created: Some(date(now)),
            reported: None,
            error: None,
        };
        let made = SimTask {
            task,
            node: None,
            after,
            starts_at: None,
            signal_at: None,
            kill_at: None,
        };
        self.tasks.insert(number, made);
        number
    }

    pub fn place(&mut self, number: u32, node: u8) {
        if let Some(task) = self.tasks.get_mut(&number) {
            task.node = Some(node);
            task.task.node = Some(NodeId::new(format!("n{node}")));
            let [high, low] = (number as u16).to_be_bytes();
            task.task.addresses = vec![IpAddr::V4(Ipv4Addr::new(10, 0, high, low))];
            task.task.error = None;
        }
    }

    /// A task's name, as its host name template says.
    pub fn host(&self, task: &SimTask) -> Option<Host> {
        let slot = task.task.slot?;
        let name = match (self.per_node, task.node?) {
            (true, node) => format!("mongo-{slot}-n{node}:27017"),
            (false, _) => format!("mongo-{slot}:27017"),
        };
        Some(Host::new(name))
    }

    /// Whether a task's name resolves: only while it is to run.
    pub fn is_in_dns(&self, number: u32) -> bool {
        self.tasks.get(&number).is_some_and(|t| {
            t.task.desired == DesiredState::Running && t.task.state == TaskState::Running
        })
    }

    /// What a manager that is up to date tells.
    fn tell(&self) -> Swarm {
        let mut swarm = Swarm::default();
        if !self.removed {
            let mut service = self.service.clone();
            if self.updating.is_some() || !self.update.is_empty() {
                service.update = UpdateState::Updating;
            }
            swarm.known_services.insert(service.id.clone());
            swarm.services.insert(service.id.clone(), service);
        }
        for task in self.tasks.values() {
            swarm.tasks.insert(task.task.id.clone(), task.task.clone());
        }
        for (number, node) in self.nodes.iter().filter(|(_, n)| !n.removed) {
            let id = NodeId::new(format!("n{number}"));
            swarm.nodes.insert(
                id.clone(),
                Node {
                    hostname: format!("{id}.example"),
                    id,
                    ready: node.ready,
                    availability: node.availability,
                    leader: self.leader == Some(*number),
                    manager: node.manager,
                    details: NodeDetails::default(),
                },
            );
        }
        swarm.claims = self.claims.clone();
        swarm
    }

    /// A number that changes with all that a manager tells, so that it need not be told each second.
    fn mark(&self) -> u64 {
        let mut hasher = std::hash::DefaultHasher::new();
        let updating = self.updating.is_some() || !self.update.is_empty();
        let service = &self.service;
        (
            self.removed,
            self.leader,
            updating,
            &service.id,
            service.replicas,
            service.container.force_update,
        )
            .hash(&mut hasher);
        for (number, task) in &self.tasks {
            let Task {
                desired,
                state,
                error,
                ..
            } = &task.task;
            (
                number,
                *desired as u8,
                *state as u8,
                task.node,
                error.is_some(),
            )
                .hash(&mut hasher);
        }
        for (number, node) in &self.nodes {
            (number, node.ready, node.removed, node.availability as u8).hash(&mut hasher);
        }
        for (name, claim) in &self.claims {
            (name, &claim.id, claim.version).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// Keeps what a manager would tell now, for those who ask now, or get a stale answer later.
    pub fn note(&mut self, now: u64) {
        let mark = self.mark();
        if mark == self.noted {
            return;
        }
        self.noted = mark;
        let reading = self.tell();
        self.readings.push_back((now, Rc::new(reading)));
        if self.readings.len() > KEPT {
            self.readings.pop_front();
        }
    }

    /// The reading of that second, or the oldest there is.
    pub fn reading(&self, second: u64) -> Rc<Swarm> {
        let known = self.readings.iter().rev().find(|(at, _)| *at <= second);
        let reading = known.or(self.readings.front());
        reading.map_or_else(|| Rc::new(self.tell()), |(_, swarm)| Rc::clone(swarm))
    }

    /// Slots in which a task is to run, with one such task each.
    pub fn slots(&self) -> BTreeSet<Slot> {
        let wanted = self.tasks.values().filter(|t| t.task.is_wanted());
        wanted.filter_map(|t| t.task.slot).collect()
    }
}

/// A task's number, from its id.
pub fn number_of(id: &TaskId) -> u32 {
    let digits = id.as_str().trim_start_matches('t');
    digits.parse().expect("an id that was made here")
}
