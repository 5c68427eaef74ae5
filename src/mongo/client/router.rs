//! Routers' public commands, and what they, a cluster's books and its shards are asked in a cycle.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use bson::{Document, doc};
use jiff::{SignedDuration, Timestamp};
use tokio::time::timeout;

use super::books::Books;
use super::read::{not_understood, whole};
use super::{COMMAND_DEADLINE, MongoError, Mongods, READ_DEADLINE, explain};
use crate::mongo::model::{
    ClusterReport, Counts, Obstacles, Remaining, Removal, RemovalReply, RouterReport,
    ServerVersion, ShardContent, ShardIdentity,
};
use crate::names::{ClusterName, Host, SetKey, SetName, ShardName};
use crate::step::RemovalCommand;

/// The config servers look at the new shard, and wait for a majority on both sides.
const ADD_DEADLINE: Duration = Duration::from_secs(60);
/// All unsharded collections of a database are copied. It goes on when the time is up, and is looked at again.
const MOVE_DEADLINE: Duration = Duration::from_secs(600);
/// Counting chunks reads them all: seldom, and more often only while a shard drains.
const COUNT_SELDOM: SignedDuration = SignedDuration::from_secs(60);
const COUNT_OFTEN: SignedDuration = SignedDuration::from_secs(5);
/// MongoDB's own databases.
const OWN_DATABASES: [&str; 3] = ["admin", "local", "config"];

/// What is kept of a cluster from cycle to cycle. It may be lost at any time.
#[derive(Default)]
pub(super) struct Known {
    removals: BTreeMap<ShardName, Removal>,
    counts: Option<Counts>,
    obstacles: BTreeMap<ShardName, Obstacles>,
    contents: BTreeMap<SetName, (Timestamp, ShardContent)>,
}

impl Mongods {
    /// Asks a router what it is.
    ///
    /// # Errors
    /// It does not answer, or is no router.
    pub async fn read_router(&self, at: SocketAddr) -> Result<RouterReport, MongoError> {
        let read = async {
            let hello = self.run(at, doc! { "hello": 1 }, READ_DEADLINE).await?;
            if hello.get_str("msg").ok() != Some("isdbgrid") {
                return Err(not_understood(
                    "hello",
                    "it is no router: start mongos there",
                ));
            }
            let known = self.lock_routers().get(&at).cloned();
            if let Some(known) = known {
                return Ok(known);
            }
            let info = self.run(at, doc! { "buildInfo": 1 }, READ_DEADLINE).await?;
            let text = info.get_str("version").unwrap_or_default();
            let version = ServerVersion::parse(text)
                .ok_or_else(|| not_understood("buildInfo", format!("version {text:?}")))?;
            let options = self
                .run(at, doc! { "getCmdLineOpts": 1 }, READ_DEADLINE)
                .await?;
            let sharding = options
                .get_document("parsed")
                .and_then(|p| p.get_document("sharding"));
            let config_db = sharding.and_then(|s| s.get_str("configDB")).ok();
            let report = RouterReport {
                version,
                config_db: config_db.map(str::to_owned),
            };
            self.lock_routers().insert(at, report.clone());
            Ok(report)
        };
        let answer = within(at, read).await;
        if answer.is_err() {
            self.lock_routers().remove(&at);
            self.forget(at);
        }
        answer
    }

    /// Reads a cluster's own books, through a router or on the primary of its config servers.
    ///
    /// # Errors
    /// They cannot be read, or not be understood.
    pub async fn read_cluster(
        &self,
        cluster: &ClusterName,
        at: SocketAddr,
    ) -> Result<ClusterReport, MongoError> {
        within(at, async {
            let books = Books {
                client: self.known(at).await?.client,
                at,
            };
            let mut report = books.report().await?;
            let (counts_due, draining) = {
                let known = self.lock_clusters();
                let counts = known.get(cluster).and_then(|k| k.counts.as_ref());
                let draining: Vec<ShardName> = report.to_move.keys().cloned().collect();
                let age = match draining.is_empty() {
                    true => COUNT_SELDOM,
                    false => COUNT_OFTEN,
                };
                let is_due = |c: &Counts| Timestamp::now().duration_since(c.at) >= age;
                (counts.is_none_or(is_due), draining)
            };
            let mut obstacles = BTreeMap::new();
            let counts = match counts_due {
                true => {
                    for shard in draining {
                        let found = books.obstacles(&shard).await?;
                        obstacles.insert(shard, found);
                    }
                    Some(books.counts().await?)
                }
                false => None,
            };
            let mut known = self.lock_clusters();
            let known = known.entry(cluster.clone()).or_default();
            if counts.is_some() {
                (known.counts, known.obstacles) = (counts, obstacles);
            }
            known.removals.retain(|s, _| report.to_move.contains_key(s));
            if report.to_move.is_empty() {
                known.contents.clear();
            }
            report.counts = known.counts.clone();
            report.obstacles = known.obstacles.clone();
            report.removals = known.removals.clone();
            Ok(report)
        })
        .await
    }

