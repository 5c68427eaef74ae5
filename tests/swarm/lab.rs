//! The lab: a Swarm of several machines on this computer, and its life from start to end.

use crate::faults::Faults;
use crate::ground::{self, Claim, address};
use crate::images::ImageStore;
use crate::machine::Machine;
use crate::overlay::Client;
use crate::tools::{PATIENCE, two_at_a_time};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The number of the machine that the tests' own MongoDB clients run on: one more worker, drained,
/// so that no task ever gets there. Faults can name it like any other.
pub const CLIENT: usize = 99;

/// How many machines a scenario wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Machines 1 to this are managers.
    pub managers: usize,
    /// The machines after them are workers.
    pub workers: usize,
}

impl Shape {
    /// All machines that tasks can run on.
    pub fn nodes(self) -> usize {
        self.managers + self.workers
    }
}

/// A Swarm on machines of its own.
pub struct Lab {
    /// What the Swarm is made of.
    pub shape: Shape,
    pub(crate) machines: BTreeMap<usize, Machine>,
    pub(crate) node_ids: BTreeMap<usize, String>,
    pub(crate) stack: String,
    pub(crate) service_ids: BTreeMap<String, String>,
    pub(crate) faults: Faults,
    pub(crate) client: Option<Client>,
    pub(crate) deadline: Instant,
    began: Instant,
    steps: Vec<String>,
    figures: Vec<String>,
    images: ImageStore,
    _claim: Claim,
}

impl Lab {
    /// Makes the machines and joins them to a Swarm.
    pub fn start(shape: Shape) -> Result<Self> {
        ground::check_preconditions()?;
        let claim = ground::claim()?;
        Self::build(shape, claim).map_err(|why| why.context(keep_logs_of_start()))
    }

    fn build(shape: Shape, claim: Claim) -> Result<Self> {
        let began = Instant::now();
        ground::lay()?;
        let images = ImageStore::load().context("cannot load the images")?;
        let loaded = began.elapsed();
        let mut machines: BTreeMap<usize, Machine> =
            (1..=shape.nodes()).map(|n| (n, Machine::new(n))).collect();
        machines.insert(CLIENT, Machine::named(CLIENT, "client"));
        let mut lab = Self {
            shape,
            machines,
            node_ids: BTreeMap::new(),
            stack: String::new(),
            service_ids: BTreeMap::new(),
            faults: Faults::default(),
            client: None,
            deadline: began + Duration::from_secs(180),
            began,
            steps: Vec::new(),
            figures: Vec::new(),
            images,
            _claim: claim,
        };
        lab.plug_in_all()?;
        lab.form_swarm().context("cannot form the Swarm")?;
        let formed = began.elapsed();
        lab.step(format!(
            "lab of {} nodes up in {:.1} s, {:.1} s of it for images",
            shape.nodes(),
            formed.as_secs_f64(),
            loaded.as_secs_f64()
        ));
        Ok(lab)
    }

    /// Takes everything away.
    pub fn tear_down(self) -> Result<()> {
        drop(self.client);
        ground::give_up()
    }

    fn plug_in_all(&self) -> Result<()> {
        let machines: Vec<&Machine> = self.machines.values().collect();
        two_at_a_time(&machines, |machine| {
            self.images.give(machine)?;
            machine.plug_in()
        })?;
        two_at_a_time(&machines, |machine| machine.await_engine()).map(drop)
    }

