//! Reads the Swarm and keeps claims, by the Docker API (1.41 and later).
//!
//! Calls that are made: GET `/version`, `/services`, `/tasks`, `/nodes`, `/configs`, `/configs/{id}`, `/events`; POST `/configs/create`
//! and `/configs/{id}/update`. Nothing else.

pub(crate) mod convert;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use bollard::errors::Error;
use bollard::models::ConfigSpec;
use bollard::query_parameters::{
    EventsOptionsBuilder, ListConfigsOptionsBuilder, ListNodesOptions, UpdateConfigOptionsBuilder,
};
use bollard::{API_DEFAULT_VERSION, Docker};
use futures_util::{Stream, StreamExt};
use serde_json::Value;

use super::model::{ApiVersion, Claim, ClaimContent, LABEL_REPLICA_SET_ID, Service, Swarm};
use super::transport::Transport;
use crate::names::{NodeId, ReplicaSetId, ServiceId};
use convert::ReadTask;

const STACK_LABEL: &str = "com.docker.stack.namespace";
/// Longer than a manager needs to say that it has no quorum.
const TIMEOUT_SECONDS: u64 = 10;

/// Which part of the Swarm is looked at.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Only services of this stack.
    pub stack: Option<String>,
    /// The agent's own service: members are reached in the networks that its tasks have.
    pub agent_service: Option<ServiceId>,
    /// The agent's own node.
    pub node: Option<NodeId>,
}

/// A connection to one manager's engine.
#[derive(Clone)]
pub struct SwarmClient {
    docker: Docker,
    transport: Transport,
    scope: Scope,
}

/// The outcome of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It was made.
    Now,
    /// Somebody else was first: look again.
    BySomebodyElse,
}

impl SwarmClient {
    /// Connects, and agrees on an API version.
    ///
    /// # Errors
    /// The address is not `unix://…` or `tcp://…`, or the engine does not answer.
    pub async fn connect(docker_host: &str, scope: Scope) -> Result<Self, Error> {
        let transport =
            Transport::to(docker_host).ok_or_else(|| Error::UnsupportedURISchemeError {
                uri: docker_host.to_owned(),
            })?;
        let sender = transport.clone();
        let docker = Docker::connect_with_custom_transport(
            move |request| sender.send(request),
            Some("http://docker"),
            TIMEOUT_SECONDS,
            API_DEFAULT_VERSION,
        )?;
        let docker = docker.negotiate_version().await?;
        transport.speak(api_version(&docker));
        Ok(Self {
            docker,
            transport,
            scope,
        })
    }

    /// What is looked at.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// How many calls were made so far.
    pub fn calls(&self) -> u64 {
        self.transport.calls()
    }

    /// How many of them failed.
    pub fn errors(&self) -> u64 {
        self.transport.errors()
    }

    /// Reads all that matters, at once.
    ///
    /// # Errors
    /// Any part that could not be read or understood: half a reading could pass for the absence of the other half.
    pub async fn read(&self) -> Result<Swarm, Error> {
        let (services, tasks, nodes, claims) = tokio::try_join!(
            self.services(),
            self.tasks(),
            self.docker.list_nodes(None::<ListNodesOptions>),
            self.claims(),
        )?;
        let nodes = nodes.into_iter().filter_map(convert::node);
        let in_scope =
            |s: &Service| self.scope.stack.is_none() || s.stack() == self.scope.stack.as_deref();
        let mut swarm = Swarm {
            known_services: services.iter().map(|s| s.id.clone()).collect(),
            services: services
                .into_iter()
                .filter(in_scope)
                .map(|s| (s.id.clone(), s))
                .collect(),
            tasks: BTreeMap::new(),
            nodes: nodes.map(|n| (n.id.clone(), n)).collect(),
            claims,
            networks: BTreeMap::new(),
            api: Some(api_version(&self.docker)),
        };
        let own = self.own_networks(&tasks);
        for read in tasks {
            let mut task = read.task;
            let reachable = read
                .addresses
                .into_iter()
                .filter(|a| own.is_empty() || own.contains(&a.network));
            task.addresses = reachable.map(|a| a.ip).collect();
            // Most tasks have their service's present specification: it is kept, and compared, once.
            if let Some(service) = swarm.services.get(&task.service)
                && service.container == task.container
            {
                task.container = Arc::clone(&service.container);
            }
            swarm.tasks.insert(task.id.clone(), task);
            swarm.networks.extend(read.networks);
        }
        Ok(swarm)
    }

    async fn services(&self) -> Result<Vec<Service>, Error> {
        // All of them: labels of a service can be changed, and those of its tasks stay as they were.
        let mut found = Vec::new();
        for service in self.list("services").await? {
            found.extend(convert::service(service)?);
        }
        Ok(found)
    }

