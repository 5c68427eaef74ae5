//! The cluster's books follow each shard's members: mongos hears of them, and tells the config servers (server 6.0,
//! `ShardRegistry::updateReplicaSetOnConfigServer`). From 6.1 on a shard's primary does so, too.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use mongodb::bson::{Bson, Document, doc};

use super::commands::Cluster;

/// mongos hears of a change at once; this looks often.
const PACE: Duration = Duration::from_millis(300);

/// Looks for ever.
pub async fn follow(cluster: Arc<Cluster>) {
    loop {
        for shard in cluster.shards().await.unwrap_or_default() {
            // A shard without a primary is looked at again.
            let _ = follow_one(&cluster, &shard).await;
        }
        tokio::time::sleep(PACE).await;
    }
}

async fn follow_one(cluster: &Cluster, entry: &Document) -> Result<()> {
    let (name, listed) = (entry.get_str("_id")?, entry.get_str("host")?);
    let shard = cluster.shard(name).await?;
    let hello = shard
        .database("admin")
        .run_command(doc! { "hello": 1 })
        .await?;
    let fields = ["hosts", "passives", "arbiters"];
    let lists = fields
        .iter()
        .filter_map(|field| hello.get_array(field).ok());
    let hosts: BTreeSet<&str> = lists.flatten().filter_map(Bson::as_str).collect();
    let set = hello.get_str("setName")?;
    let seen = format!("{set}/{}", hosts.into_iter().collect::<Vec<_>>().join(","));
    if seen == listed {
        return Ok(());
    }
    cluster.list(name, &seen).await
}
