//! MongoDB clients inside a stack's network, where the members' names and addresses mean something.
//!
//! The lab starts this very program again in the network of an idle container there
//! ([`inside::serve`]), and talks to it in lines of JSON ([`wire`]).

pub mod inside;
pub mod load;
mod members;
pub mod wire;

use crate::history::Verdict;
use crate::images::IDLE;
use crate::lab::{CLIENT, Lab};
use anyhow::{Context, Result, anyhow, bail};
use mongodb::bson::Document;
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use wire::{Answer, LoadPlan, Order, Progress};

/// The clients' process, in one network. Clones speak to the same process; it ends with the last.
#[derive(Clone)]
pub struct Client {
    /// The network that it is in.
    network: String,
    process: Arc<Mutex<Process>>,
}

struct Process {
    child: Child,
    orders: Option<ChildStdin>,
    answers: Receiver<String>,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.orders = None; // it ends by itself when nobody can give it orders any more
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Client {
    /// Starts the process in the network of a container on the clients' machine.
    fn start(lab: &Lab, network: &str, container: u64) -> Result<Self> {
        let machine = lab.machine(CLIENT).pid()?;
        let resolv = std::path::Path::new(crate::ground::ROOT).join("resolv-overlay.conf");
        std::fs::write(&resolv, "nameserver 127.0.0.11\noptions ndots:0\n")?;
        let mut child = Command::new("nsenter")
            .arg(format!("--mount=/proc/{machine}/ns/mnt"))
            .arg(format!(
                "--net=/proc/{machine}/root/proc/{container}/ns/net"
            ))
            .args(["unshare", "--mount", "sh", "-c"])
            .arg("mount --bind \"$0\" /etc/resolv.conf && exec \"$1\" --in-overlay")
            .arg(resolv)
            .arg(std::env::current_exe()?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the clients' process")?;
        let (tell, answers) = channel();
        let lines = BufReader::new(child.stdout.take().context("no stdout")?).lines();
        std::thread::spawn(move || {
            lines
                .map_while(Result::ok)
                .try_for_each(|line| tell.send(line))
        });
        let orders = child.stdin.take();
        let process = Arc::new(Mutex::new(Process {
            child,
            orders,
            answers,
        }));
        Ok(Self {
            network: network.to_owned(),
            process,
        })
    }

    /// Gives an order and waits for its answer.
    fn order(&self, order: &Order, limit: Duration) -> Result<Answer> {
        let mut process = self
            .process
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let orders = process
            .orders
            .as_mut()
            .context("the clients' process has ended")?;
        writeln!(orders, "{}", serde_json::to_string(order)?)
            .context("the clients' process has ended")?;
        match process.answers.recv_timeout(limit) {
            Ok(line) => {
                serde_json::from_str(&line).with_context(|| format!("not an answer: {line}"))
            }
            Err(RecvTimeoutError::Disconnected) => bail!("the clients' process has ended"),
            Err(RecvTimeoutError::Timeout) => {
                // Its answer would come late, and be taken for another's: this process is of no more use.
                process.orders = None;
                bail!("the clients' process gave no answer within {limit:?} to {order:?}")
            }
        }
    }
}

/// A mongod, to be given commands.
pub struct Mongo {
    client: Client,
    host: String,
}

/// Why a mongod did not do as it was told.
#[derive(Debug)]
pub struct Refusal {
    /// MongoDB's error code.
    pub code: i32,
    /// Its name.
    pub name: String,
    /// What it says.
    pub message: String,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({}): {}", self.name, self.code, self.message)
    }
}

impl std::error::Error for Refusal {}

impl Mongo {
    /// Runs a command, on this very member. A command that MongoDB refuses is a [`Refusal`] error.
    pub fn run(&self, database: &str, command: Document) -> Result<Document> {
        let said = command.keys().next().cloned().unwrap_or_default();
        let order = Order::Run {
            host: self.host.clone(),
            database: database.to_owned(),
            command,
        };
        match self.client.order(&order, Duration::from_secs(90))? {
            Answer::Document { document } => Ok(document),
            Answer::Refused {
                code,
                name,
                message,
            } => Err(anyhow!(Refusal {
                code,
                name,
                message
            })
            .context(format!("{} refuses {said}", self.host))),
            other => Err(unexpected(other)).with_context(|| format!("{said} on {}", self.host)),
        }
    }
}

/// Clients that write and read without pause, until it is stopped.
pub struct Load {
    client: Client,
    id: u32,
}

impl Load {
    /// How far it has come.
    pub fn progress(&self) -> Result<Progress> {
        match self.client.order(
            &Order::LoadProgress { id: self.id },
            Duration::from_secs(10),
        )? {
            Answer::Progress { progress } => Ok(progress),
            other => Err(unexpected(other)),
        }
    }

