//! What the managers do: raft, node states, the orchestrator, the scheduler, a rolling update.
//!
//! After swarmkit: `manager/orchestrator/{replicated,restart,update}`, `manager/scheduler`.

use std::collections::BTreeMap;

use swarmset::names::Slot;
use swarmset::swarm::model::{Availability, DesiredState, TaskState};

use crate::world::World;

/// A node that is not heard for so long is down.
const NODE_DOWN: u64 = 16;
/// A replacement starts after so long though its predecessor runs.
const REPLACEMENT_TIMEOUT: u64 = 60;
/// Between the end of a task and its replacement (`restart_policy.delay`).
const RESTART_DELAY: u64 = 5;

impl World {
    pub(crate) fn managers_act(&mut self) {
        self.elect_leader();
        if self.swarm.leader.is_none() {
            return;
        }
        self.judge_nodes();
        if self.swarm.removed {
            for task in self.swarm.tasks.values_mut() {
                task.task.desired = DesiredState::Remove;
            }
        } else {
            self.replace_tasks();
            self.scale();
            self.go_on_updating();
        }
        self.schedule();
        self.release_waiting();
        self.forget_ended();
    }

    /// A leader needs a majority of the managers.
    fn elect_leader(&mut self) {
        let nodes = &self.swarm.nodes;
        let managers: Vec<u8> = nodes
            .iter()
            .filter(|(_, n)| n.manager)
            .map(|(n, _)| *n)
            .collect();
        let can_lead = |of: &u8| {
            let heard = managers.iter().filter(|m| self.nodes_connected(*of, **m));
            2 * heard.count() > managers.len()
        };
        if self.swarm.leader.is_some_and(|l| can_lead(&l)) {
            return;
        }
        let next = managers.iter().copied().find(can_lead);
        if self.swarm.leader.take().is_some() {
            self.swarm.leader_lost = self.now;
        } else if next.is_some() && self.now >= self.swarm.leader_lost + 3 {
            self.swarm.leader = next;
        }
    }

    fn judge_nodes(&mut self) {
        let Some(leader) = self.swarm.leader else {
            return;
        };
        let numbers: Vec<u8> = self.swarm.nodes.keys().copied().collect();
        for number in numbers {
            let heard = self.nodes_connected(leader, number);
            let now = self.now;
            let Some(node) = self.swarm.nodes.get_mut(&number) else {
                continue;
            };
            if heard {
                node.unheard_since = None;
                node.ready = true;
            } else {
                let since = *node.unheard_since.get_or_insert(now);
                node.ready &= now < since + NODE_DOWN;
                if !node.ready {
                    self.note_node_struck(number);
                }
            }
        }
    }

    fn takes_tasks(&self, node: u8) -> bool {
        self.swarm
            .nodes
            .get(&node)
            .is_some_and(|n| n.ready && !n.removed && n.availability == Availability::Active)
    }

    /// Tasks that ended, or whose node is down or drained, get a successor in their slot.
    fn replace_tasks(&mut self) {
        let now = self.now;
        let mut successors: Vec<(Slot, u32, u64)> = Vec::new();
        for (number, task) in &self.swarm.tasks {
            let wanted = matches!(
                task.task.desired,
                DesiredState::Ready | DesiredState::Running
            );
            let (Some(slot), Some(node), true) = (task.task.slot, task.node, wanted) else {
                continue;
            };
            let node = &self.swarm.nodes[&node];
            if task.task.has_ended() {
                successors.push((slot, *number, now + RESTART_DELAY));
            } else if !node.ready || node.removed {
                successors.push((slot, *number, now));
            } else if node.availability == Availability::Drain {
                successors.push((slot, *number, now + REPLACEMENT_TIMEOUT));
            }
        }
        for (slot, old, at) in successors {
            let others = self.swarm.tasks.iter();
            let others = others.filter(|(n, t)| **n != old && t.task.slot == Some(slot));
            let replaced = others.filter(|(_, t)| t.task.is_wanted()).count() > 0;
            if let Some(task) = self.swarm.tasks.get_mut(&old) {
                task.task.desired = DesiredState::Shutdown;
                task.after = None;
            }
            if !replaced {
                self.swarm.new_task(slot, Some((old, at)), now);
            }
        }
    }

    /// New tasks in the lowest free slots; or victims: slots that do not run, then the fullest node's highest slot.
    fn scale(&mut self) {
        let replicas = self.swarm.service.replicas.unwrap_or(0);
        let mut slots = self.swarm.slots();
        while (slots.len() as u64) < replicas {
            let free = (1..).map(Slot).find(|s| !slots.contains(s));
            let slot = free.expect("a number");
            slots.insert(slot);
            self.swarm.new_task(slot, None, self.now);
        }
        while slots.len() as u64 > replicas {
            let Some(victim) = self.victim() else {
                return;
            };
            slots.remove(&victim);
            let in_slot = |t: &&mut crate::swarm::SimTask| t.task.slot == Some(victim);
            for task in self.swarm.tasks.values_mut().filter(in_slot) {
                task.task.desired = DesiredState::Remove;
                task.after = None;
            }
        }
    }

    fn victim(&self) -> Option<Slot> {
        let wanted = || self.swarm.tasks.values().filter(|t| t.task.is_wanted());
        let mut on_node: BTreeMap<u8, usize> = BTreeMap::new();
        for node in wanted().filter_map(|t| t.node) {
            *on_node.entry(node).or_default() += 1;
        }
        wanted()
            .filter_map(|t| {
                let runs = t.task.state == TaskState::Running;
                let load = t.node.and_then(|n| on_node.get(&n)).copied().unwrap_or(0);
                Some((!runs, load, t.task.slot?))
            })
            .max()
            .map(|(_, _, slot)| slot)
    }

