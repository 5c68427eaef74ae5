//! What a person does with a Swarm: deploy, scale, update, drain, look.

use crate::images;
use crate::lab::Lab;
use crate::machine::Machine;
use crate::tools::repo;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// One task of a service, as Swarm sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Swarm's id of it.
    pub id: String,
    /// Which of the service's replicas it is.
    pub slot: u64,
    /// The number of its node.
    pub node: Option<usize>,
    /// What Swarm wants: `running`, `shutdown`, `remove` …
    pub desired: String,
    /// What is: `running`, `complete`, `failed` …
    pub state: String,
    /// When it came into that state, RFC 3339.
    pub since: String,
    /// Its address in the stack's network.
    pub address: Option<String>,
    /// Its container on the node.
    pub container: Option<String>,
    /// What Swarm complains about.
    pub error: Option<String>,
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task {} (slot {}", self.id, self.slot)?;
        self.node
            .map_or(Ok(()), |node| write!(f, ", node {node}"))?;
        f.write_str(")")
    }
}

impl Task {
    /// Runs, and is to run.
    pub fn runs(&self) -> bool {
        self.desired == "running" && self.state == "running"
    }
}

impl Lab {
    /// Deploys a stack file of the repository, with the images that the lab has. `env` adds to the
    /// variables of the file, or replaces the lab's own.
    pub fn deploy(&mut self, stack: &str, file: &str, env: &[(&str, &str)]) -> Result<()> {
        self.deploy_with(stack, file, env, &[])
    }

    /// Like [`Lab::deploy`], with further compose files, given as text, laid over the first.
    pub fn deploy_with(
        &mut self,
        stack: &str,
        file: &str,
        env: &[(&str, &str)],
        overrides: &[&str],
    ) -> Result<()> {
        self.step(format!("deploy {file} as {stack}"));
        let mut files = vec![repo().join(file).display().to_string()];
        for (at, text) in overrides.iter().enumerate() {
            let file = self.scratch_file(&format!("{stack}-override-{at}.yml"), text)?;
            files.push(file);
        }
        self.deploy_files(stack, &files, env)
    }

    /// Deploys a stack that is given as text.
    pub fn deploy_text(&mut self, stack: &str, text: &str, env: &[(&str, &str)]) -> Result<()> {
        self.step(format!("deploy a text as {stack}"));
        let file = self.scratch_file(&format!("{stack}.yml"), text)?;
        self.deploy_files(stack, &[file], env)
    }

    fn deploy_files(&mut self, stack: &str, files: &[String], env: &[(&str, &str)]) -> Result<()> {
        self.stack = stack.to_owned();
        self.make_key()?;
        let images = [
            ("MONGO_IMAGE", images::MONGO),
            ("SWARMSET_IMAGE", images::AGENT),
            ("MONGO_CACHE_GB", "0.25"),
        ];
        let mut args = vec!["stack", "deploy", "--resolve-image", "never"];
        for file in files {
            args.extend(["--compose-file", file]);
        }
        args.push(stack);
        self.spokesman()
            .docker(self.time_left()?, &args, &[&images, env].concat())?;
        self.remember_services()
    }

    /// What every stack file asks for before it is deployed.
    fn make_key(&mut self) -> Result<()> {
        let known = self.docker(&["secret", "ls", "--format", "{{.Name}}"])?;
        if !known.lines().any(|name| name == "mongo-keyfile") {
            let file = self.scratch_file("mongo-keyfile", crate::overlay::wire::KEY)?;
            self.docker(&["secret", "create", "mongo-keyfile", &file])?;
        }
        Ok(())
    }

    fn scratch_file(&self, name: &str, text: &str) -> Result<String> {
        let path = std::path::Path::new(crate::ground::ROOT).join(name);
        std::fs::write(&path, text)?;
        Ok(path.display().to_string())
    }

    /// Removes a stack; returns at once, while its tasks may still be ending. The lab's clients leave
    /// its network first, so that it can go, too: loads have to be stopped before.
    pub fn remove(&mut self, stack: &str) -> Result<()> {
        self.remember_services()?;
        self.give_up_foothold()?;
        self.step(format!("remove stack {stack}"));
        self.docker(&["stack", "rm", stack]).map(drop)
    }

