//! What the lab and its clients' process say to each other, a line of JSON each.

use crate::history::Verdict;
use mongodb::bson::Document;
use serde::{Deserialize, Serialize};

/// The key that members, agents and clients of the lab know each other by.
pub const KEY: &str = "bGFiIGtleSwgZm9yIHRlc3RzIG9ubHksIG5vdCBmb3IgYW55dGhpbmcgZWxzZQ";

/// What the clients' process is told to do.
#[derive(Debug, Serialize, Deserialize)]
pub enum Order {
    /// A command on one member.
    Run {
        /// Host and port.
        host: String,
        /// The database that the command is for.
        database: String,
        /// The command.
        command: Document,
    },
    /// Ask all of these who is primary.
    FindPrimary {
        /// Hosts and ports.
        hosts: Vec<String>,
    },
    /// Begin to write and read.
    StartLoad {
        /// Where.
        plan: LoadPlan,
    },
    /// Tell how far a load has come.
    LoadProgress {
        /// Which load.
        id: u32,
    },
    /// End a load and judge it.
    StopLoad {
        /// Which load.
        id: u32,
    },
    /// Write data that takes up room.
    Fill {
        /// Where.
        plan: LoadPlan,
        /// How much.
        megabytes: u32,
    },
}

/// Which replica set, or which routers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LoadPlan {
    /// A first address, host and port.
    pub seed: String,
    /// The set's name; empty: these are routers.
    pub set: String,
}

/// How far a load has come.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Progress {
    /// Writes that were acknowledged.
    pub acknowledged: u64,
    /// Writes and reads that failed.
    pub errors: u64,
    /// Since when no write was acknowledged, in milliseconds.
    pub silent_ms: u64,
}

/// What the clients' process answers.
#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    /// A member's answer to a command.
    Document {
        /// The answer.
        document: Document,
    },
    /// Who is primary.
    Primary {
        /// Its own name; nothing where there is none.
        host: Option<String>,
    },
    /// A member's error.
    Refused {
        /// MongoDB's error code.
        code: i32,
        /// Its name.
        name: String,
        /// What it says.
        message: String,
    },
    /// Anything that failed otherwise.
    Failed {
        /// What.
        why: String,
    },
    /// A load has begun.
    Load {
        /// To be named later.
        id: u32,
    },
    /// How far a load has come.
    Progress {
        /// So far.
        progress: Progress,
    },
    /// What is to be said of a load.
    Verdict {
        /// The judgement.
        verdict: Verdict,
    },
    /// That is done.
    Done,
}
