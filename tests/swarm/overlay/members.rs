//! What the members of a set say of themselves.

use super::unexpected;
use super::wire::{Answer, Order};
use crate::lab::Lab;
use crate::stack::Task;
use anyhow::{Context, Result, bail};
use mongodb::bson::{Document, doc};
use std::time::Duration;

impl Lab {
    /// The host name of the primary of `mongo`'s set.
    pub fn primary(&mut self) -> Result<String> {
        self.primary_of("mongo")
    }

    /// The host name of the primary of a service's set. Where two members think that they are, the one
    /// that was elected last.
    pub fn primary_of(&mut self, service: &str) -> Result<String> {
        let tasks = self.tasks(service)?;
        let hosts = tasks
            .into_iter()
            .filter(|task| task.state == "running")
            .filter_map(|task| Some(format!("{}:27017", task.address?)))
            .collect();
        let order = Order::FindPrimary { hosts };
        match self
            .client_of(service)?
            .order(&order, Duration::from_secs(10))?
        {
            Answer::Primary { host: Some(host) } => Ok(host),
            Answer::Primary { host: None } => bail!("{service} has no primary"),
            other => Err(unexpected(other)),
        }
    }

    /// The task that the primary of `mongo`'s set runs in.
    pub fn primary_task(&mut self) -> Result<Task> {
        let primary = self.primary()?;
        let name = primary.split(':').next().unwrap_or_default().to_owned();
        let tasks = self.tasks("mongo")?;
        let service = self.qualified("mongo");
        let its = |task: &Task| {
            let node = task.node.map(|node| self.node_id(node)).unwrap_or_default();
            task.state == "running" && name == format!("{service}-{}-{node}", task.slot)
        };
        tasks
            .into_iter()
            .find(|task| its(task))
            .with_context(|| format!("no task is called {name}"))
    }

    /// The config of `mongo`'s set, as its primary has it.
    pub fn replset_config(&mut self) -> Result<Document> {
        self.replset_config_of("mongo")
    }

    /// The config of a service's set, as its primary has it.
    pub fn replset_config_of(&mut self, service: &str) -> Result<Document> {
        let answer = self.ask_primary_of(service, doc! {"replSetGetConfig": 1})?;
        Ok(answer.get_document("config")?.clone())
    }

    /// The status of `mongo`'s set, as its primary has it.
    pub fn replset_status(&mut self) -> Result<Document> {
        self.replset_status_of("mongo")
    }

    /// The status of a service's set, as its primary has it.
    pub fn replset_status_of(&mut self, service: &str) -> Result<Document> {
        self.ask_primary_of(service, doc! {"replSetGetStatus": 1})
    }

    fn ask_primary_of(&mut self, service: &str, command: Document) -> Result<Document> {
        let primary = self.primary_of(service)?;
        self.mongo_in(service, &primary)?.run("admin", command)
    }

    /// Whether the set of a service has that many members, all PRIMARY or SECONDARY, and that many voters.
    pub(crate) fn set_is_whole(
        &mut self,
        service: &str,
        members: usize,
        voters: usize,
    ) -> Result<bool> {
        let status = self.replset_status_of(service)?;
        let states: Vec<i32> = status
            .get_array("members")?
            .iter()
            .filter_map(|member| member.as_document()?.get_i32("state").ok())
            .collect();
        let voting = status.get_i32("votingMembersCount")?;
        Ok(states.len() == members
            && states.iter().all(|state| [1, 2].contains(state))
            && voting as usize == voters)
    }
}
