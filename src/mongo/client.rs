//! Asks and tells single mongods, each by its address, through one direct connection pool a mongod.

mod books;
mod read;
mod router;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bson::{Document, doc};
use mongodb::Client;
use mongodb::error::ErrorKind;
use mongodb::options::{
    AuthMechanism, ClientOptions, Credential, ServerAddress, ServerMonitoringMode,
};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::model::{MemberReport, RouterReport, ServerVersion, SetConfig};
use crate::names::{ClusterName, Host};

/// How long one mongod may take to be asked all questions of one cycle.
pub const READ_DEADLINE: Duration = Duration::from_millis(1500);
const CONNECT_DEADLINE: Duration = Duration::from_millis(500);
/// A reconfiguration waits for a majority to have it: mostly one heartbeat (2 s).
const RECONFIGURE_DEADLINE: Duration = Duration::from_secs(15);
const COMMAND_DEADLINE: Duration = Duration::from_secs(5);

/// Why a mongod's answer could not be had.
#[derive(Debug, Error, strum::IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum MongoError {
    /// No connection.
    #[error("no connection to {address}: {why}")]
    NoConnection {
        /// Where.
        address: SocketAddr,
        /// The reason.
        why: String,
    },
    /// It said no.
    #[error("{message} (code {code})")]
    Command {
        /// MongoDB's error code.
        code: i32,
        /// Its words.
        message: String,
    },
    /// The connection broke or the time ran out: whether it was done is not known.
    #[error("no answer from {address}: {why}")]
    NoAnswer {
        /// Where.
        address: SocketAddr,
        /// The reason.
        why: String,
    },
    /// The answer is not of the form that MongoDB documents.
    #[error("answer of {command} not understood: {why}")]
    NotUnderstood {
        /// The command.
        command: &'static str,
        /// What is wrong.
        why: String,
    },
}

/// All mongods that were talked to of late.
pub struct Mongods {
    key_file: Option<PathBuf>,
    known: Mutex<BTreeMap<SocketAddr, Known>>,
    errors: Mutex<BTreeMap<&'static str, u64>>,
    routers: Mutex<BTreeMap<SocketAddr, RouterReport>>,
    clusters: Mutex<BTreeMap<ClusterName, router::Known>>,
}

#[derive(Clone)]
struct Known {
    client: Client,
    version: Option<ServerVersion>,
}

impl Mongods {
    /// Talks to mongods as `__system`, by the key in this file; without one, without authentication.
    pub fn new(key_file: Option<PathBuf>) -> Self {
        Self {
            key_file,
            known: Mutex::default(),
            errors: Mutex::default(),
            routers: Mutex::default(),
            clusters: Mutex::default(),
        }
    }

    /// Whether a key is given.
    pub fn authenticates(&self) -> bool {
        self.key_file.is_some()
    }

    /// Asks one mongod for all that a cycle wants to know.
    ///
    /// # Errors
    /// It does not answer within [`READ_DEADLINE`], or not as documented.
    pub async fn read(&self, at: SocketAddr, leaving: bool) -> Result<MemberReport, MongoError> {
        let report = timeout(READ_DEADLINE, self.read_all(at, leaving)).await;
        let report = report.unwrap_or_else(|_| {
            Err(MongoError::NoAnswer {
                address: at,
                why: format!("nothing within {} ms", READ_DEADLINE.as_millis()),
            })
        });
        self.note(&report);
        if matches!(report, Err(MongoError::NoAnswer { .. })) {
            // The driver would wait before it looks again; a fresh client looks at once.
            self.forget(at);
        }
        report
    }

    /// Keeps connections only to these.
    pub fn keep_only(&self, wanted: impl Fn(&SocketAddr) -> bool) {
        self.lock().retain(|at, _| wanted(at));
        self.lock_routers().retain(|at, _| wanted(at));
    }