    /// What a set's primary holds. Sizes are asked for only where a shard drains, and seldom, since the server adds them
    /// up for each answer.
    ///
    /// # Errors
    /// It does not answer, or not as documented.
    pub async fn read_content(
        &self,
        key: &SetKey,
        at: SocketAddr,
        draining: bool,
    ) -> Result<ShardContent, MongoError> {
        if draining
            && let Some(known) = self.lock_clusters().get(&key.cluster)
            && let Some((when, content)) = known.contents.get(&key.set)
            && Timestamp::now().duration_since(*when) < COUNT_OFTEN
        {
            return Ok(content.clone());
        }
        let content = within(at, self.ask_content(at, draining)).await?;
        if draining {
            let mut known = self.lock_clusters();
            let contents = &mut known.entry(key.cluster.clone()).or_default().contents;
            contents.insert(key.set.clone(), (Timestamp::now(), content.clone()));
        }
        Ok(content)
    }

    async fn ask_content(&self, at: SocketAddr, sizes: bool) -> Result<ShardContent, MongoError> {
        let client = self.known(at).await?.client;
        let versions = client
            .database("admin")
            .collection::<Document>("system.version");
        let identity = versions.find_one(doc! { "_id": "shardIdentity" }).await;
        let identity = identity.map_err(|error| explain(at, &error))?;
        let command = doc! { "listDatabases": 1, "nameOnly": !sizes };
        let list = self.run(at, command, READ_DEADLINE).await?;
        let entries = list.get_array("databases");
        let entries = entries.map_err(|error| not_understood("listDatabases", error))?;
        let databases = entries.iter().filter_map(|entry| {
            let entry = entry.as_document()?;
            let name = entry.get_str("name").ok()?.to_owned();
            let bytes = whole(entry, "sizeOnDisk").unwrap_or(0);
            Some((name, u64::try_from(bytes).unwrap_or(0)))
        });
        let is_own = |name: &str| OWN_DATABASES.contains(&name);
        Ok(ShardContent {
            identity: identity.as_ref().and_then(shard_identity),
            databases: databases.filter(|(name, _)| !is_own(name)).collect(),
        })
    }

    /// `addShard`.
    ///
    /// # Errors
    /// As the router says.
    pub async fn add_shard(
        &self,
        at: SocketAddr,
        set: &SetName,
        seeds: &[Host],
    ) -> Result<(), MongoError> {
        let seeds: Vec<_> = seeds.iter().map(Host::as_str).collect();
        let command = doc! { "addShard": format!("{set}/{}", seeds.join(",")) };
        self.run(at, command, ADD_DEADLINE).await.map(drop)
    }

    /// `transitionFromDedicatedConfigServer`.
    ///
    /// # Errors
    /// As the router says.
    pub async fn add_config_shard(&self, at: SocketAddr) -> Result<(), MongoError> {
        let command = doc! { "transitionFromDedicatedConfigServer": 1 };
        self.run(at, command, ADD_DEADLINE).await.map(drop)
    }

    /// `balancerStart`.
    ///
    /// # Errors
    /// As the router says.
    pub async fn start_balancer(&self, at: SocketAddr) -> Result<(), MongoError> {
        let command = doc! { "balancerStart": 1 };
        self.run(at, command, ADD_DEADLINE).await.map(drop)
    }

    /// `movePrimary`.
    ///
    /// # Errors
    /// As the router says; without an answer in time it may go on.
    pub async fn move_primary(
        &self,
        at: SocketAddr,
        database: &str,
        to: &ShardName,
    ) -> Result<(), MongoError> {
        let command = doc! { "movePrimary": database, "to": to.as_str() };
        self.run(at, command, MOVE_DEADLINE).await.map(drop)
    }

