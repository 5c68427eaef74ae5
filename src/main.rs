//! The command line, and the agent's life from start to signal.

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::Parser;
use swarmset::agent::Agent;
use swarmset::cli::arguments::{AgentArguments, Arguments, Command};
use swarmset::cli::{self, CliError};
use swarmset::mongo::client::Mongods;
use swarmset::names::{NodeId, ServiceId};
use swarmset::status::document::Document;
use swarmset::status::http::Server;
use swarmset::status::token::Token;
use swarmset::swarm::client::Scope;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};
use tracing_subscriber::EnvFilter;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<ExitCode> {
    match Arguments::parse().command {
        Command::Agent(arguments) => {
            log();
            agent(arguments).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Show(command) => Ok(
            match cli::run(command, &mut anstream::stdout().lock()).await {
                Ok(code) => ExitCode::from(code),
                Err(error) if error.is_closed_pipe() => ExitCode::SUCCESS,
                Err(error) => {
                    anstream::eprintln!("swarmset: {error}");
                    match error {
                        CliError::Ask(_) => ExitCode::from(cli::NOBODY),
                        CliError::Write(_) | CliError::Json(_) => ExitCode::FAILURE,
                    }
                }
            },
        ),
    }
}

fn log() {
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
}

async fn agent(arguments: AgentArguments) -> anyhow::Result<()> {
    let given = |text: Option<String>| text.filter(|t| !t.is_empty());
    let scope = Scope {
        stack: given(arguments.stack),
        agent_service: given(arguments.service).map(ServiceId::new),
        node: given(arguments.node).map(NodeId::new),
    };
    let token = arguments
        .token_file
        .filter(|path| !path.as_os_str().is_empty());
    let token = token.map(|path| {
        Token::from_file(&path).with_context(|| format!("--token-file {}", path.display()))
    });
    let token = token.transpose()?;
    let server = Server::bind(arguments.listen)
        .await
        .with_context(|| format!("cannot listen on {}", arguments.listen))?;
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
    let run = async {
        let mongods = Mongods::new(arguments.key_file);
        let agent = Agent::start(&arguments.docker_host, scope, mongods, publisher);
        tokio::select! {
            agent = agent => agent.run(stop).await,
            () = stop.notified() => {}
        }
    };
    tokio::select! {
        () = server.serve(published, token) => Ok(()),
        () = run => Ok(()),
    }
}
