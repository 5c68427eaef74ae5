//! The questions of one cycle, and what the answers mean.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use bson::{Bson, Document, doc};
use serde::Deserialize;

use super::{Known, MongoError, Mongods, QUIESCE_PARAMETER, READ_DEADLINE, explain};
use crate::mongo::model::{
    InitialSync, MemberReport, MemberState, MemberStatus, OpTime, Replication, ServerVersion,
    SetConfig, SetReport,
};
use crate::names::{Host, MemberId};

/// `NotYetInitialized`.
const NOT_YET_INITIALISED: i32 = 94;
/// `NoReplicationEnabled`.
const NO_REPLICATION: i32 = 76;
/// `InvalidReplicaSetConfig`: here, that the mongod is not a member of its own configuration.
const NOT_IN_CONFIG: i32 = 93;

impl Mongods {
    pub(super) async fn read_all(
        &self,
        at: SocketAddr,
        leaving: bool,
    ) -> Result<MemberReport, MongoError> {
        let known = self.known(at).await?;
        let asked = Asked { at, known: &known };
        let version = match known.version {
            Some(version) => version,
            None => {
                let version = asked.version().await?;
                if let Some(known) = self.lock().get_mut(&at) {
                    known.version = Some(version);
                }
                version
            }
        };
        let quiesce_ms = if leaving {
            asked.quiesce_ms().await?
        } else {
            None
        };
        let replication = match asked.admin(doc! { "replSetGetStatus": 1 }).await {
            Ok(status) => Replication::InSet(Box::new(asked.in_set(Some(status)).await?)),
            Err(MongoError::Command { code, .. }) if code == NOT_IN_CONFIG => {
                Replication::InSet(Box::new(asked.in_set(None).await?))
            }
            Err(MongoError::Command { code, .. }) if code == NO_REPLICATION => {
                Replication::NotEnabled
            }
            Err(MongoError::Command { code, .. }) if code == NOT_YET_INITIALISED => {
                asked.without_config().await?
            }
            Err(error) => return Err(error),
        };
        Ok(MemberReport {
            version,
            quiesce_ms,
            replication,
        })
    }
}

impl Mongods {
    /// Asks a member only how it sees the others.
    ///
    /// # Errors
    /// It does not answer, or is no member.
    pub async fn glance(
        &self,
        at: SocketAddr,
    ) -> Result<Vec<(MemberId, MemberState, bool)>, MongoError> {
        let question = doc! { "replSetGetStatus": 1 };
        let answer = self.run(at, question, READ_DEADLINE).await?;
        let status: Status = parse("replSetGetStatus", answer)?;
        let seen = status.members.into_iter().map(MemberEntry::status);
        Ok(seen.map(|m| (m.id, m.state, m.healthy)).collect())
    }

    /// Whom a member replicates from; `None` for a primary, or while it looks for one.
    ///
    /// # Errors
    /// It does not answer, or is no member.
    pub async fn sync_source(&self, at: SocketAddr) -> Result<Option<Host>, MongoError> {
        let question = doc! { "replSetGetStatus": 1 };
        let answer = self.run(at, question, READ_DEADLINE).await?;
        let status: Status = parse("replSetGetStatus", answer)?;
        let own = status.members.into_iter().find(|m| m.is_self);
        Ok(own.and_then(|own| own.status().sync_source))
    }
}

struct Asked<'a> {
    at: SocketAddr,
    known: &'a Known,
}

impl Asked<'_> {
    async fn admin(&self, command: Document) -> Result<Document, MongoError> {
        let answer = self
            .known
            .client
            .database("admin")
            .run_command(command)
            .await;
        answer.map_err(|error| explain(self.at, &error))
    }

    async fn version(&self) -> Result<ServerVersion, MongoError> {
        let info = self.admin(doc! { "buildInfo": 1 }).await?;
        let text = info.get_str("version").unwrap_or_default();
        ServerVersion::parse(text)
            .ok_or_else(|| not_understood("buildInfo", format!("version {text:?}")))
    }

    async fn quiesce_ms(&self) -> Result<Option<u64>, MongoError> {
        let answer = self
            .admin(doc! { "getParameter": 1, QUIESCE_PARAMETER: 1 })
            .await;
        Ok(answer
            .ok()
            .and_then(|a| whole(&a, QUIESCE_PARAMETER)?.try_into().ok()))
    }

    /// What `local.system.replset` says: the configuration as the server keeps it, with `newlyAdded`.
    async fn stored_config(&self) -> Result<Option<Document>, MongoError> {
        let replset = self
            .known
            .client
            .database("local")
            .collection::<Document>("system.replset");
        let found = replset.find_one(doc! {}).await;
        found.map_err(|error| explain(self.at, &error))
    }

    /// Code 94 comes also while a configuration is being read from disk; only its absence there means empty.
    ///
    /// In this state a mongod refuses `listDatabases`. `catalogStats` counts collections; servers of 5.0 may lack it,
    /// and then the server's own check at initiation (code 110) stands alone.
    async fn without_config(&self) -> Result<Replication, MongoError> {
        if self.stored_config().await?.is_some() {
            return Ok(Replication::LoadingConfig);
        }
        let status = self.admin(doc! { "serverStatus": 1 }).await?;
        let catalog = status.get_document("catalogStats").ok();
        let collections = catalog.and_then(|c| whole(c, "collections"));
        let collections = collections.and_then(|n| n.try_into().ok()).unwrap_or(0);
        Ok(Replication::NotYetInitialised { collections })
    }

    async fn in_set(&self, status: Option<Document>) -> Result<SetReport, MongoError> {
        let mut status = match status {
            Some(status) => parse("replSetGetStatus", status)?,
            None => Status::removed(),
        };
        let state = MemberState::from_number(status.my_state);
        let leads = state == MemberState::Primary;
        let mut question = doc! { "replSetGetConfig": 1 };
        if leads {
            question.insert("commitmentStatus", true);
        }
        let mut answer = match self.admin(question).await {
            // It lost or won an election between the two questions.
            Err(MongoError::Command { .. }) if leads => {
                self.admin(doc! { "replSetGetConfig": 1 }).await?
            }
            answer => answer?,
        };
        let committed = answer.get_bool("commitmentStatus").ok();
        let config = answer.remove("config").unwrap_or_default();
        let config: SetConfig = match config {
            Bson::Document(config) => parse("replSetGetConfig", config)?,
            _ => return Err(not_understood("replSetGetConfig", "it has no config")),
        };
        // Only the stored configuration shows it, and it cannot be read during an initial sync.
        let stored = if leads {
            self.stored_config().await?
        } else {
            None
        };
        let newly_added = stored.map(|s| newly_added(&s)).unwrap_or_default();
        let self_id = status.members.iter().find(|m| m.is_self).map(|m| m.id);
        Ok(SetReport {
            state,
            self_id,
            term: status.term,
            config,
            committed,
            newly_added,
            initial_sync: status.initial_sync.take().map(|s| s.progress()),
            members: status
                .members
                .into_iter()
                .map(MemberEntry::status)
                .collect(),
        })
    }
}

