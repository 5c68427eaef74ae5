//! A sharded cluster of real mongods on this computer's loopback, without Docker and without root: the agent as it is,
//! a Docker engine that only tells of services and tasks (engine.rs), and the stand-in for mongos (tests/router).
//!
//! mongod comes from the offline image's archive, `target/images/mongo.tar` (`images/mongo/build`), or from
//! `SWARMSET_TEST_MONGOD=/path`. `SWARMSET_TEST_MONGOS=/path` runs a real router instead of the stand-in, with its
//! libraries from `SWARMSET_TEST_LIBS`. Without a mongod it fails.

mod engine;
#[path = "../router/mod.rs"]
#[allow(dead_code, reason = "its command line is for containers")]
mod router;
mod servers;
mod story;

use std::time::Duration;

use anyhow::Result;
use mongodb::bson::doc;

use story::Story;

/// Long enough for elections and moves of chunks on a busy machine.
const SOON: Duration = Duration::from_secs(60);
const DOCUMENTS: i64 = 300;

#[test]
fn life_of_a_sharded_cluster() {
    let mongod = servers::mongod().expect(
        "a mongod: build target/images/mongo.tar (images/mongo/build), or set SWARMSET_TEST_MONGOD",
    );
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let told = runtime.block_on(async {
        let mut story = Story::begin(mongod).await?;
        let told = tell(&mut story).await;
        if told.is_err() {
            println!("{}", story.evidence());
        }
        told
    });
    runtime.shutdown_background();
    told.unwrap_or_else(|why| panic!("{why:#}"));
}

async fn tell(story: &mut Story) -> Result<()> {
    story.deploy("cfg", "config-server", &["--configsvr"])?;
    story.match_router_version(SOON).await?;
    story.deploy_router()?;
    story.deploy("s1", "shard", &["--shardsvr"])?;
    story.deploy("s2", "shard", &["--shardsvr"])?;
    story.await_state("s1", "serving", SOON).await?;
    story.await_state("s2", "serving", SOON).await?;
    story.await_converged(SOON).await?;

    // A database on s2, with a sharded collection of three chunks, and one collection that is not sharded.
    story
        .router(doc! { "enableSharding": "shop", "primaryShard": "s2" })
        .await?;
    let orders: Vec<_> = (0..DOCUMENTS).map(|id| doc! { "_id": id }).collect();
    story.insert("orders", orders).await?;
    story.insert("carts", vec![doc! { "_id": 1 }]).await?;
    story
        .router(doc! { "shardCollection": "shop.orders", "key": { "_id": 1 } })
        .await?;
    for middle in [DOCUMENTS / 3, 2 * DOCUMENTS / 3] {
        story
            .router(doc! { "split": "shop.orders", "middle": { "_id": middle } })
            .await?;
    }

    // A shard is added while the cluster serves.
    story.deploy("s3", "shard", &["--shardsvr"])?;
    story.await_state("s3", "serving", SOON).await?;

    // The books follow a shard's members, without anybody telling them.
    story.scale_up("s1")?;
    story.await_listed("s1", 2, SOON).await?;
    story.await_converged(SOON).await?;
    story.scale_down("s1", SOON).await?;
    story.await_listed("s1", 1, SOON).await?;
    story.await_converged(SOON).await?;

    // One with data of its own is refused, and holds up nobody.
    story.deploy_with_data("s4").await?;
    story
        .await_fault("s4 holds databases of its own (old)", SOON)
        .await?;
    story.forget("s4")?;

    // The balancer is off when the drain is asked for, and the agent dies in its middle.
    story.router(doc! { "balancerStop": 1 }).await?;
    story.label("s2", "swarmset.drain", "true");
    story.await_state("s2", "draining", SOON).await?;
    story.replace_agent().await?;
    story
        .await_state("s2", "removed", Duration::from_secs(120))
        .await?;
    story
        .await_waiting("safe to remove service s2", SOON)
        .await?;
    story.check_books("s2").await?;
    story.check_documents(&["s1", "s3"], DOCUMENTS).await?;
    story.forget("s2")?;
    story.await_converged(SOON).await?;

    // Undrained and scaled to zero: a fault, and the member serves on. Then it comes back as if nothing had been.
    story.scale_to_zero("s3");
    story.await_fault("service s3 is scaled to 0", SOON).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    story.check_documents(&["s1", "s3"], DOCUMENTS).await?;
    story.scale_back("s3");
    story.await_converged(SOON).await?;

    // All are updated at the same time, and restart one after the other, the config server first.
    let services = [
        ("s3", "--shardsvr"),
        ("s1", "--shardsvr"),
        ("cfg", "--configsvr"),
    ];
    let order = story.update(&services, 2 * SOON).await?;
    assert_eq!(order, ["cfg", "s1", "s3"]);
    story.await_converged(SOON).await?;
    story.check_documents(&["s1", "s3"], DOCUMENTS).await
}