    /// `replSetInitiate`.
    ///
    /// # Errors
    /// As the server says; 23 is "already initialised".
    pub async fn initiate(&self, at: SocketAddr, config: &SetConfig) -> Result<(), MongoError> {
        let config = to_document(config)?;
        let command = doc! { "replSetInitiate": config };
        self.run(at, command, RECONFIGURE_DEADLINE).await.map(drop)
    }

    /// `replSetReconfig`, without `force`.
    ///
    /// # Errors
    /// As the server says.
    pub async fn reconfigure(&self, at: SocketAddr, config: &SetConfig) -> Result<(), MongoError> {
        let config = to_document(config)?;
        let limit = i64::try_from(RECONFIGURE_DEADLINE.as_millis()).unwrap_or(i64::MAX) - 2000;
        let command = doc! { "replSetReconfig": config, "maxTimeMS": limit };
        self.run(at, command, RECONFIGURE_DEADLINE).await.map(drop)
    }

    /// `replSetStepUp`.
    ///
    /// # Errors
    /// As the server says, when it was not elected.
    pub async fn stand_for_election(&self, at: SocketAddr) -> Result<(), MongoError> {
        self.run(at, doc! { "replSetStepUp": 1 }, COMMAND_DEADLINE)
            .await
            .map(drop)
    }

    /// `replSetStepDown`: it takes no more writes, waits for so long until a majority and one that can be elected have
    /// the last one, then leads no more, and does not stand for `rest`.
    ///
    /// # Errors
    /// As the server says; nobody caught up in time, or it is no primary.
    pub async fn step_down(
        &self,
        at: SocketAddr,
        catch_up: Duration,
        rest: Duration,
    ) -> Result<(), MongoError> {
        let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        let command = doc! {
            "replSetStepDown": seconds(rest),
            "secondaryCatchUpPeriodSecs": seconds(catch_up),
        };
        self.run(at, command, COMMAND_DEADLINE).await.map(drop)
    }

    /// `replSetFreeze`: it does not stand for election for so long.
    ///
    /// # Errors
    /// As the server says; a primary refuses.
    pub async fn freeze(&self, at: SocketAddr, time: Duration) -> Result<(), MongoError> {
        let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        let command = doc! { "replSetFreeze": seconds };
        self.run(at, command, COMMAND_DEADLINE).await.map(drop)
    }

    /// `replSetSyncFrom`: it is to replicate from this member, by the name in the configuration.
    ///
    /// # Errors
    /// As the server says; a primary refuses.
    pub async fn sync_from(&self, at: SocketAddr, source: &Host) -> Result<(), MongoError> {
        let command = doc! { "replSetSyncFrom": source.as_str() };
        self.run(at, command, COMMAND_DEADLINE).await.map(drop)
    }

    /// Sets `shutdownTimeoutMillisForSignaledShutdown`.
    ///
    /// # Errors
    /// As the server says.
    pub async fn extend_quiesce(
        &self,
        at: SocketAddr,
        milliseconds: u64,
    ) -> Result<(), MongoError> {
        let milliseconds = i32::try_from(milliseconds).unwrap_or(i32::MAX);
        let command = doc! { "setParameter": 1, QUIESCE_PARAMETER: milliseconds };
        self.run(at, command, COMMAND_DEADLINE).await.map(drop)
    }

