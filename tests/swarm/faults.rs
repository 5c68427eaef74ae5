//! What goes wrong: machines without power, cut cables, killed and frozen processes.

use crate::ground::address;
use crate::lab::Lab;
use crate::stack::Task;
use crate::tools::two_at_a_time;
use anyhow::{Context, Result, ensure};

/// Swarm's own traffic between nodes: managers' API and Raft, and gossip. Overlay data (UDP 4789)
/// is not among it.
const CONTROL_PORTS: [&[&str]; 6] = [
    &["-p", "tcp", "--dport", "2377"],
    &["-p", "tcp", "--sport", "2377"],
    &["-p", "tcp", "--dport", "7946"],
    &["-p", "tcp", "--sport", "7946"],
    &["-p", "udp", "--dport", "7946"],
    &["-p", "udp", "--sport", "7946"],
];

/// Packets that do not arrive.
#[derive(Clone, Debug)]
struct Cut {
    from: usize,
    to: usize,
    control_only: bool,
}

/// The faults of the moment, so that they can be undone, and done again to a revived machine.
#[derive(Default)]
pub(crate) struct Faults {
    /// The manager to speak through, where it matters.
    pub(crate) spokesman: Option<usize>,
    cuts: Vec<Cut>,
    frozen: Vec<(usize, String)>,
}

impl Lab {
    /// Pulls a node's plug: engine and containers are gone at once, the disk stays.
    pub fn kill_node(&mut self, node: usize) -> Result<()> {
        self.step(format!("node {node} dies"));
        self.machine(node).unplug()
    }

    /// Plugs a node in again, with the disk that it had.
    pub fn revive_node(&mut self, node: usize) -> Result<()> {
        self.step(format!("node {node} comes back"));
        self.machine(node).plug_in()?;
        self.apply_cuts_to(node)?;
        self.machine(node).await_engine()
    }

    /// Lets no packet through between two sets of nodes.
    pub fn partition(&mut self, one: &[usize], other: &[usize]) -> Result<()> {
        self.step(format!("partition {one:?} from {other:?}"));
        self.cut(one, other, false)?;
        self.cut(other, one, false)?;
        self.speak_through_the_larger(one, other);
        Ok(())
    }

    /// Lets no packet through from the one set of nodes to the other; the other way is open.
    pub fn partition_one_way(&mut self, from: &[usize], to: &[usize]) -> Result<()> {
        self.step(format!("partition from {from:?} to {to:?}, one way"));
        self.cut(from, to, false)?;
        self.speak_through_the_larger(from, to);
        Ok(())
    }

    /// Cuts a node off from the managers as far as Swarm's own traffic goes. Its containers run on and
    /// reach the others' as before.
    pub fn cut_from_managers(&mut self, node: usize) -> Result<()> {
        self.step(format!("cut node {node} from the managers"));
        let managers: Vec<usize> = (1..=self.shape.managers)
            .filter(|manager| *manager != node)
            .collect();
        self.cut(&[node], &managers, true)?;
        self.cut(&managers, &[node], true)?;
        self.speak_through(managers[0]);
        Ok(())
    }

    /// Ends all partitions.
    pub fn heal(&mut self) -> Result<()> {
        self.step("heal all partitions");
        let cut: Vec<usize> = self.faults.cuts.drain(..).map(|cut| cut.to).collect();
        for node in cut {
            if self.machine(node).runs() {
                self.machine(node).drop_nothing()?;
            }
        }
        self.faults.spokesman = None;
        Ok(())
    }

    fn cut(&mut self, from: &[usize], to: &[usize], control_only: bool) -> Result<()> {
        for &to in to {
            self.faults.cuts.extend(from.iter().map(|&from| Cut {
                from,
                to,
                control_only,
            }));
        }
        to.iter().try_for_each(|&node| self.apply_cuts_to(node))
    }

    fn apply_cuts_to(&self, node: usize) -> Result<()> {
        let machine = self.machine(node);
        if !machine.runs() {
            return Ok(());
        }
        machine.drop_nothing()?;
        for cut in self.faults.cuts.iter().filter(|cut| cut.to == node) {
            let conditions: &[&[&str]] = if cut.control_only {
                &CONTROL_PORTS
            } else {
                &[&[]]
            };
            for conditions in conditions {
                machine.drop_from(&address(cut.from), conditions)?;
            }
        }
        Ok(())
    }

    fn speak_through_the_larger(&mut self, one: &[usize], other: &[usize]) {
        let managers_besides = |cut: &[usize]| {
            (1..=self.shape.managers)
                .filter(|node| !cut.contains(node))
                .collect::<Vec<_>>()
        };
        let (without_one, without_other) = (managers_besides(one), managers_besides(other));
        let larger = if without_one.len() >= without_other.len() {
            without_one
        } else {
            without_other
        };
        self.faults.spokesman = larger.first().copied();
    }

    /// Kills a member's process; Swarm starts a new task. Without a service's name: see [`Lab::kill_task`].
    pub fn kill_mongod(&mut self, slot: u64) -> Result<()> {
        let task = self.member("mongo", slot)?;
        self.kill_task(&task)
    }