    fn form_swarm(&mut self) -> Result<()> {
        let first = address(1);
        self.machine(1).docker(
            PATIENCE,
            &[
                "swarm",
                "init",
                "--advertise-addr",
                &first,
                "--listen-addr",
                &first,
            ],
            &[],
        )?;
        let token = |role| {
            self.machine(1)
                .docker(PATIENCE, &["swarm", "join-token", "--quiet", role], &[])
        };
        let (manager, worker) = (token("manager")?, token("worker")?);
        let join = |machine: &Machine, token: &str| {
            let own = machine.address();
            let join = [
                "swarm",
                "join",
                "--token",
                token,
                "--advertise-addr",
                &own,
                "--listen-addr",
                &own,
                &first,
            ];
            machine.docker(PATIENCE, &join, &[]).map(drop)
        };
        for number in 2..=self.shape.managers {
            join(self.machine(number), &manager)?;
        }
        let workers: Vec<&Machine> = self
            .machines
            .values()
            .filter(|machine| machine.number > self.shape.managers)
            .collect();
        two_at_a_time(&workers, |machine| join(machine, &worker))?;
        self.node_ids = self
            .machines
            .values()
            .map(|machine| {
                let info = machine.ask("/info")?;
                let id = info["Swarm"]["NodeID"]
                    .as_str()
                    .context("a machine without a node id")?;
                Ok((machine.number, id.to_owned()))
            })
            .collect::<Result<_>>()?;
        self.docker(&["node", "update", "--availability", "drain", "client"])?;
        self.await_nodes_as_made()
    }

    /// Waits until every node is Ready, in its role and with its availability.
    pub(crate) fn await_nodes_as_made(&mut self) -> Result<()> {
        self.await_until("all nodes are Ready", Duration::from_secs(60), |lab| {
            let nodes = lab.nodes()?;
            let as_made = |node: &Value, number: usize| {
                let manager = node["ManagerStatus"]["Reachability"] == "reachable";
                let availability = if number == CLIENT { "drain" } else { "active" };
                node["Status"]["State"] == "ready"
                    && node["Spec"]["Availability"] == availability
                    && manager == (number <= lab.shape.managers)
                    && node["Spec"]["Labels"]
                        .as_object()
                        .is_none_or(serde_json::Map::is_empty)
            };
            Ok(nodes.len() == lab.machines.len()
                && lab
                    .machines
                    .keys()
                    .all(|number| nodes.get(number).is_some_and(|node| as_made(node, *number))))
        })
    }

    /// The machine of that number. Panics where there is none: the scenario is wrong then.
    pub fn machine(&self, number: usize) -> &Machine {
        self.machines
            .get(&number)
            .unwrap_or_else(|| panic!("the lab has no node {number}"))
    }

    /// Gives the coming scenario its time, and a clean page for its steps and figures.
    pub(crate) fn begin(&mut self, limit: Duration) {
        self.began = Instant::now();
        self.deadline = self.began + limit;
        self.steps.clear();
        self.figures.clear();
    }

    /// What is left of the scenario's time; an error once there is none.
    pub(crate) fn time_left(&self) -> Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            bail!("the scenario's time is up");
        }
        Ok(left)
    }

    /// Writes a step into the scenario's record, with the time.
    pub fn step(&mut self, words: impl Into<String>) {
        let line = format!(
            "{:7.2} s  {}",
            self.began.elapsed().as_secs_f64(),
            words.into()
        );
        if std::env::var_os("SWARMSET_LAB_TRACE").is_some() {
            eprintln!("  {line}");
        }
        self.steps.push(line);
    }

    /// Adds to the one line of figures that a scenario prints.
    pub fn figure(&mut self, words: impl Into<String>) {
        let words = words.into();
        self.step(format!("figure: {words}"));
        self.figures.push(words);
    }

    /// The record of the scenario's steps.
    pub(crate) fn record(&self) -> String {
        self.steps.join("\n")
    }

    /// The scenario's figures in one line.
    pub(crate) fn figures(&self) -> String {
        self.figures.join("; ")
    }
}

/// Saves the logs of a lab that did not start, and says where they are.
fn keep_logs_of_start() -> String {
    let directory = crate::tools::reports().join("start");
    let _ = std::fs::create_dir_all(&directory);
    for machine in std::fs::read_dir(ground::ROOT)
        .into_iter()
        .flatten()
        .flatten()
    {
        for log in ["dockerd.log", "console.log"] {
            let name = format!("{}-{log}", machine.file_name().to_string_lossy());
            let _ = std::fs::copy(machine.path().join(log), directory.join(name));
        }
    }
    format!("its logs are in {}", directory.display())
}