    /// Ends it, looks at what is there, and judges.
    pub fn stop(self) -> Result<Verdict> {
        match self
            .client
            .order(&Order::StopLoad { id: self.id }, Duration::from_secs(150))?
        {
            Answer::Verdict { verdict } => Ok(verdict),
            other => Err(unexpected(other)),
        }
    }
}

fn unexpected(answer: Answer) -> anyhow::Error {
    match answer {
        Answer::Failed { why } => anyhow!(why),
        other => anyhow!("an answer to another question: {other:?}"),
    }
}

impl Lab {
    /// The mongod at a host name or address, in the network of the service `mongo`.
    pub fn mongo(&mut self, host: &str) -> Result<Mongo> {
        self.mongo_in("mongo", host)
    }

    /// The mongod at a host name or address, in the network of a service.
    pub fn mongo_in(&mut self, service: &str, host: &str) -> Result<Mongo> {
        let host = if host.contains(':') {
            host.to_owned()
        } else {
            format!("{host}:27017")
        };
        Ok(Mongo {
            client: self.client_of(service)?,
            host,
        })
    }

    /// The member in a slot of `mongo`.
    pub fn mongo_in_slot(&mut self, slot: u64) -> Result<Mongo> {
        let address = self
            .member("mongo", slot)?
            .address
            .context("the task has no address yet")?;
        self.mongo(&address)
    }

    /// Clients on the set of the service `mongo`.
    pub fn start_load(&mut self) -> Result<Load> {
        self.start_load_on("mongo")
    }

    /// Clients on a service's set: three writers with `w: majority`, two readers that read linearizably.
    /// Returns once the first writes are through.
    pub fn start_load_on(&mut self, service: &str) -> Result<Load> {
        let set = self.set_name(service)?;
        self.start_load_at(service, set)
    }

    /// The same clients, through the routers of a sharded cluster.
    pub fn start_load_through(&mut self, routers: &str) -> Result<Load> {
        self.start_load_at(routers, String::new())
    }

    fn start_load_at(&mut self, service: &str, set: String) -> Result<Load> {
        let seed = format!("{}:27017", self.qualified(service));
        let client = self.client_of(service)?;
        self.step(format!("load on {seed}, set {set:?}"));
        match client.order(
            &Order::StartLoad {
                plan: LoadPlan { seed, set },
            },
            Duration::from_secs(60),
        )? {
            Answer::Load { id } => Ok(Load { client, id }),
            other => Err(unexpected(other)).context("the load does not start"),
        }
    }

