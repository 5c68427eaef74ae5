//! What is kept of a scenario that failed.

use crate::lab::Lab;
use crate::machine::Machine;
use crate::tools::{reports, two_at_a_time};
use anyhow::Result;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

impl Lab {
    /// Writes down services, tasks, the agents' status, and the ends of all logs. Never fails: what
    /// cannot be had is noted in its place.
    pub(crate) fn keep_evidence(&mut self, scenario: &str, why: &str) -> PathBuf {
        self.deadline = Instant::now() + Duration::from_secs(60);
        let directory = reports().join(scenario);
        let _ = fs::remove_dir_all(&directory);
        let _ = fs::create_dir_all(&directory);
        let keep = |name: &str, content: Result<String>| {
            let content = content.unwrap_or_else(|why| format!("{why:#}"));
            let _ = fs::write(directory.join(name), content + "\n");
        };
        keep("failure", Ok(why.to_owned()));
        keep("nodes", self.docker(&["node", "ls"]));
        keep("services", self.docker(&["service", "ls"]));
        keep(
            "tasks.json",
            self.ask("/tasks")
                .and_then(|tasks| Ok(serde_json::to_string_pretty(&tasks)?)),
        );
        keep("tasks", self.task_table());
        keep(
            "status.json",
            self.status()
                .and_then(|status| Ok(serde_json::to_string_pretty(&status)?)),
        );
        keep(
            "set-config",
            self.replset_config().map(|config| format!("{config:#?}")),
        );
        keep(
            "set-status",
            self.replset_status().map(|status| format!("{status:#?}")),
        );
        let machines: Vec<&Machine> = self
            .machines
            .values()
            .filter(|machine| machine.runs())
            .collect();
        let _ = two_at_a_time(&machines, |machine| keep_logs(machine, &directory));
        directory
    }

    fn task_table(&mut self) -> Result<String> {
        let mut lines = Vec::new();
        for service in self.service_ids.keys().cloned().collect::<Vec<_>>() {
            for task in self.tasks(&service)? {
                lines.push(format!("{service} {task:?}"));
            }
        }
        Ok(lines.join("\n"))
    }
}

/// The ends of the logs of a machine's containers, running or not, and of its engine.
fn keep_logs(machine: &Machine, directory: &Path) -> Result<()> {
    let limit = Duration::from_secs(20);
    let names = machine.docker(limit, &["ps", "--all", "--format", "{{.Names}}"], &[])?;
    for name in names.lines() {
        let file = fs::File::create(directory.join(format!("{}-{name}.log", machine.name)))?;
        let tail = machine.docker_to(file, &["logs", "--tail", "1000", name]);
        if let Err(why) = tail {
            fs::write(
                directory.join(format!("{}-{name}.log", machine.name)),
                format!("{why:#}"),
            )?;
        }
    }
    let _ = fs::copy(
        machine.engine_log(),
        directory.join(format!("{}-dockerd.log", machine.name)),
    );
    Ok(())
}
