//! What may stand on the command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
pub use clap_complete::Shell;

const EXAMPLES: &str = "\
Examples:
  swarmset status                        how things stand, asked of any agent that is found
  swarmset status --url http://node1:27080 --json
  swarmset plan                          what would be done next, and why not
  swarmset events --follow               what is done, as it is done
  swarmset doctor                        what will bite, before it does
  until swarmset status >/dev/null; do sleep 1; done    wait until all is as asked for
  docker exec $(docker ps -qf name=app_agent) /swarmset status

Exit codes: 0 converged, 1 not yet, 2 needs a person, 3 no agent could be asked.
The doctor's: 0 nothing but advice, 1 a warning, 2 a danger.";

/// Organises MongoDB replica sets on Docker Swarm.
#[derive(Parser)]
#[command(version, about, after_help = EXAMPLES)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Watch the Swarm and, on its leader, keep the replica sets as their services ask.
    Agent(AgentArguments),
    /// Ask an agent.
    #[command(flatten)]
    Show(Show),
}

/// What an agent can be asked.
#[derive(Subcommand)]
pub enum Show {
    /// Show every replica set: members, votes, lag, steps, what is waited for and what is wrong.
    #[command(
        after_help = "Examples:\n  swarmset status --watch\n  swarmset status --json | jq '.sets[].primary'"
    )]
    Status(StatusArguments),
    /// Show what would be done next, and why the rest is not.
    #[command(after_help = "Example:\n  swarmset plan")]
    Plan(ShowArguments),
    /// Show what was done, and which faults came and went.
    #[command(
        after_help = "Examples:\n  swarmset events --follow\n  swarmset events --json | jq 'select(.kind == \"fault\")'"
    )]
    Events(EventsArguments),
    /// Show what will bite, before it does: where, why, and the line to change.
    #[command(
        after_help = "Examples:\n  swarmset doctor\n  swarmset doctor --json | jq '.[] | select(.severity == \"danger\")'\n\nExit codes: 0 nothing but advice, 1 a warning, 2 a danger, 3 no agent could be asked."
    )]
    Doctor(ShowArguments),
    /// Print a script that completes this command line in a shell.
    #[command(
        after_help = "Examples:\n  swarmset completions bash > /etc/bash_completion.d/swarmset\n  source <(swarmset completions zsh)"
    )]
    Completions {
        /// Which shell.
        shell: Shell,
    },
}

/// Options of `agent`.
#[derive(Args)]
pub struct AgentArguments {
    /// The Docker engine: unix:///path or tcp://host:port.
    #[arg(
        long,
        env = "DOCKER_HOST",
        default_value = "unix:///var/run/docker.sock"
    )]
    pub docker_host: String,
    /// The stack whose services are looked after; without it, all that are labelled.
    #[arg(long, env = "SWARMSET_STACK")]
    pub stack: Option<String>,
    /// The id of the node that the agent runs on; the agent on the Swarm's leader acts.
    #[arg(long, env = "SWARMSET_NODE")]
    pub node: Option<String>,
    /// The id of the agent's own service: members are reached in its networks.
    #[arg(long, env = "SWARMSET_SERVICE")]
    pub service: Option<String>,
    /// The file that holds mongod's --keyFile; without it, mongods are talked to without authentication.
    #[arg(long, env = "SWARMSET_KEY_FILE")]
    pub key_file: Option<PathBuf>,
    /// Where the page, /status, /healthz, /readyz and /metrics are served.
    #[arg(long, env = "SWARMSET_LISTEN", default_value = "0.0.0.0:27080")]
    pub listen: SocketAddr,
    /// The file that holds the token that a request has to bring, for everything but /healthz; without it, all may read.
    #[arg(long, env = "SWARMSET_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
}

/// Whom to ask.
#[derive(Args)]
pub struct Ask {
    /// The agent's address; without it, one is looked for on this machine, then on the managers that the Docker engine names.
    #[arg(long, env = "SWARMSET_URL")]
    pub url: Option<String>,
    /// The file that holds the token that the agent wants, if it wants one.
    #[arg(long, env = "SWARMSET_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
    /// The Docker engine that names the managers: unix:///path or tcp://host:port.
    #[arg(
        long,
        env = "DOCKER_HOST",
        default_value = "unix:///var/run/docker.sock"
    )]
    pub docker_host: String,
    /// The port that agents are looked for on.
    #[arg(long, default_value_t = 27080)]
    pub port: u16,
}

/// Options of `plan` and `doctor`.
#[derive(Args)]
pub struct ShowArguments {
    /// Whom to ask.
    #[command(flatten)]
    pub ask: Ask,
    /// As JSON.
    #[arg(long)]
    pub json: bool,
}

/// Options of `status`.
#[derive(Args)]
pub struct StatusArguments {
    /// Whom to ask.
    #[command(flatten)]
    pub ask: Ask,
    /// As JSON: the agent's whole document; with --watch, one line for each change.
    #[arg(long)]
    pub json: bool,
    /// Go on showing it as it changes, until interrupted.
    #[arg(long)]
    pub watch: bool,
}

/// Options of `events`.
#[derive(Args)]
pub struct EventsArguments {
    /// Whom to ask.
    #[command(flatten)]
    pub ask: Ask,
    /// As JSON, one line for each.
    #[arg(long)]
    pub json: bool,
    /// Go on showing what happens, until interrupted.
    #[arg(long)]
    pub follow: bool,
}