/// The members of a stored configuration that are marked `newlyAdded`.
fn newly_added(stored: &Document) -> BTreeSet<MemberId> {
    let members = stored.get_array("members").into_iter().flatten();
    let marked = members
        .filter_map(Bson::as_document)
        .filter(|m| m.contains_key("newlyAdded"));
    let ids = marked.filter_map(|m| whole(m, "_id").and_then(|id| i32::try_from(id).ok()));
    ids.map(MemberId).collect()
}

pub(super) fn not_understood(command: &'static str, why: impl ToString) -> MongoError {
    let why = why.to_string();
    MongoError::NotUnderstood { command, why }
}

fn parse<T: for<'de> Deserialize<'de>>(
    command: &'static str,
    answer: Document,
) -> Result<T, MongoError> {
    bson::deserialize_from_document(answer).map_err(|error| not_understood(command, error))
}

/// A whole number, whichever of BSON's number types it came as.
pub(super) fn whole(document: &Document, key: &str) -> Option<i64> {
    match document.get(key)? {
        Bson::Int32(n) => Some(i64::from(*n)),
        Bson::Int64(n) => Some(*n),
        Bson::Double(n) => Some(*n as i64),
        _ => None,
    }
}

/// `replSetGetStatus` (manual, "replSetGetStatus").
#[derive(Deserialize)]
struct Status {
    #[serde(rename = "myState")]
    my_state: i32,
    #[serde(default)]
    term: i64,
    #[serde(default)]
    members: Vec<MemberEntry>,
    #[serde(default, rename = "initialSyncStatus")]
    initial_sync: Option<InitialSyncEntry>,
}

impl Status {
    fn removed() -> Self {
        Self {
            my_state: 10,
            term: -1,
            members: Vec::new(),
            initial_sync: None,
        }
    }
}

#[derive(Deserialize)]
struct MemberEntry {
    #[serde(rename = "_id")]
    id: MemberId,
    name: Host,
    #[serde(default)]
    health: f64,
    state: i32,
    #[serde(default)]
    optime: Option<OpTimeEntry>,
    #[serde(default, rename = "syncSourceHost")]
    sync_source: String,
    #[serde(default, rename = "lastHeartbeatMessage")]
    message: String,
    #[serde(default, rename = "self")]
    is_self: bool,
}

#[derive(Deserialize)]
struct OpTimeEntry {
    ts: bson::Timestamp,
    #[serde(default)]
    t: i64,
}

impl MemberEntry {
    fn status(self) -> MemberStatus {
        let text = |text: String| Some(text).filter(|t| !t.is_empty());
        // A member that was never reached is shown with a position of zero.
        let applied = self.optime.filter(|o| o.ts.time > 0).map(|o| OpTime {
            term: o.t,
            seconds: o.ts.time,
            increment: o.ts.increment,
        });
        MemberStatus {
            id: self.id,
            host: self.name,
            state: MemberState::from_number(self.state),
            healthy: self.health > 0.0,
            applied,
            sync_source: text(self.sync_source).map(Host::new),
            message: text(self.message),
        }
    }
}

#[derive(Deserialize)]
struct InitialSyncEntry {
    #[serde(default, rename = "approxTotalDataSize")]
    total: Option<Bson>,
    #[serde(default, rename = "approxTotalBytesCopied")]
    copied: Option<Bson>,
}

impl InitialSyncEntry {
    fn progress(self) -> InitialSync {
        let number = |value: Option<Bson>| value.and_then(|v| whole(&doc! { "n": v }, "n"));
        InitialSync {
            bytes_in_all: number(self.total),
            bytes_copied: number(self.copied),
        }
    }
}