    /// Sets how many replicas a service has; returns at once.
    pub fn scale(&mut self, service: &str, replicas: u64) -> Result<()> {
        self.step(format!("scale {service} to {replicas}"));
        let service = format!("{}={replicas}", self.qualified(service));
        self.docker(&["service", "scale", "--detach", &service])
            .map(drop)
    }

    /// Runs `docker service update` with these options; returns at once.
    pub fn service_update(&mut self, service: &str, options: &[&str]) -> Result<()> {
        self.step(format!("update {service}: {}", options.join(" ")));
        let service = self.qualified(service);
        let update = ["service", "update", "--detach", "--no-resolve-image"];
        self.docker(&[&update, options, &[service.as_str()]].concat())
            .map(drop)
    }

    /// Takes a node's tasks away.
    pub fn drain(&mut self, node: usize) -> Result<()> {
        self.set_availability(node, "drain")
    }

    /// Lets a node have tasks again.
    pub fn activate(&mut self, node: usize) -> Result<()> {
        self.set_availability(node, "active")
    }

    pub(crate) fn set_availability(&mut self, node: usize, availability: &str) -> Result<()> {
        self.step(format!("node {node}: {availability}"));
        let id = self.node_ids[&node].clone();
        self.docker(&["node", "update", "--availability", availability, &id])
            .map(drop)
    }

    /// Runs `docker …` on the manager that the lab speaks through.
    pub fn docker(&self, args: &[&str]) -> Result<String> {
        self.spokesman().docker(self.time_left()?, args, &[])
    }

    /// Asks that manager's engine for a piece of JSON.
    pub fn ask(&self, path: &str) -> Result<Value> {
        self.spokesman().ask(path)
    }

    /// The manager that the lab speaks through: the one that a partition left in the larger half, or
    /// the first that runs.
    pub fn spokesman(&self) -> &Machine {
        let managers = (1..=self.shape.managers).map(|number| self.machine(number));
        let chosen = self
            .faults
            .spokesman
            .map(|number| self.machine(number))
            .filter(|machine| machine.runs());
        chosen
            .or_else(|| managers.into_iter().find(|machine| machine.runs()))
            .unwrap_or_else(|| self.machine(1))
    }

    /// Speaks through another manager from now on, until the faults are healed.
    pub fn speak_through(&mut self, node: usize) {
        self.faults.spokesman = Some(node);
    }

    /// Runs a program on a node.
    pub fn run_on_node(&self, node: usize, argv: &[&str]) -> Result<String> {
        self.machine(node).run(argv)
    }

    /// The Swarm's nodes by their number, each as the Docker API has it.
    pub fn nodes(&self) -> Result<BTreeMap<usize, Value>> {
        let nodes = self.ask("/nodes")?;
        let nodes = nodes.as_array().into_iter().flatten();
        Ok(nodes
            .filter_map(|node| Some((self.number_of(node["ID"].as_str()?)?, node.clone())))
            .collect())
    }

    /// The number of the node that leads the Swarm.
    pub fn leader(&self) -> Result<usize> {
        let leader = self
            .nodes()?
            .into_iter()
            .find(|(_, node)| node["ManagerStatus"]["Leader"] == true);
        leader
            .map(|(number, _)| number)
            .context("the Swarm has no leader")
    }

    /// A node's number, from its id.
    pub fn number_of(&self, node_id: &str) -> Option<usize> {
        self.node_ids
            .iter()
            .find(|(_, id)| *id == node_id)
            .map(|(number, _)| *number)
    }

    /// A node's id in the Swarm.
    pub fn node_id(&self, node: usize) -> &str {
        &self.node_ids[&node]
    }

    /// A service's name in the Swarm: that of the stack, an underscore, and its own.
    pub fn qualified(&self, service: &str) -> String {
        if service.contains('_') {
            service.to_owned()
        } else {
            format!("{}_{service}", self.stack)
        }
    }

    /// A service as the Docker API has it.
    pub fn service(&self, service: &str) -> Result<Value> {
        self.ask(&format!("/services/{}", self.qualified(service)))
    }

