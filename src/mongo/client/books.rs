//! Ordinary reads of a cluster's own books, `config.*`: the same through a router and on the config servers.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bson::{Bson, Document, doc};
use futures_util::TryStreamExt as _;
use jiff::Timestamp;
use mongodb::Client;
use mongodb::options::ReadConcern;

use super::read::whole;
use super::{MongoError, explain};
use crate::mongo::model::{Balancer, ClusterReport, Counts, Obstacles, ShardEntry};
use crate::names::ShardName;

/// Some jumbo chunks are enough to see what it is about.
const JUMBO_SHOWN: i64 = 5;

/// A cluster's `config.*`.
pub(super) struct Books {
    pub(super) client: Client,
    pub(super) at: SocketAddr,
}

impl Books {
    pub(super) async fn report(&self) -> Result<ClusterReport, MongoError> {
        let version = self.one("version", doc! {}).await?;
        let settings = self.one("settings", doc! { "_id": "balancer" }).await?;
        let shards = self.all("shards", doc! {}).await?;
        let mut report = ClusterReport {
            cluster_id: version.and_then(|v| Some(v.get_object_id("clusterId").ok()?.to_hex())),
            shards: shards.iter().filter_map(shard_entry).collect(),
            balancer: settings.as_ref().map(balancer).unwrap_or_default(),
            ..ClusterReport::default()
        };
        for entry in report.shards.iter().filter(|s| s.draining) {
            let on_it = doc! { "primary": entry.name.as_str() };
            let databases = self.all("databases", on_it).await?;
            let names = databases.iter().filter_map(|d| d.get_str("_id").ok());
            let names = names.map(str::to_owned).collect();
            report.to_move.insert(entry.name.clone(), names);
        }
        Ok(report)
    }

    pub(super) async fn counts(&self) -> Result<Counts, MongoError> {
        Ok(Counts {
            at: Timestamp::now(),
            databases: self.count("databases", "$primary").await?,
            chunks: self.count("chunks", "$shard").await?,
        })
    }

    /// What keeps chunks on a shard. Chunks name their collection by UUID since 5.0.
    pub(super) async fn obstacles(&self, shard: &ShardName) -> Result<Obstacles, MongoError> {
        let chunks = self.collection("chunks");
        let jumbo = doc! { "shard": shard.as_str(), "jumbo": true };
        let jumbo = chunks.find(jumbo).limit(JUMBO_SHOWN).await;
        let jumbo = jumbo.map_err(|error| explain(self.at, &error))?;
        let jumbo: Vec<Document> = self.said(jumbo.try_collect().await)?;
        let mut found = Obstacles::default();
        for chunk in jumbo {
            let by_id = doc! { "uuid": chunk.get("uuid").cloned().unwrap_or(Bson::Null) };
            let collection = self.one("collections", by_id).await?;
            let name = collection.as_ref().and_then(|c| c.get_str("_id").ok());
            let from = chunk.get_document("min").map(ToString::to_string);
            let name = name.unwrap_or("a collection");
            let from = from.unwrap_or_default();
            found.jumbo_chunks.push(format!("{name} from {from}"));
        }
        for collection in self.all("collections", doc! { "noBalance": true }).await? {
            let uuid = collection.get("uuid").cloned().unwrap_or(Bson::Null);
            let there = doc! { "uuid": uuid, "shard": shard.as_str() };
            if self.one("chunks", there).await?.is_some()
                && let Ok(name) = collection.get_str("_id")
            {
                found.not_balanced.push(name.to_owned());
            }
        }
        Ok(found)
    }

    async fn count(&self, name: &str, by: &str) -> Result<BTreeMap<ShardName, u64>, MongoError> {
        let group = doc! { "$group": { "_id": by, "n": { "$sum": 1 } } };
        let cursor = self.collection(name).aggregate([group]).await;
        let cursor = cursor.map_err(|error| explain(self.at, &error))?;
        let groups: Vec<Document> = self.said(cursor.try_collect().await)?;
        let count = |g: &Document| {
            let shard = ShardName::new(g.get_str("_id").ok()?);
            Some((shard, u64::try_from(whole(g, "n")?).ok()?))
        };
        Ok(groups.iter().filter_map(count).collect())
    }

    async fn one(&self, name: &str, filter: Document) -> Result<Option<Document>, MongoError> {
        let collection = self.collection(name);
        let found = collection.find_one(filter);
        self.said(found.read_concern(ReadConcern::majority()).await)
    }

    async fn all(&self, name: &str, filter: Document) -> Result<Vec<Document>, MongoError> {
        let collection = self.collection(name);
        let found = collection.find(filter);
        let cursor = self.said(found.read_concern(ReadConcern::majority()).await)?;
        self.said(cursor.try_collect().await)
    }

    fn collection(&self, name: &str) -> mongodb::Collection<Document> {
        self.client.database("config").collection(name)
    }

    fn said<T>(&self, answer: mongodb::error::Result<T>) -> Result<T, MongoError> {
        answer.map_err(|error| explain(self.at, &error))
    }
}

fn shard_entry(document: &Document) -> Option<ShardEntry> {
    let draining = document.get_bool("draining").unwrap_or(false);
    let (name, host) = (
        document.get_str("_id").ok()?,
        document.get_str("host").ok()?,
    );
    Some(ShardEntry::parse(name, host, draining))
}

/// `stopped` is what older versions wrote, and goes before `mode` (server, `BalancerSettingsType`).
fn balancer(settings: &Document) -> Balancer {
    let stopped = settings.get_bool("stopped").unwrap_or(false);
    let off = settings.get_str("mode").is_ok_and(|m| m == "off");
    let window = settings.get_document("activeWindow").ok();
    let time = |key| Some(window?.get_str(key).ok()?.to_owned());
    Balancer {
        enabled: !stopped && !off,
        window: time("start").zip(time("stop")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn balancers() {
        let enabled = |settings: Document| balancer(&settings).enabled;
        assert!(enabled(doc! { "_id": "balancer" }));
        assert!(enabled(doc! { "mode": "full", "stopped": false }));
        assert!(!enabled(doc! { "mode": "off", "stopped": true }));
        assert!(!enabled(doc! { "mode": "off" }));
        assert!(!enabled(doc! { "stopped": true }));
        let windowed = balancer(&doc! { "activeWindow": { "start": "23:00", "stop": "6:00" } });
        assert_eq!(windowed.window, Some(("23:00".into(), "6:00".into())));
    }
}
