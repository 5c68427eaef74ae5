//! What a person does and sees, on loopback.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures_util::TryStreamExt as _;
use mongodb::Client;
use mongodb::bson::{Document, doc};
use mongodb::options::{AuthMechanism, ClientOptions, Credential};
use swarmset::agent::Agent;
use swarmset::mongo::client::Mongods;
use swarmset::status::document::{ClusterEntry, Document as Status};
use swarmset::swarm::client::Scope;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::engine::{Engine, Service, Task};
use crate::router;
use crate::servers::{self, KEY, Server, free_port};

/// The lab of one test.
pub struct Story {
    folder: PathBuf,
    mongod: PathBuf,
    engine: Engine,
    docker_host: String,
    servers: BTreeMap<String, Server>,
    router: u16,
    /// Config servers' port, chosen first: the router is told it before they run.
    config: u16,
    stand_in: Option<JoinHandle<()>>,
    agent: JoinHandle<()>,
    status: watch::Receiver<Arc<Status>>,
}

impl Drop for Story {
    fn drop(&mut self) {
        self.agent.abort();
        if let Some(stand_in) = &self.stand_in {
            stand_in.abort();
        }
        self.servers.clear();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Story {
    pub async fn begin(mongod: PathBuf) -> Result<Self> {
        let folder =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("loopback-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let key = folder.join("key");
        std::fs::write(&key, KEY)?;
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o400))?;
        let engine = Engine::default();
        let docker_host = engine.serve().await?;
        let (agent, status) = start_agent(&docker_host, &key);
        Ok(Self {
            folder,
            mongod,
            engine,
            docker_host,
            servers: BTreeMap::new(),
            router: free_port()?,
            config: free_port()?,
            stand_in: None,
            agent,
            status,
        })
    }

    fn key(&self) -> PathBuf {
        self.folder.join("key")
    }

    /// A service of one mongod, with its process.
    pub fn deploy(&mut self, name: &str, role: &str, options: &[&str]) -> Result<()> {
        let port = match role {
            "config-server" => self.config,
            _ => free_port()?,
        };
        self.start(name, name, port, options)?;
        self.announce(name, role, port, options);
        Ok(())
    }

    fn start(&mut self, set: &str, name: &str, port: u16, options: &[&str]) -> Result<()> {
        let path = self.folder.join(name);
        std::fs::create_dir_all(&path)?;
        let mut command = servers::command(&self.mongod);
        command
            .args(["--replSet", set, "--bind_ip", "127.0.0.1", "--nounixsocket"])
            .args(["--wiredTigerCacheSizeGB", "0.25"])
            // Ranges that have moved away are deleted at once, instead of after 15 minutes.
            .args(["--setParameter", "orphanCleanupDelaySecs=1"])
            .args(options)
            .arg("--port")
            .arg(port.to_string())
            .arg("--dbpath")
            .arg(&path)
            .arg("--keyFile")
            .arg(self.key());
        let log = self.folder.join(format!("{name}.log"));
        let server = Server::start(&mut command, port, &log)?;
        self.servers.insert(name.to_owned(), server);
        Ok(())
    }

    fn announce(&self, name: &str, role: &str, port: u16, options: &[&str]) {
        let mut command = vec!["--replSet".into(), name.into()];
        command.extend(options.iter().map(|o| (*o).to_owned()));
        let service = Service {
            name: name.to_owned(),
            role: role.to_owned(),
            labels: Vec::new(),
            command,
            replicas: 1,
            tasks: vec![Task::on(port)],
        };
        self.engine.change(|services| services.push(service));
    }

    /// A real router of an older major version is shut out by a newer featureCompatibilityVersion, which new config
    /// servers have: they are set back to the router's.
    pub async fn match_router_version(&self, limit: Duration) -> Result<()> {
        let Some(mongos) = std::env::var_os("SWARMSET_TEST_MONGOS") else {
            return Ok(());
        };
        let mut command = Command::new(mongos);
        if let Some(libraries) = std::env::var_os("SWARMSET_TEST_LIBS") {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        let said = command.arg("--version").output()?;
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        let version = said
            .split(['v', '\n', ' '])
            .find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
        let major = version.and_then(|v| v.split('.').next());
        let major = major.with_context(|| format!("mongos tells no version: {said}"))?;
        let order = doc! { "setFeatureCompatibilityVersion": format!("{major}.0") };
        let began = Instant::now();
        let config = client(self.config)?.database("admin");
        while let Err(why) = config.run_command(order.clone()).await {
            ensure!(began.elapsed() < limit, "{order}: {why}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        println!("the config servers have version {major}.0");
        Ok(())
    }

    /// A router: the stand-in, or a real one where that is given.
    pub fn deploy_router(&mut self) -> Result<()> {
        let config_db = format!("cfg/localhost:{}", self.config);
        let port = self.router.to_string();
        match std::env::var_os("SWARMSET_TEST_MONGOS") {
            Some(mongos) => {
                let mut command = Command::new(mongos);
                command.args(["--configdb", &config_db, "--port", &port, "--bind_ip_all"]);
                command.arg("--keyFile").arg(self.key());
                if let Some(libraries) = std::env::var_os("SWARMSET_TEST_LIBS") {
                    command.env("LD_LIBRARY_PATH", libraries);
                }
                let log = self.folder.join("router.log");
                let server = Server::start(&mut command, self.router, &log)?;
                self.servers.insert("router".into(), server);
            }
            None => {
                let options = router::Options {
                    config_db: config_db.clone(),
                    port: self.router,
                    bind: std::net::Ipv4Addr::LOCALHOST,
                    key_file: Some(self.key()),
                };
                self.stand_in = Some(tokio::spawn(async move {
                    if let Err(why) = router::serve(options).await {
                        println!("the router ended: {why:#}");
                    }
                }));
            }
        }
        let words = ["mongos", "--configdb", &config_db];
        let service = Service {
            name: "router".into(),
            role: "router".into(),
            labels: Vec::new(),
            command: words.iter().map(|w| (*w).to_owned()).collect(),
            replicas: 1,
            tasks: vec![Task::on(self.router)],
        };
        self.engine.change(|services| services.push(service));
        Ok(())
    }

    /// A set that a person made, with a database in it, deployed as a shard.
    pub async fn deploy_with_data(&mut self, name: &str) -> Result<()> {
        let (port, options) = (free_port()?, ["--shardsvr"]);
        self.start(name, name, port, &options)?;
        let member = doc! { "_id": 0, "host": format!("localhost:{port}") };
        let initiate = doc! { "replSetInitiate": { "_id": name, "members": [member] } };
        let client = client(port)?;
        let began = Instant::now();
        while let Err(why) = client.database("admin").run_command(initiate.clone()).await {
            ensure!(
                began.elapsed() < crate::SOON,
                "{name} is not initiated: {why}"
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let old = client.database("old").collection::<Document>("things");
        while let Err(why) = old.insert_one(doc! { "_id": 1 }).await {
            ensure!(
                began.elapsed() < crate::SOON,
                "{name} takes no writes: {why}"
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        self.announce(name, "shard", port, &options);
        Ok(())
    }

    /// The service is removed, and its process ends.
    pub fn forget(&mut self, name: &str) -> Result<()> {
        self.engine
            .change(|services| services.retain(|s| s.name != name));
        self.servers
            .remove(name)
            .map(drop)
            .context("no such server")
    }

    pub fn label(&self, name: &str, label: &str, value: &str) {
        self.change(name, |s| s.labels.push((label.into(), value.into())));
    }

    pub fn scale_to_zero(&self, name: &str) {
        self.change(name, |s| {
            s.replicas = 0;
            s.tasks.iter_mut().for_each(|t| t.leaving = true);
        });
    }

    pub fn scale_back(&self, name: &str) {
        self.change(name, |s| {
            s.replicas = s.tasks.len() as u64;
            s.tasks.iter_mut().for_each(|t| t.leaving = false);
        });
    }

    /// One more member of a shard.
    pub fn scale_up(&mut self, name: &str) -> Result<()> {
        let port = free_port()?;
        self.start(name, &format!("{name}-{port}"), port, &["--shardsvr"])?;
        self.change(name, |s| {
            s.replicas += 1;
            s.tasks.push(Task::on(port));
        });
        Ok(())
    }

    /// Swarm tells the last member to go; it is forgotten when it has ended.
    pub async fn scale_down(&mut self, name: &str, limit: Duration) -> Result<()> {
        let mut gone = None;
        self.change(name, |s| {
            s.replicas -= 1;
            if let Some(task) = s.tasks.last_mut() {
                task.leaving = true;
                gone = Some(task.port);
            }
        });
        let port = gone.context("it has no task")?;
        let server = self.servers.get_mut(&format!("{name}-{port}"));
        let server = server.context("it has no process")?;
        let began = Instant::now();
        while server.runs()? {
            ensure!(began.elapsed() < limit, "{name} on {port} is not ended");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.change(name, |s| s.tasks.retain(|t| t.port != port));
        Ok(())
    }

    /// All these services of one member each are updated at the same time: for each, the process that ended is started
    /// again. Tells in which order they ended; none may end while another is down.
    pub async fn update(
        &mut self,
        services: &[(&str, &str)],
        limit: Duration,
    ) -> Result<Vec<String>> {
        for (name, _) in services {
            self.change(name, |s| s.tasks[0].updating = true);
        }
        let (began, mut order) = (Instant::now(), Vec::new());
        while order.len() < services.len() {
            ensure!(began.elapsed() < limit, "only {order:?} were restarted");
            tokio::time::sleep(Duration::from_millis(20)).await;
            let mut down = Vec::new();
            for (name, option) in services {
                let server = self.servers.get_mut(*name).context("no such server")?;
                if !server.runs()? {
                    down.push((*name, *option, server.port));
                }
            }
            ensure!(down.len() <= 1, "{down:?} are down at the same time");
            for (name, option, port) in down {
                self.start(name, name, port, &[option])?;
                self.change(name, |s| {
                    s.tasks[0].updating = false;
                    s.tasks[0].round += 1;
                });
                order.push(name.to_owned());
            }
        }
        Ok(order)
    }

    /// Waits until `config.shards` lists so many members of a shard.
    pub async fn await_listed(&self, shard: &str, members: usize, limit: Duration) -> Result<()> {
        let began = Instant::now();
        let books = client(self.config)?
            .database("config")
            .collection::<Document>("shards");
        loop {
            let entry = books.find_one(doc! { "_id": shard }).await?;
            let entry = entry.with_context(|| format!("there is no {shard}"))?;
            let host = entry.get_str("host")?.to_owned();
            if host.split(',').count() == members {
                println!(
                    "config.shards has {host}: {:.1} s",
                    began.elapsed().as_secs_f64()
                );
                return Ok(());
            }
            ensure!(began.elapsed() < limit, "config.shards still has {host}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Service)) {
        self.engine.change(|services| {
            let service = services.iter_mut().find(|s| s.name == name);
            change(service.expect("a known service"));
        });
    }

    /// The agent dies, and another one starts, that knows nothing.
    pub async fn replace_agent(&mut self) -> Result<()> {
        self.agent.abort();
        let (agent, status) = start_agent(&self.docker_host, &self.key());
        (self.agent, self.status) = (agent, status);
        Ok(())
    }

    /// A command to the router.
    pub async fn router(&self, command: Document) -> Result<Document> {
        let said = command.to_string();
        let answer = client(self.router)?
            .database("admin")
            .run_command(command)
            .await;
        answer.with_context(|| said)
    }

    pub async fn insert(&self, collection: &str, documents: Vec<Document>) -> Result<()> {
        let collection = client(self.router)?.database("shop").collection(collection);
        collection.insert_many(documents).await?;
        Ok(())
    }

    pub async fn await_state(&mut self, shard: &str, state: &str, limit: Duration) -> Result<()> {
        let is_so = |c: &ClusterEntry| {
            c.shards
                .iter()
                .any(|s| s.shard == shard && s.state == state)
        };
        let what = format!("shard {shard} is {state}");
        self.await_status(&what, limit, |s| s.clusters.iter().any(is_so))
            .await
    }

    pub async fn await_converged(&mut self, limit: Duration) -> Result<()> {
        let is_so = |s: &Status| s.converged && s.clusters.iter().all(|c| c.converged);
        self.await_status("all is converged", limit, |s| {
            !s.clusters.is_empty() && is_so(s)
        })
        .await
    }

    pub async fn await_fault(&mut self, words: &str, limit: Duration) -> Result<()> {
        let named = |s: &Status| {
            s.sets
                .iter()
                .flat_map(|s| &s.faults)
                .any(|f| f.what.contains(words))
        };
        self.await_status(words, limit, named).await
    }

    pub async fn await_waiting(&mut self, words: &str, limit: Duration) -> Result<()> {
        let named = |s: &Status| {
            s.sets
                .iter()
                .flat_map(|s| &s.waiting)
                .any(|w| w.what.contains(words))
        };
        self.await_status(words, limit, named).await
    }

    async fn await_status(
        &mut self,
        what: &str,
        limit: Duration,
        is_so: impl Fn(&Status) -> bool,
    ) -> Result<()> {
        let began = Instant::now();
        let seen = self.status.wait_for(|status| is_so(status));
        match tokio::time::timeout(limit, seen).await {
            Ok(seen) => seen.map(drop)?,
            Err(_) => bail!("after {} s still not: {what}", limit.as_secs()),
        }
        println!("{what}: {:.1} s", began.elapsed().as_secs_f64());
        Ok(())
    }

    /// Nothing in the cluster's books names the shard any more.
    pub async fn check_books(&self, shard: &str) -> Result<()> {
        let books = client(self.config)?.database("config");
        for (collection, filter) in [
            ("shards", doc! { "_id": shard }),
            ("chunks", doc! { "shard": shard }),
            ("databases", doc! { "primary": shard }),
        ] {
            let left = books
                .collection::<Document>(collection)
                .count_documents(filter)
                .await?;
            ensure!(left == 0, "config.{collection} has {left} of {shard}");
        }
        Ok(())
    }

    /// Each document is there, and none twice: as each shard itself has them.
    pub async fn check_documents(&self, shards: &[&str], wanted: i64) -> Result<()> {
        let began = Instant::now();
        loop {
            let mut ids = Vec::new();
            for shard in shards {
                let server = self.servers.get(*shard).context("no such shard")?;
                let orders = client(server.port)?
                    .database("shop")
                    .collection::<Document>("orders");
                let found: Vec<_> = orders.find(doc! {}).await?.try_collect().await?;
                ids.extend(found.iter().filter_map(|d| d.get_i64("_id").ok()));
            }
            ids.sort_unstable();
            if ids.iter().copied().eq(0..wanted) {
                return Ok(());
            }
            // A range that has moved is deleted where it was a moment later.
            ensure!(
                began.elapsed() < crate::SOON,
                "{} documents: {ids:?}",
                ids.len()
            );
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// The status, and the ends of all logs.
    pub fn evidence(&self) -> String {
        let status = serde_json::to_string_pretty(&**self.status.borrow()).unwrap_or_default();
        let mut text = format!("{status}\n");
        for name in self.servers.keys() {
            let log = std::fs::read_to_string(self.folder.join(format!("{name}.log")));
            let log = log.unwrap_or_default();
            let last: Vec<_> = log.lines().rev().take(5).collect();
            text.push_str(&format!("{name}:\n{}\n", last.join("\n")));
        }
        text
    }
}

fn start_agent(docker_host: &str, key: &Path) -> (JoinHandle<()>, watch::Receiver<Arc<Status>>) {
    let (publish, status) = watch::channel(Arc::new(Status::default()));
    let (docker_host, mongods) = (docker_host.to_owned(), Mongods::new(Some(key.to_owned())));
    let agent = tokio::spawn(async move {
        let scope = Scope {
            stack: Some("app".into()),
            ..Scope::default()
        };
        let agent = Agent::start(&docker_host, scope, mongods, publish).await;
        agent.run(Arc::new(Notify::new())).await;
    });
    (agent, status)
}

/// A client of this one server, as its own kind are.
fn client(port: u16) -> Result<Client> {
    let mut options = ClientOptions::default();
    options.hosts = vec![format!("localhost:{port}").parse()?];
    options.direct_connection = Some(true);
    options.server_selection_timeout = Some(Duration::from_secs(5));
    options.credential = Some(
        Credential::builder()
            .username("__system".to_owned())
            .source("local".to_owned())
            .mechanism(AuthMechanism::ScramSha256)
            .password(KEY.to_owned())
            .build(),
    );
    Ok(Client::with_options(options)?)
}