    /// A service's tasks, also those that are ending, also after the service itself is gone.
    pub fn tasks(&mut self, service: &str) -> Result<Vec<Task>> {
        let service = self.qualified(service);
        if !self.service_ids.contains_key(&service) {
            self.remember_services()?;
        }
        let Some(id) = self.service_ids.get(&service) else {
            bail!("there is no service {service}")
        };
        let mut tasks: Vec<Task> = self
            .all_tasks()?
            .iter()
            .filter(|task| task["ServiceID"] == **id)
            .map(|task| self.task(task))
            .collect();
        tasks.sort_by_key(|task| (task.slot, task.node));
        Ok(tasks)
    }

    /// Those of a service's tasks that run and are to run.
    pub fn running(&mut self, service: &str) -> Result<Vec<Task>> {
        let mut tasks = self.tasks(service)?;
        tasks.retain(Task::runs);
        Ok(tasks)
    }

    /// Every task in the Swarm, as the Docker API has it.
    pub fn all_tasks(&self) -> Result<Vec<Value>> {
        let tasks = self.ask("/tasks")?;
        Ok(tasks.as_array().cloned().unwrap_or_default())
    }

    fn task(&self, task: &Value) -> Task {
        let word = |value: &Value| {
            value
                .as_str()
                .filter(|word| !word.is_empty())
                .map(str::to_owned)
        };
        let status = &task["Status"];
        let address = task["NetworksAttachments"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|attachment| attachment["Network"]["Spec"]["Ingress"] != true)
            .find_map(|attachment| attachment["Addresses"][0].as_str())
            .and_then(|address| address.split('/').next());
        Task {
            id: word(&task["ID"]).unwrap_or_default(),
            slot: task["Slot"].as_u64().unwrap_or_default(),
            node: task["NodeID"].as_str().and_then(|id| self.number_of(id)),
            desired: word(&task["DesiredState"]).unwrap_or_default(),
            state: word(&status["State"]).unwrap_or_default(),
            since: word(&status["Timestamp"]).unwrap_or_default(),
            address: address.map(str::to_owned),
            container: word(&status["ContainerStatus"]["ContainerID"]),
            error: word(&status["Err"]),
        }
    }

    /// Notes the services' ids: a removed service's tasks go by its id alone.
    fn remember_services(&mut self) -> Result<()> {
        let services = self.ask("/services")?;
        for service in services.as_array().into_iter().flatten() {
            let (Some(name), Some(id)) = (service["Spec"]["Name"].as_str(), service["ID"].as_str())
            else {
                continue;
            };
            self.service_ids.insert(name.to_owned(), id.to_owned());
        }
        Ok(())
    }

    /// The names of the Swarm's config objects.
    pub fn config_objects(&self) -> Result<Vec<String>> {
        let configs = self.ask("/configs")?;
        let configs = configs.as_array().into_iter().flatten();
        Ok(configs
            .filter_map(|config| config["Spec"]["Name"].as_str().map(str::to_owned))
            .collect())
    }

    /// The names of a node's volumes.
    pub fn volumes(&self, node: usize) -> Result<Vec<String>> {
        let volumes = self.machine(node).ask("/volumes")?;
        let volumes = volumes["Volumes"].as_array().into_iter().flatten();
        Ok(volumes
            .filter_map(|volume| volume["Name"].as_str().map(str::to_owned))
            .collect())
    }

    /// Deletes a volume on a node; no container may be using it.
    pub fn delete_volume(&mut self, node: usize, volume: &str) -> Result<()> {
        self.step(format!("delete volume {volume} on node {node}"));
        self.machine(node)
            .docker(Duration::from_secs(20), &["volume", "rm", volume], &[])
            .map(drop)
    }

    /// Whether the mongod that had a volume last ended by a clean shutdown: it then empties its lock
    /// file. A member that was killed, or that still runs, leaves its process id there.
    pub fn ended_cleanly(&self, node: usize, volume: &str) -> Result<bool> {
        let lock = self
            .machine(node)
            .disk()
            .join("volumes")
            .join(volume)
            .join("_data/mongod.lock");
        let size = std::fs::metadata(&lock)
            .with_context(|| format!("there is no {}", lock.display()))?
            .len();
        Ok(size == 0)
    }
}