    async fn tasks(&self) -> Result<Vec<ReadTask>, Error> {
        let filters = serde_json::to_string(&self.stack_filter())?;
        let filters: String = url_encode(&filters);
        let mut found = Vec::new();
        for task in self.list(&format!("tasks?filters={filters}")).await? {
            found.extend(convert::task(task)?);
        }
        Ok(found)
    }

    /// By a raw call: bollard's task has no network attachments, and its service has another name for the health check.
    async fn list(&self, what: &str) -> Result<Vec<Value>, Error> {
        let path = format!("/{what}");
        let limit = Duration::from_secs(TIMEOUT_SECONDS);
        let body = tokio::time::timeout(limit, self.transport.get(&path)).await;
        let body = body.map_err(|_| Error::RequestTimeoutError)??;
        Ok(serde_json::from_slice(&body)?)
    }

    async fn claims(&self) -> Result<BTreeMap<String, Claim>, Error> {
        let filters = HashMap::from([("name", vec!["swarmset."])]);
        let options = ListConfigsOptionsBuilder::default()
            .filters(&filters)
            .build();
        let configs = self.docker.list_configs(Some(options)).await?;
        Ok(configs.into_iter().filter_map(convert::claim).collect())
    }

    fn stack_filter(&self) -> HashMap<String, Vec<String>> {
        let stack = self.scope.stack.iter();
        stack
            .map(|s| ("label".into(), vec![format!("{STACK_LABEL}={s}")]))
            .collect()
    }

    fn own_networks(&self, tasks: &[ReadTask]) -> Vec<String> {
        let own = tasks.iter().filter(|ReadTask { task, .. }| {
            Some(&task.service) == self.scope.agent_service.as_ref()
                && (self.scope.node.is_none() || task.node == self.scope.node)
                && !task.has_ended()
        });
        own.flat_map(|read| read.addresses.iter().map(|a| a.network.clone()))
            .collect()
    }

    /// Creates the config object that is a set's claim and record.
    ///
    /// # Errors
    /// The manager did not do it, or it is not known whether it did.
    pub async fn create_claim(
        &self,
        name: &str,
        content: &ClaimContent,
        replica_set_id: Option<&ReplicaSetId>,
    ) -> Result<Kept, Error> {
        let data = serde_json::to_vec_pretty(content)?;
        let labels = replica_set_id.map(|id| (LABEL_REPLICA_SET_ID.to_owned(), id.to_string()));
        let spec = ConfigSpec {
            name: Some(name.to_owned()),
            data: Some(base64::engine::general_purpose::STANDARD.encode(data)),
            labels: Some(labels.into_iter().collect()),
            ..ConfigSpec::default()
        };
        match self.docker.create_config(spec).await {
            Ok(_) => Ok(Kept::Now),
            Err(Error::DockerResponseServerError {
                status_code: 409, ..
            }) => Ok(Kept::BySomebodyElse),
            Err(error) => Err(error),
        }
    }

    /// Writes a set's identity into its claim, if the claim is still as it was seen.
    ///
    /// # Errors
    /// The manager did not do it, or it is not known whether it did.
    pub async fn record_identity(&self, claim: &Claim, id: &ReplicaSetId) -> Result<(), Error> {
        let now = self.docker.inspect_config(&claim.id).await?;
        let mut spec = now.spec.unwrap_or_default();
        let labels = spec.labels.get_or_insert_default();
        labels.insert(LABEL_REPLICA_SET_ID.to_owned(), id.to_string());
        let version = i64::try_from(claim.version).unwrap_or(i64::MAX);
        let options = UpdateConfigOptionsBuilder::default()
            .version(version)
            .build();
        self.docker.update_config(&claim.id, spec, options).await
    }

    /// News of services, nodes and config objects. Tasks have no events.
    pub fn events(&self) -> impl Stream<Item = Result<(), Error>> + use<> {
        let kinds = ["service", "node", "config", "network"].map(str::to_owned);
        let filters = HashMap::from([("type".to_owned(), kinds.to_vec())]);
        let options = EventsOptionsBuilder::default().filters(&filters).build();
        let docker = self.docker.clone();
        docker.events(Some(options)).map(|event| event.map(drop))
    }
}

fn api_version(docker: &Docker) -> ApiVersion {
    let version = docker.client_version();
    let number = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    ApiVersion(number(version.major_version), number(version.minor_version))
}

fn url_encode(text: &str) -> String {
    let encode = |b: u8| match b {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(b).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(encode).collect()
}
