//! Between two scenarios the Swarm is emptied and made whole, and that is verified.

use crate::lab::{CLIENT, Lab};
use crate::machine::Machine;
use crate::tools::{PATIENCE, two_at_a_time};
use anyhow::{Result, bail};
use serde_json::Value;
use std::time::{Duration, Instant};

impl Lab {
    /// Makes the Swarm as it was when it was new. An error means that it has to be built afresh.
    pub(crate) fn reset(&mut self) -> Result<()> {
        self.deadline = Instant::now() + Duration::from_secs(90);
        self.client = None;
        if let Some(manager) = (1..=self.shape.managers).find(|node| !self.machine(*node).runs()) {
            bail!(
                "manager {manager} is dead: a new Swarm forms sooner than this one trusts it again"
            );
        }
        self.undo_faults()?;
        self.await_until("the Swarm has a leader", Duration::from_secs(40), |lab| {
            Ok(lab.leader().is_ok())
        })?;
        self.remove_services()?;
        self.make_nodes_active()?;
        self.await_until("all tasks are gone", Duration::from_secs(40), |lab| {
            lab.kill_all_containers()?;
            Ok(lab.all_tasks()?.is_empty())
        })?;
        self.remove_objects()?;
        self.empty_the_nodes()?;
        self.stack.clear();
        self.service_ids.clear();
        self.await_nodes_as_made()?;
        self.verify_clean()
    }

    fn remove_services(&mut self) -> Result<()> {
        let services = self.listed("/services", "ID")?;
        for service in services {
            self.docker(&["service", "rm", &service])?;
        }
        Ok(())
    }

    fn make_nodes_active(&mut self) -> Result<()> {
        for (number, node) in self.nodes()? {
            if number != CLIENT && node["Spec"]["Availability"] != "active" {
                self.activate(number)?;
            }
            let labels = node["Spec"]["Labels"].as_object().into_iter().flatten();
            for (label, _) in labels {
                self.docker(&[
                    "node",
                    "update",
                    "--label-rm",
                    label,
                    &self.node_ids[&number].clone(),
                ])?;
            }
        }
        Ok(())
    }

    /// Members are told to stop by SIGCONT, and would stay: containers are killed instead.
    fn kill_all_containers(&self) -> Result<()> {
        self.on_every_machine(|machine| {
            let containers = ids(&machine.ask("/containers/json?all=true")?, "Id");
            if containers.is_empty() {
                return Ok(());
            }
            let remove = ["rm", "--force", "--volumes"];
            let containers: Vec<&str> = containers.iter().map(String::as_str).collect();
            // One that Swarm removes at the same moment makes `docker rm` fail: the next look decides.
            let _ = machine.docker(PATIENCE, &[&remove, &containers[..]].concat(), &[]);
            Ok(())
        })
    }

    fn remove_objects(&mut self) -> Result<()> {
        for (path, kind) in [("/configs", "config"), ("/secrets", "secret")] {
            for id in self.listed(path, "ID")? {
                self.docker(&[kind, "rm", &id])?;
            }
        }
        for name in self.overlay_networks()? {
            self.docker(&["network", "rm", &name])?;
        }
        Ok(())
    }

    /// The networks of stacks: every overlay but Swarm's own.
    fn overlay_networks(&self) -> Result<Vec<String>> {
        let networks = self.ask("/networks")?;
        let networks = networks.as_array().into_iter().flatten();
        Ok(networks
            .filter(|network| network["Driver"] == "overlay" && network["Ingress"] != true)
            .filter_map(|network| network["Id"].as_str().map(str::to_owned))
            .collect())
    }

    fn empty_the_nodes(&self) -> Result<()> {
        self.kill_all_containers()?;
        self.on_every_machine(|machine| {
            let volumes = ids(&machine.ask("/volumes")?["Volumes"], "Name");
            if volumes.is_empty() {
                return Ok(());
            }
            let volumes: Vec<&str> = volumes.iter().map(String::as_str).collect();
            machine
                .docker(
                    PATIENCE,
                    &[&["volume", "rm", "--force"], &volumes[..]].concat(),
                    &[],
                )
                .map(drop)
        })
    }

    fn verify_clean(&self) -> Result<()> {
        for path in ["/services", "/tasks", "/configs", "/secrets"] {
            let left = self.listed(path, "ID")?;
            if !left.is_empty() {
                bail!("{path} still has {left:?}");
            }
        }
        self.on_every_machine(|machine| {
            let containers = ids(&machine.ask("/containers/json?all=true")?, "Id");
            let volumes = ids(&machine.ask("/volumes")?["Volumes"], "Name");
            if !containers.is_empty() || !volumes.is_empty() {
                bail!(
                    "{} still has containers {containers:?} and volumes {volumes:?}",
                    machine.name
                );
            }
            Ok(())
        })
    }

    fn on_every_machine(&self, work: impl Fn(&Machine) -> Result<()> + Sync) -> Result<()> {
        let machines: Vec<&Machine> = self.machines.values().collect();
        two_at_a_time(&machines, |machine| work(machine)).map(drop)
    }

    fn listed(&self, path: &str, id: &str) -> Result<Vec<String>> {
        Ok(ids(&self.ask(path)?, id))
    }
}

fn ids(list: &Value, key: &str) -> Vec<String> {
    let items = list.as_array().into_iter().flatten();
    items
        .filter_map(|item| item[key].as_str().map(str::to_owned))
        .collect()
}