    /// `shutdown`. That the connection ends without an answer is the answer.
    ///
    /// # Errors
    /// No connection, or the server's refusal.
    pub async fn shut_down(&self, at: SocketAddr, force: bool) -> Result<(), MongoError> {
        let command = doc! { "shutdown": 1, "force": force, "timeoutSecs": 1 };
        let ended = self.run(at, command, COMMAND_DEADLINE).await;
        self.forget(at);
        match ended {
            Ok(_) | Err(MongoError::NoAnswer { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn run(
        &self,
        at: SocketAddr,
        command: Document,
        limit: Duration,
    ) -> Result<Document, MongoError> {
        let answer = self.run_once(at, command, limit).await;
        self.note(&answer);
        answer
    }

    async fn run_once(
        &self,
        at: SocketAddr,
        command: Document,
        limit: Duration,
    ) -> Result<Document, MongoError> {
        let known = self.known(at).await?;
        let admin = known.client.database("admin");
        match timeout(limit, admin.run_command(command)).await {
            Ok(answer) => answer.map_err(|error| explain(at, &error)),
            Err(_) => Err(MongoError::NoAnswer {
                address: at,
                why: format!("nothing within {} s", limit.as_secs()),
            }),
        }
    }

    /// How many questions and commands failed, by kind: `no-connection`, `command`, `no-answer`, `not-understood`.
    pub fn errors(&self) -> BTreeMap<&'static str, u64> {
        let errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        errors.clone()
    }

    fn note<T>(&self, answer: &Result<T, MongoError>) {
        if let Err(error) = answer {
            let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
            *errors.entry(error.into()).or_default() += 1;
        }
    }

    /// A client, once something listens there: the driver itself would look again only after half a second.
    async fn known(&self, at: SocketAddr) -> Result<Known, MongoError> {
        if let Some(known) = self.lock().get(&at) {
            return Ok(known.clone());
        }
        let failed = |why| MongoError::NoConnection { address: at, why };
        match timeout(CONNECT_DEADLINE, TcpStream::connect(at)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(failed(error.to_string())),
            Err(_) => return Err(failed("nobody answers at this address".into())),
        }
        let mut options = ClientOptions::default();
        options.hosts = vec![ServerAddress::Tcp {
            host: at.ip().to_string(),
            port: Some(at.port()),
        }];
        options.direct_connection = Some(true);
        options.app_name = Some("swarmset".into());
        options.connect_timeout = Some(CONNECT_DEADLINE);
        options.server_selection_timeout = Some(CONNECT_DEADLINE);
        options.max_pool_size = Some(4);
        options.retry_reads = Some(false);
        options.retry_writes = Some(false);
        // Every cycle asks anyway; a quiescing member errs on `hello`, and would be given up.
        options.heartbeat_freq = Some(Duration::from_secs(120));
        options.server_monitoring_mode = Some(ServerMonitoringMode::Poll);
        options.credential = self.credential().await.map_err(failed)?;
        let client = Client::with_options(options).map_err(|error| failed(error.to_string()))?;
        let known = Known {
            client,
            version: None,
        };
        self.lock().insert(at, known.clone());
        Ok(known)
    }

    /// mongod's internal user: its password is the key, without white space (server README, "auth").
    async fn credential(&self) -> Result<Option<Credential>, String> {
        let Some(path) = &self.key_file else {
            return Ok(None);
        };
        let key = tokio::fs::read_to_string(path).await;
        let key = key.map_err(|error| format!("key file {}: {error}", path.display()))?;
        let password: String = key.split_whitespace().collect();
        let credential = Credential::builder()
            .username("__system".to_owned())
            .source("local".to_owned())
            .mechanism(AuthMechanism::ScramSha256)
            .password(password);
        Ok(Some(credential.build()))
    }

    fn forget(&self, at: SocketAddr) {
        self.lock().remove(&at);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<SocketAddr, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_routers(&self) -> MutexGuard<'_, BTreeMap<SocketAddr, RouterReport>> {
        self.routers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_clusters(&self) -> MutexGuard<'_, BTreeMap<ClusterName, router::Known>> {
        self.clusters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const QUIESCE_PARAMETER: &str = "shutdownTimeoutMillisForSignaledShutdown";

fn to_document(config: &SetConfig) -> Result<Document, MongoError> {
    bson::serialize_to_document(config).map_err(|error| MongoError::NotUnderstood {
        command: "replSetGetConfig",
        why: error.to_string(),
    })
}

fn explain(address: SocketAddr, error: &mongodb::error::Error) -> MongoError {
    match &*error.kind {
        ErrorKind::Command(command) => MongoError::Command {
            code: command.code,
            message: command.message.clone(),
        },
        other => MongoError::NoAnswer {
            address,
            why: other.to_string(),
        },
    }
}