    /// Puts waiting tasks on the nodes with the fewest.
    fn schedule(&mut self) {
        let waiting =
            |(_, t): &(&u32, &crate::swarm::SimTask)| t.node.is_none() && t.task.is_wanted();
        let numbers: Vec<u32> = self
            .swarm
            .tasks
            .iter()
            .filter(waiting)
            .map(|(n, _)| *n)
            .collect();
        for number in numbers {
            let load = |node: u8| {
                let here = |t: &&crate::swarm::SimTask| t.node == Some(node) && t.task.is_wanted();
                self.swarm.tasks.values().filter(here).count()
            };
            let open = self
                .swarm
                .nodes
                .keys()
                .copied()
                .filter(|n| self.takes_tasks(*n));
            let open: Vec<(usize, u8)> = open.map(|n| (load(n), n)).collect();
            let least = open.iter().map(|(load, _)| *load).min();
            let best: Vec<u8> = open
                .iter()
                .filter(|(l, _)| Some(*l) == least)
                .map(|(_, n)| *n)
                .collect();
            let best = self.with_volume(number, &open).unwrap_or(best);
            match self.dice(1, u64::from(number)).pick(&best) {
                Some(node) => {
                    self.swarm.place(number, node);
                    self.tell(|| format!("task t{number} is placed on n{node}"));
                }
                None => {
                    if let Some(task) = self.swarm.tasks.get_mut(&number) {
                        task.task.error = Some("no suitable node".into());
                    }
                }
            }
        }
    }

    /// The node that has the slot's volume already, where tasks are placed by that.
    fn with_volume(&self, number: u32, open: &[(usize, u8)]) -> Option<Vec<u8>> {
        let slot = self.swarm.tasks.get(&number)?.task.slot?;
        let has_it = |n: &u8| self.disks.contains_key(&self.volume_of(slot, *n));
        let nodes: Vec<u8> = open.iter().map(|(_, n)| *n).filter(has_it).collect();
        (self.cast.placed && !self.cast.volumes_follow && !nodes.is_empty()).then_some(nodes)
    }

    /// A successor starts when the one before it has ended, or after a time-out.
    fn release_waiting(&mut self) {
        let mut free = Vec::new();
        for (number, task) in &self.swarm.tasks {
            let Some((old, deadline)) = task.after else {
                continue;
            };
            let ended = self
                .swarm
                .tasks
                .get(&old)
                .is_none_or(|t| t.task.has_ended());
            let waits_for_delay =
                deadline > self.now && deadline <= self.now + RESTART_DELAY && ended;
            if self.now >= deadline || (ended && !waits_for_delay) {
                free.push(*number);
            }
        }
        for number in free {
            if let Some(task) = self.swarm.tasks.get_mut(&number) {
                task.after = None;
                if task.task.desired == DesiredState::Ready {
                    task.task.desired = DesiredState::Running;
                }
            }
        }
    }

    /// Goes to the next slot as soon as the new task of the last one runs.
    fn go_on_updating(&mut self) {
        if let Some(number) = self.swarm.updating {
            let task = self.swarm.tasks.get(&number);
            if task.is_some_and(|t| t.task.is_wanted() && t.task.state != TaskState::Running) {
                return;
            }
            self.swarm.updating = None;
        }
        let Some(slot) = self.swarm.update.pop_front() else {
            return;
        };
        let container = &self.swarm.service.container;
        let outdated = |(_, t): &(&u32, &crate::swarm::SimTask)| {
            t.task.slot == Some(slot) && t.task.is_wanted() && t.task.container != *container
        };
        let old = self.swarm.tasks.iter().find(outdated).map(|(n, _)| *n);
        let Some(old) = old else {
            return;
        };
        if let Some(task) = self.swarm.tasks.get_mut(&old) {
            task.task.desired = DesiredState::Shutdown;
            task.after = None;
        }
        let next = self
            .swarm
            .new_task(slot, Some((old, self.now + REPLACEMENT_TIMEOUT)), self.now);
        self.swarm.updating = Some(next);
    }

    /// What is to be removed goes when it has ended; what was replaced is kept a while (`task-history-limit`).
    fn forget_ended(&mut self) {
        let lost: Vec<u8> = self
            .swarm
            .nodes
            .iter()
            .filter(|(_, n)| n.removed)
            .map(|(n, _)| *n)
            .collect();
        let newest: BTreeMap<Slot, u32> = self
            .swarm
            .tasks
            .iter()
            .filter(|(_, t)| t.task.has_ended())
            .filter_map(|(n, t)| Some((t.task.slot?, *n)))
            .collect();
        self.swarm.tasks.retain(|number, t| {
            let never_started = t.task.state == TaskState::Pending && t.starts_at.is_none();
            let over = t.task.has_ended() || never_started;
            let on_lost = t.node.is_some_and(|n| lost.contains(&n));
            let stops = matches!(
                t.task.desired,
                DesiredState::Shutdown | DesiredState::Remove
            );
            let kept = t.task.slot.and_then(|s| newest.get(&s)) == Some(number);
            !(on_lost && stops
                || over && t.task.desired == DesiredState::Remove
                || over && stops && !kept)
        });
    }
}