    /// Freezes a member, as a machine that swaps or a disk that hangs does.
    pub fn pause_mongod(&mut self, slot: u64) -> Result<()> {
        let task = self.member("mongo", slot)?;
        self.pause_task(&task)
    }

    /// Lets a frozen member go on.
    pub fn resume_mongod(&mut self, slot: u64) -> Result<()> {
        let task = self.member("mongo", slot)?;
        self.resume_task(&task)
    }

    /// The task of a slot that is to run.
    pub fn member(&mut self, service: &str, slot: u64) -> Result<Task> {
        let task = self
            .running(service)?
            .into_iter()
            .find(|task| task.slot == slot);
        task.with_context(|| format!("{service} has no running task in slot {slot}"))
    }

    /// Kills the agent on a node with SIGKILL; Swarm starts it again.
    pub fn kill_agent(&mut self, node: usize) -> Result<()> {
        let agent = self.agent_on(node)?;
        self.kill_task(&agent)
    }

    /// Kills the agent that acts: the one on the Swarm's leader. Returns its node.
    pub fn kill_agent_leader(&mut self) -> Result<usize> {
        let leader = self.leader()?;
        self.kill_agent(leader)?;
        Ok(leader)
    }

    /// Kills every agent at once.
    pub fn restart_agent(&mut self) -> Result<()> {
        let agents = self.running("agent")?;
        ensure!(!agents.is_empty(), "no agent runs");
        self.step("all agents die");
        two_at_a_time(&agents, |agent| self.signal_task("KILL", agent)).map(drop)
    }

    /// Freezes the agent on a node.
    pub fn pause_agent(&mut self, node: usize) -> Result<()> {
        let agent = self.agent_on(node)?;
        self.pause_task(&agent)
    }

    /// Lets a frozen agent go on.
    pub fn resume_agent(&mut self, node: usize) -> Result<()> {
        let agent = self.agent_on(node)?;
        self.resume_task(&agent)
    }

    fn agent_on(&mut self, node: usize) -> Result<Task> {
        let agent = self
            .running("agent")?
            .into_iter()
            .find(|task| task.node == Some(node));
        agent.with_context(|| format!("no agent runs on node {node}"))
    }

    /// Freezes a node's Docker engine; its containers run on.
    pub fn pause_dockerd(&mut self, node: usize) -> Result<()> {
        self.step(format!("Docker on node {node} freezes"));
        let pid = self.machine(node).run(&["cat", "/run/dockerd.pid"])?;
        self.freeze(node, pid)
    }

    /// Lets a frozen Docker engine go on.
    pub fn resume_dockerd(&mut self, node: usize) -> Result<()> {
        self.step(format!("Docker on node {node} goes on"));
        let pid = self.machine(node).run(&["cat", "/run/dockerd.pid"])?;
        self.thaw(node, &pid)
    }

    /// Kills a task's process with SIGKILL.
    pub fn kill_task(&mut self, task: &Task) -> Result<()> {
        self.step(format!("{task} dies"));
        self.signal_task("KILL", task)
    }

    /// Freezes a task's process.
    pub fn pause_task(&mut self, task: &Task) -> Result<()> {
        self.step(format!("{task} freezes"));
        let (node, pid) = self.process(task)?;
        self.freeze(node, pid)
    }

    /// Lets a frozen task go on.
    pub fn resume_task(&mut self, task: &Task) -> Result<()> {
        self.step(format!("{task} goes on"));
        let (node, pid) = self.process(task)?;
        self.thaw(node, &pid)
    }

    /// Sends a task's process any other signal.
    pub fn signal_task(&self, signal: &str, task: &Task) -> Result<()> {
        let (node, pid) = self.process(task)?;
        self.machine(node).signal(signal, &pid)
    }

    /// Where a task runs: its node, and its process as that node counts.
    fn process(&self, task: &Task) -> Result<(usize, String)> {
        let node = task.node.context("the task has no node")?;
        let container = task
            .container
            .as_deref()
            .context("the task has no container")?;
        let state = self
            .machine(node)
            .ask(&format!("/containers/{container}/json"))?;
        let pid = state["State"]["Pid"]
            .as_u64()
            .filter(|pid| *pid > 0)
            .context("the container does not run")?;
        Ok((node, pid.to_string()))
    }

    fn freeze(&mut self, node: usize, pid: String) -> Result<()> {
        self.machine(node).signal("STOP", &pid)?;
        self.faults.frozen.push((node, pid));
        Ok(())
    }

    fn thaw(&mut self, node: usize, pid: &str) -> Result<()> {
        self.faults
            .frozen
            .retain(|frozen| frozen != &(node, pid.to_owned()));
        self.machine(node).signal("CONT", pid)
    }

    /// Undoes all of the above that lasts.
    pub(crate) fn undo_faults(&mut self) -> Result<()> {
        self.heal()?;
        for (node, pid) in std::mem::take(&mut self.faults.frozen) {
            // The process may be long gone, and its machine too.
            let _ = self.machine(node).signal("CONT", &pid);
        }
        let dead: Vec<usize> = self
            .machines
            .keys()
            .copied()
            .filter(|node| !self.machine(*node).runs())
            .collect();
        for node in dead {
            self.revive_node(node)?;
        }
        Ok(())
    }
}
