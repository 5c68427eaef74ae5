//! What a node does with its tasks: it starts containers, sends stop signals, kills, and reports.

use swarmset::intent::Stop;
use swarmset::mongo::model::MemberState;
use swarmset::names::Host;
use swarmset::swarm::model::{DesiredState, TaskState};

use crate::disk::Shelf;
use crate::mongod::{DEFAULT_QUIESCE_MS, Mongod};
use crate::oplog::Position;
use crate::world::World;

impl World {
    pub(crate) fn node_acts(&mut self, node: u8) {
        if !self.swarm.nodes[&node].up {
            return;
        }
        let here = |(_, t): &(&u32, &crate::swarm::SimTask)| t.node == Some(node);
        let numbers: Vec<u32> = self
            .swarm
            .tasks
            .iter()
            .filter(here)
            .map(|(n, _)| *n)
            .collect();
        let has_orders = self
            .swarm
            .leader
            .is_some_and(|l| self.nodes_connected(l, node));
        for number in numbers {
            self.kill_when_due(number);
            if has_orders {
                self.follow_orders(number);
                self.report(number);
            }
        }
    }

    /// Starts or stops one task, as the managers want.
    fn follow_orders(&mut self, number: u32) {
        let mut dice = self.dice(2, u64::from(number));
        let now = self.now;
        let Some(task) = self.swarm.tasks.get_mut(&number) else {
            return;
        };
        match (task.task.desired, task.task.state) {
            (DesiredState::Running, TaskState::Pending) => {
                task.starts_at = Some(now + dice.between(1, 4));
                task.task.state = TaskState::Starting;
            }
            (DesiredState::Running, TaskState::Starting) => {
                if task.starts_at.is_some_and(|at| now >= at) {
                    self.start_mongod(number);
                }
            }
            (DesiredState::Shutdown | DesiredState::Remove, TaskState::Running) => {
                let signal_at = *task.signal_at.get_or_insert(now + dice.between(1, 3));
                if now >= signal_at && task.kill_at.is_none() {
                    let grace = task.task.container.stop_grace_seconds.unwrap_or(10);
                    task.kill_at = Some(now + grace);
                    self.signal(number);
                }
            }
            (
                DesiredState::Shutdown | DesiredState::Remove,
                TaskState::Pending | TaskState::Starting,
            ) => {
                task.task.state = TaskState::Ended;
            }
            (DesiredState::Ready, _)
            | (DesiredState::Running, TaskState::Running)
            | (_, TaskState::Ended | TaskState::Orphaned) => {}
        }
    }

    fn start_mongod(&mut self, number: u32) {
        let place = self
            .swarm
            .tasks
            .get(&number)
            .and_then(|t| Some((t.task.slot?, t.node?)));
        let Some((slot, node)) = place else {
            return;
        };
        let volume = self.volume_of(slot, node);
        let disk = match self.disks.insert(volume, Shelf::InUse(number)) {
            Some(Shelf::Free(disk)) => disk,
            Some(in_use @ Shelf::InUse(_)) => {
                // The lock on the data directory: this mongod ends at once.
                self.disks.insert(volume, in_use);
                if let Some(task) = self.swarm.tasks.get_mut(&number) {
                    task.task.state = TaskState::Ended;
                    task.task.error = Some("DBPathInUse".into());
                }
                self.tell(|| format!("t{number} ends: another mongod has its volume open"));
                return;
            }
            None => self.new_disk(),
        };
        let task = &self.swarm.tasks[&number];
        let host = self.swarm.host(task).expect("it has a node");
        let address = Host::new(format!("{}:27017", task.task.addresses[0]));
        let generation = disk.generation;
        let mut dice = self.dice(3, u64::from(number));
        let ready_at = self.now + dice.between(0, 2);
        let mongod = Mongod {
            task: number,
            node,
            volume,
            host: host.clone(),
            address,
            state: MemberState::Startup,
            self_id: None,
            term: disk.voted.max(disk.oplog.last().term),
            disk,
            known: Default::default(),
            connected: Default::default(),
            primary: None,
            heard: ready_at,
            patience: dice.below(5),
            commit: Position::default(),
            must_commit: Position::default(),
            unacknowledged: Vec::new(),
            source: None,
            synced_at: None,
            quiesces_until: None,
            quiesce_ms: DEFAULT_QUIESCE_MS,
            frozen_until: 0,
            ready_at,
            stopped_until: 0,
            slow_until: 0,
            last_well: 0,
        };
        self.mongods.insert(number, mongod);
        if let Some(task) = self.swarm.tasks.get_mut(&number) {
            task.task.state = TaskState::Running;
        }
        self.tell(|| format!("t{number} runs as {host}, with data {generation}"));
    }

    /// The stop signal: mongod takes no notice of SIGCONT; at SIGTERM it hands over if it leads, and quiesces.
    fn signal(&mut self, number: u32) {
        let Some(task) = self.swarm.tasks.get(&number) else {
            return;
        };
        match Stop::of(&task.task.container) {
            Stop::Held => {}
            Stop::Signalled { .. } => {
                self.tell(|| format!("t{number} gets SIGTERM"));
                let now = self.now;
                let Some(mongod) = self.mongods.get_mut(&number) else {
                    return;
                };
                let led = mongod.leads();
                mongod.step_down();
                mongod.quiesces_until = Some(now + mongod.quiesce_ms / 1000);
                if led {
                    self.hand_off(number);
                }
            }
        }
    }

    fn kill_when_due(&mut self, number: u32) {
        let due = |task: &crate::swarm::SimTask| task.kill_at.is_some_and(|at| self.now >= at);
        let quiesced = self.mongods.get(&number).and_then(|m| m.quiesces_until);
        let is_over = quiesced.is_some_and(|until| self.now >= until);
        if self.swarm.tasks.get(&number).is_some_and(due) || is_over {
            if self.mongods.contains_key(&number) {
                let how = if is_over {
                    "has quiesced, and ends"
                } else {
                    "is killed: its grace is over"
                };
                self.tell(|| format!("t{number} {how}"));
                self.note_gone(number);
            }
            self.end_mongod(number);
        }
    }

    /// Tells the managers of a container that has ended.
    fn report(&mut self, number: u32) {
        let gone = !self.mongods.contains_key(&number);
        if let Some(task) = self.swarm.tasks.get_mut(&number)
            && gone
            && task.task.state == TaskState::Running
        {
            task.task.state = TaskState::Ended;
        }
    }
}
