//! A Docker engine that tells of services, tasks and one node, and keeps config objects. It starts nothing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

/// One service, whose tasks run on ports of their own.
#[derive(Clone, Debug)]
pub struct Service {
    pub name: String,
    pub role: String,
    pub labels: Vec<(String, String)>,
    pub command: Vec<String>,
    pub replicas: u64,
    pub tasks: Vec<Task>,
}

/// A task that runs.
#[derive(Clone, Debug)]
pub struct Task {
    pub port: u16,
    /// Told to go, and still there.
    pub leaving: bool,
    /// How often it was replaced: a new task has a new id.
    pub round: u32,
    /// Another task waits for it to end.
    pub updating: bool,
}

/// All that the engine tells.
#[derive(Clone, Default)]
pub struct Engine(Arc<Mutex<Told>>);

#[derive(Default)]
struct Told {
    services: Vec<Service>,
    configs: Vec<Value>,
}

impl Task {
    /// One that is to run.
    pub fn on(port: u16) -> Self {
        Self {
            port,
            leaving: false,
            round: 0,
            updating: false,
        }
    }
}

impl Engine {
    /// Serves on a free port; its address as `DOCKER_HOST`.
    pub async fn serve(&self) -> Result<String> {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = format!("tcp://{}", listener.local_addr()?);
        let of_version = Router::new()
            .route("/services", get(services))
            .route("/tasks", get(tasks))
            .route("/nodes", get(nodes))
            .route("/configs", get(configs))
            .route("/configs/create", post(create_config))
            .route("/configs/{id}", get(config))
            .route("/configs/{id}/update", post(update_config))
            .route("/events", get(events));
        let routes = Router::new()
            .route(
                "/version",
                get(|| async { Json(json!({ "ApiVersion": "1.41", "Version": "20.10" })) }),
            )
            .nest("/v1.41", of_version)
            .fallback(async |uri: axum::http::Uri| {
                println!("the engine knows no {uri}");
                StatusCode::NOT_FOUND
            })
            .with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Ok(address)
    }

    /// Changes the services.
    pub fn change(&self, change: impl FnOnce(&mut Vec<Service>)) {
        change(&mut self.told().services);
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Service {
    fn container(&self, port: u16) -> Value {
        let target = match self.role.as_str() {
            "config-server" => "/data/configdb",
            _ => "/data/db",
        };
        let is_router = self.role == "router";
        let mut command = self.command.clone();
        command.extend(["--port".to_owned(), port.to_string()]);
        json!({
            "Image": "mongo",
            "Args": command,
            "Hostname": "{{.Node.Hostname}}",
            "StopSignal": if is_router { "SIGTERM" } else { "SIGCONT" },
            "Mounts": [{ "Type": "volume", "Source": self.name, "Target": target }],
        })
    }

    fn spec(&self) -> Value {
        let mut labels = json!({
            "com.docker.stack.namespace": "app",
            "swarmset.role": self.role,
        });
        for (label, value) in &self.labels {
            labels[label] = json!(value);
        }
        json!({
            "ID": format!("{}-id", self.name),
            "Version": { "Index": 1 },
            "Spec": {
                "Name": self.name,
                "Labels": labels,
                "TaskTemplate": { "ContainerSpec": self.container(self.port()) },
                "Mode": { "Replicated": { "Replicas": self.replicas } },
                "EndpointSpec": { "Mode": "dnsrr" },
            },
        })
    }

    /// The first task's, as the service's own.
    fn port(&self) -> u16 {
        self.tasks.first().map_or(27017, |t| t.port)
    }

    /// A task, and the one that waits for it, if there is one.
    fn task(&self, slot: usize, task: &Task) -> Vec<Value> {
        let told = |round: u32, desired: &str, state: &str| {
            json!({
                "ID": format!("{}-task-{}-{round}", self.name, task.port),
                "ServiceID": format!("{}-id", self.name),
                "Slot": slot + 1,
                "NodeID": "node",
                "DesiredState": desired,
                "Status": { "State": state },
                "Spec": { "ContainerSpec": self.container(task.port) },
                "NetworksAttachments": [{ "Network": { "ID": "net" }, "Addresses": ["127.0.0.1/8"] }],
            })
        };
        let desired = match (task.leaving, task.updating) {
            (true, _) => "remove",
            (false, true) => "shutdown",
            (false, false) => "running",
        };
        let mut all = vec![told(task.round, desired, "running")];
        if task.updating {
            let mut next = told(task.round + 1, "ready", "preparing");
            // Swarm gives a task its address when it starts it.
            next["NetworksAttachments"] = json!([]);
            all.push(next);
        }
        all
    }
}

async fn services(State(engine): State<Engine>) -> Json<Vec<Value>> {
    Json(engine.told().services.iter().map(Service::spec).collect())
}

async fn tasks(State(engine): State<Engine>) -> Json<Vec<Value>> {
    let told = engine.told();
    let tasks = told.services.iter().flat_map(|service| {
        let tasks = service.tasks.iter().enumerate();
        tasks.flat_map(|(slot, task)| service.task(slot, task))
    });
    Json(tasks.collect())
}

/// Members are reached as `localhost`.
async fn nodes() -> Json<Value> {
    Json(json!([{
        "ID": "node",
        "Description": { "Hostname": "localhost" },
        "Status": { "State": "ready" },
        "Spec": { "Availability": "active", "Role": "manager" },
        "ManagerStatus": { "Leader": true, "Addr": "127.0.0.1:2377" },
    }]))
}

async fn configs(State(engine): State<Engine>) -> Json<Vec<Value>> {
    Json(engine.told().configs.clone())
}

async fn config(
    State(engine): State<Engine>,
    Path(id): Path<String>,
) -> Result<Json<Value>, StatusCode> {
    let told = engine.told();
    let found = told.configs.iter().find(|c| c["ID"] == *id);
    found.cloned().map(Json).ok_or(StatusCode::NOT_FOUND)
}

async fn create_config(
    State(engine): State<Engine>,
    Json(spec): Json<Value>,
) -> (StatusCode, Json<Value>) {
    let mut told = engine.told();
    if told
        .configs
        .iter()
        .any(|c| c["Spec"]["Name"] == spec["Name"])
    {
        return (
            StatusCode::CONFLICT,
            Json(json!({ "message": "name conflicts" })),
        );
    }
    let id = format!("config-{}", told.configs.len());
    let made = "2026-01-01T00:00:00Z";
    let now = jiff::Timestamp::now().to_string();
    let config = json!({ "ID": id, "Version": { "Index": 1 }, "CreatedAt": now, "UpdatedAt": made, "Spec": spec });
    told.configs.push(config);
    (StatusCode::CREATED, Json(json!({ "ID": id })))
}

async fn update_config(
    State(engine): State<Engine>,
    Path(id): Path<String>,
    Json(spec): Json<Value>,
) -> StatusCode {
    let mut told = engine.told();
    match told.configs.iter_mut().find(|c| c["ID"] == *id) {
        Some(config) => {
            config["Spec"] = spec;
            StatusCode::OK
        }
        None => StatusCode::NOT_FOUND,
    }
}

/// There are none, for as long as anybody waits.
async fn events() -> StatusCode {
    std::future::pending().await
}
