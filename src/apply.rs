//! One step, one command; an election alone takes several.

mod election;

mod sharding;

use std::fmt;

use futures_util::future::join_all;

use crate::mongo::client::{MongoError, Mongods};
use crate::step::{Ending, Step};
use crate::swarm::client::{Kept, SwarmClient};

/// What became of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It was done.
    Done,
    /// Somebody else was first, or it was so already.
    AlreadyTrue,
    /// It was not done, for a reason that passes by itself.
    NotYet {
        /// The reason.
        why: String,
    },
    /// It may have been done or not: look again before anything else.
    Unknown {
        /// The reason.
        why: String,
    },
    /// The server or the manager said no.
    Refused {
        /// Its words.
        why: String,
    },
}

impl fmt::Display for Applied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::AlreadyTrue => f.write_str("was so already"),
            Self::NotYet { why } => write!(f, "not yet: {why}"),
            Self::Unknown { why } => write!(f, "not known whether done: {why}"),
            Self::Refused { why } => write!(f, "refused: {why}"),
        }
    }
}

/// Carries out one step.
pub async fn apply(step: &Step, swarm: &SwarmClient, mongods: &Mongods) -> Applied {
    match step {
        Step::Claim {
            key,
            content,
            replica_set_id,
        } => {
            let name = key.claim_name();
            let made = swarm
                .create_claim(&name, content, replica_set_id.as_ref())
                .await;
            match made {
                Ok(Kept::Now) => Applied::Done,
                Ok(Kept::BySomebodyElse) => Applied::AlreadyTrue,
                Err(error) => swarm_said(&error),
            }
        }
        Step::RecordIdentity {
            claim,
            replica_set_id,
            ..
        } => match swarm.record_identity(claim, replica_set_id).await {
            Ok(()) => Applied::Done,
            Err(error) => swarm_said(&error),
        },
        Step::Initiate { on, config, .. } => mongo_said(mongods.initiate(on.address, config).await),
        Step::StandForElection { on, why, .. } => {
            election::stand(mongods, on, election::candidacies(*why)).await
        }
        Step::HandOver {
            from,
            to,
            others,
            outranks,
            ..
        } => election::hand_over(mongods, from, to, others, *outranks).await,
        Step::Reconfigure { on, config, .. } => {
            mongo_said(mongods.reconfigure(on.address, config).await)
        }
        Step::ExtendQuiesce {
            on, milliseconds, ..
        } => {
            let all = on
                .iter()
                .map(|t| mongods.extend_quiesce(t.address, *milliseconds));
            let failed = join_all(all).await.into_iter().find(Result::is_err);
            mongo_said(failed.unwrap_or(Ok(())))
        }
        Step::ShutDown { on, why, .. } => {
            let force = match why {
                Ending::Removed | Ending::Dissolved | Ending::RestartAlone => true,
                Ending::Restart => false,
            };
            mongo_said(mongods.shut_down(on.address, force).await)
        }
        Step::Sharding(step) => sharding::apply(step, mongods).await,
    }
}

fn swarm_said(error: &bollard::errors::Error) -> Applied {
    let why = error.to_string();
    match error {
        bollard::errors::Error::DockerResponseServerError {
            status_code: 400..500,
            ..
        } => Applied::Refused { why },
        _ => Applied::Unknown { why },
    }
}

/// MongoDB's error codes that a step can meet (server, `error_codes.yml`).
fn mongo_said(answer: Result<(), MongoError>) -> Applied {
    const ALREADY_INITIALISED: i32 = 23;
    const NOT_PRIMARY: [i32; 4] = [10107, 13435, 11602, 189];
    const CONFIG_IN_PROGRESS: i32 = 109;
    const CONFIG_NOT_COMMITTED: i32 = 308;
    const NODE_NOT_FOUND: i32 = 74;
    const SHUTTING_DOWN: [i32; 2] = [91, 11600];
    const TIME_LIMIT: i32 = 50;
    let (code, message) = match answer {
        Ok(()) => return Applied::Done,
        Err(MongoError::Command { code, message }) => (code, message),
        Err(error @ MongoError::NoAnswer { .. }) => {
            let why = error.to_string();
            return Applied::Unknown { why };
        }
        Err(error @ MongoError::NoConnection { .. }) => {
            let why = error.to_string();
            return Applied::NotYet { why };
        }
        Err(error @ MongoError::NotUnderstood { .. }) => {
            let why = error.to_string();
            return Applied::Refused { why };
        }
    };
    let why = format!("{message} (code {code})");
    match code {
        ALREADY_INITIALISED => Applied::AlreadyTrue,
        CONFIG_IN_PROGRESS | CONFIG_NOT_COMMITTED | NODE_NOT_FOUND => Applied::NotYet { why },
        TIME_LIMIT => Applied::Unknown { why },
        code if NOT_PRIMARY.contains(&code) || SHUTTING_DOWN.contains(&code) => {
            Applied::NotYet { why }
        }
        _ => Applied::Refused { why },
    }
}