    /// Writes that many megabytes, which do not compress, into the set of a service.
    pub fn fill(&mut self, service: &str, megabytes: u32) -> Result<()> {
        let set = self.set_name(service)?;
        let seed = format!("{}:27017", self.qualified(service));
        self.step(format!("fill {set} with {megabytes} MB"));
        let order = Order::Fill {
            plan: LoadPlan { seed, set },
            megabytes,
        };
        match self
            .client_of(service)?
            .order(&order, Duration::from_secs(240))?
        {
            Answer::Done => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    /// The name of a service's replica set, as its command line has it.
    pub fn set_name(&self, service: &str) -> Result<String> {
        let spec = self.service(service)?;
        let container = &spec["Spec"]["TaskTemplate"]["ContainerSpec"];
        let words: Vec<&str> = ["Command", "Args"]
            .iter()
            .flat_map(|part| container[part].as_array())
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let named = words
            .iter()
            .position(|word| *word == "--replSet")
            .and_then(|at| words.get(at + 1));
        let joined = words
            .iter()
            .find_map(|word| word.strip_prefix("--replSet="));
        Ok(named.copied().or(joined).unwrap_or(service).to_owned())
    }

    /// The clients' process in the network of a service; started when first asked for.
    fn client_of(&mut self, service: &str) -> Result<Client> {
        let network = self.network_of(service)?;
        if let Some(client) = self
            .client
            .as_ref()
            .filter(|client| client.network == network && client.is_well())
        {
            return Ok(client.clone());
        }
        let container = self.foothold_in(&network)?;
        let client = Client::start(self, &network, container)?;
        self.client = Some(client.clone());
        Ok(client)
    }

    /// Puts an idle container into a network, on the clients' machine, and returns its process.
    ///
    /// Swarm attaches containers on active nodes only, so that the machine is one for this moment.
    fn foothold_in(&mut self, network: &str) -> Result<u64> {
        self.await_until("no task waits for a node", Duration::from_secs(20), |lab| {
            let unplaced = ["new", "pending", "allocated"];
            let waits = |task: &Value| {
                unplaced
                    .iter()
                    .any(|state| task["Status"]["State"] == *state)
                    && task["DesiredState"] != "shutdown"
            };
            Ok(!lab.all_tasks()?.iter().any(waits))
        })?;
        self.set_availability(CLIENT, "active")?;
        let run = ["run", "--detach", "--network", network, IDLE];
        let attached = self
            .machine(CLIENT)
            .docker(Duration::from_secs(25), &run, &[]);
        self.set_availability(CLIENT, "drain")?;
        let state = self
            .machine(CLIENT)
            .ask(&format!("/containers/{}/json", attached?))?;
        state["State"]["Pid"]
            .as_u64()
            .context("the idle container does not run")
    }

    /// Takes the lab's clients out of every stack's network.
    pub(crate) fn give_up_foothold(&mut self) -> Result<()> {
        self.client = None;
        let machine = self.machine(CLIENT);
        let containers =
            machine.docker(Duration::from_secs(10), &["ps", "--all", "--quiet"], &[])?;
        if containers.is_empty() {
            return Ok(());
        }
        let containers: Vec<&str> = containers.lines().collect();
        machine.docker(
            Duration::from_secs(20),
            &[&["rm", "--force"], &containers[..]].concat(),
            &[],
        )?;
        self.await_until("the clients have left", Duration::from_secs(20), |lab| {
            let id = lab.node_id(CLIENT).to_owned();
            Ok(lab
                .all_tasks()?
                .iter()
                .all(|task| task["NodeID"] != *id || task["Status"]["State"] != "running"))
        })
    }

    /// The network that a service is in. Where the service is gone, that of the clients.
    fn network_of(&self, service: &str) -> Result<String> {
        let service = match self.service(service) {
            Ok(service) => service,
            Err(why) => {
                return self
                    .client
                    .as_ref()
                    .map(|client| client.network.clone())
                    .ok_or(why);
            }
        };
        let network = service["Spec"]["TaskTemplate"]["Networks"][0]["Target"].as_str();
        Ok(network.context("the service is in no network")?.to_owned())
    }
}

impl Client {
    fn is_well(&self) -> bool {
        let mut process = self
            .process
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        process.orders.is_some() && matches!(process.child.try_wait(), Ok(None))
    }
}