    /// Begins to remove a shard, or asks how far that is. The answer is kept for the next reading of the cluster.
    ///
    /// # Errors
    /// As the router says, or its answer is not as documented.
    pub async fn remove_shard(
        &self,
        at: SocketAddr,
        cluster: &ClusterName,
        shard: &ShardName,
        command: RemovalCommand,
    ) -> Result<(), MongoError> {
        let command = match command {
            RemovalCommand::RemoveShard => doc! { "removeShard": shard.as_str() },
            RemovalCommand::ToDedicatedConfigServer => {
                doc! { "transitionToDedicatedConfigServer": 1 }
            }
        };
        let asked_for = Timestamp::now();
        let answer = self.run(at, command, COMMAND_DEADLINE * 2).await?;
        let reply = removal_reply(&answer)?;
        let mut known = self.lock_clusters();
        let removals = &mut known.entry(cluster.clone()).or_default().removals;
        let before = removals.remove(shard).and_then(|r| r.first);
        let first = before.or(match &reply {
            RemovalReply::Ongoing(left) => Some((asked_for, left.chunks)),
            RemovalReply::Started | RemovalReply::PendingCleanup | RemovalReply::Completed => None,
        });
        let asked = Timestamp::now();
        removals.insert(
            shard.clone(),
            Removal {
                first,
                asked,
                reply,
            },
        );
        Ok(())
    }
}

/// All questions together within one member's time.
async fn within<T>(
    at: SocketAddr,
    asked: impl Future<Output = Result<T, MongoError>>,
) -> Result<T, MongoError> {
    timeout(READ_DEADLINE, asked).await.unwrap_or_else(|_| {
        Err(MongoError::NoAnswer {
            address: at,
            why: format!("nothing within {} ms", READ_DEADLINE.as_millis()),
        })
    })
}

/// `removeShard`'s answer (manual; `collectionsToMove` and `pendingDataCleanup` since 8.0).
fn removal_reply(answer: &Document) -> Result<RemovalReply, MongoError> {
    let state = answer.get_str("state").unwrap_or_default();
    Ok(match state {
        "started" => RemovalReply::Started,
        "ongoing" => {
            let remaining = answer
                .get_document("remaining")
                .cloned()
                .unwrap_or_default();
            let number = |key| {
                whole(&remaining, key)
                    .and_then(|n| n.try_into().ok())
                    .unwrap_or(0)
            };
            let collections = answer.get_array("collectionsToMove").into_iter().flatten();
            RemovalReply::Ongoing(Remaining {
                chunks: number("chunks"),
                databases: number("dbs"),
                jumbo_chunks: number("jumboChunks"),
                collections_to_move: collections
                    .filter_map(|c| c.as_str().map(str::to_owned))
                    .collect(),
            })
        }
        "pendingDataCleanup" => RemovalReply::PendingCleanup,
        "completed" => RemovalReply::Completed,
        other => {
            let why = format!("state {other:?}");
            return Err(not_understood("removeShard", why));
        }
    })
}

fn shard_identity(document: &Document) -> Option<ShardIdentity> {
    Some(ShardIdentity {
        cluster_id: document.get_object_id("clusterId").ok()?.to_hex(),
        shard: ShardName::new(document.get_str("shardName").ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_of_remove_shard() {
        let started = doc! { "msg": "draining started successfully", "state": "started", "shard": "s2", "ok": 1 };
        assert_eq!(removal_reply(&started).ok(), Some(RemovalReply::Started));
        let ongoing = doc! {
            "state": "ongoing",
            "remaining": { "chunks": 3_i64, "dbs": 1_i64, "jumboChunks": 2_i64 },
            "dbsToMove": ["shop"], "ok": 1,
        };
        let left = Remaining {
            chunks: 3,
            databases: 1,
            jumbo_chunks: 2,
            collections_to_move: Vec::new(),
        };
        assert_eq!(
            removal_reply(&ongoing).ok(),
            Some(RemovalReply::Ongoing(left))
        );
        let cleanup = doc! { "state": "pendingDataCleanup", "ok": 1 };
        assert_eq!(
            removal_reply(&cleanup).ok(),
            Some(RemovalReply::PendingCleanup)
        );
        let completed = doc! { "state": "completed", "shard": "s2", "ok": 1 };
        assert_eq!(
            removal_reply(&completed).ok(),
            Some(RemovalReply::Completed)
        );
        assert!(removal_reply(&doc! { "ok": 1 }).is_err());
    }
}
