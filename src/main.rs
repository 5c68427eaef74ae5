//! The command line.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use clap::{Parser, Subcommand};
use swarmset::agent::Agent;
use swarmset::mongo::client::Mongods;
use swarmset::names::{NodeId, ServiceId};
use swarmset::status::{document::Document, http};
use swarmset::swarm::client::Scope;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};
use tracing_subscriber::EnvFilter;

/// Organises MongoDB replica sets on Docker Swarm.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Watch the Swarm and, on its leader, keep the replica sets as their services ask.
    Agent(AgentArguments),
}

#[derive(clap::Args)]
struct AgentArguments {
    /// The Docker engine: unix:///path or tcp://host:port.
    #[arg(
        long,
        env = "DOCKER_HOST",
        default_value = "unix:///var/run/docker.sock"
    )]
    docker_host: String,
    /// The stack whose services are looked after; without it, all that are labelled.
    #[arg(long, env = "SWARMSET_STACK")]
    stack: Option<String>,
    /// The id of the node that the agent runs on; the agent on the Swarm's leader acts.
    #[arg(long, env = "SWARMSET_NODE")]
    node: Option<String>,
    /// The id of the agent's own service: members are reached in its networks.
    #[arg(long, env = "SWARMSET_SERVICE")]
    service: Option<String>,
    /// The file that holds mongod's --keyFile; without it, mongods are talked to without authentication.
    #[arg(long, env = "SWARMSET_KEY_FILE")]
    key_file: Option<PathBuf>,
    /// Where /status, /healthz, /readyz and /metrics are served.
    #[arg(long, env = "SWARMSET_LISTEN", default_value = "0.0.0.0:27080")]
    listen: SocketAddr,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_env("SWARMSET_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    // Their debug output holds whole requests and answers, with all that people keep in environment variables.
    let quiet = [
        "bollard=info",
        "hyper=info",
        "hyper_util=info",
        "mongodb=info",
    ];
    let filter = quiet
        .iter()
        .filter_map(|d| d.parse().ok())
        .fold(filter, EnvFilter::add_directive);
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    match Arguments::parse().command {
        Command::Agent(arguments) => agent(arguments).await,
    }
}

async fn agent(arguments: AgentArguments) -> anyhow::Result<()> {
    let given = |text: Option<String>| text.filter(|t| !t.is_empty());
    let scope = Scope {
        stack: given(arguments.stack),
        agent_service: given(arguments.service).map(ServiceId::new),
        node: given(arguments.node).map(NodeId::new),
    };
    let (publisher, published) = watch::channel(Arc::new(Document::default()));
    let stop = Arc::new(Notify::new());
    let mut terminate =
        signal(SignalKind::terminate()).context("SIGTERM cannot be listened for")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be listened for")?;
    let stopper = Arc::clone(&stop);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stopper.notify_one();
    });
    let serve = http::serve(arguments.listen, published);
    let run = async {
        let mongods = Mongods::new(arguments.key_file);
        let agent = Agent::start(&arguments.docker_host, scope, mongods, publisher);
        tokio::select! {
            agent = agent => agent.run(stop).await,
            () = stop.notified() => {}
        }
    };
    tokio::select! {
        served = serve => served.with_context(|| format!("cannot serve on {}", arguments.listen)),
        () = run => Ok(()),
    }
}
