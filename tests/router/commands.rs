//! Which server a command goes to, and under which name.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::TryStreamExt as _;
use mongodb::Client;
use mongodb::bson::{Bson, Document, doc};
use mongodb::error::ErrorKind;
use mongodb::options::{
    Acknowledgment, AuthMechanism, ClientOptions, Credential, ReadConcern, WriteConcern,
};

/// What a router knows: where the config servers are. All else it reads there.
pub struct Cluster {
    config: Client,
    key: Option<String>,
    shards: Mutex<BTreeMap<String, Client>>,
}

/// An error as a server answers it.
pub fn refusal(code: i32, name: &str, message: &str) -> Document {
    doc! { "ok": 0, "code": code, "codeName": name, "errmsg": message }
}

impl Cluster {
    pub fn new(config_db: &str, key: Option<&str>) -> Result<Self> {
        Ok(Self {
            config: connect(config_db, key)?,
            key: key.map(str::to_owned),
            shards: Mutex::default(),
        })
    }

    /// Whether the config servers have a primary that knows of a cluster.
    pub async fn reach(&self) -> Result<()> {
        let version = self.one("version", doc! {}).await?;
        version.map(drop).context("there is no cluster yet")
    }

    /// Carries out one command.
    pub async fn run(&self, name: &str, database: &str, mut command: Document) -> Document {
        for field in [
            "$db",
            "lsid",
            "$clusterTime",
            "$readPreference",
            "txnNumber",
        ] {
            command.remove(field);
        }
        match self.route(name, database, command).await {
            Ok(answer) => answer,
            Err(error) => match error.downcast_ref::<mongodb::error::Error>() {
                Some(error) => explain(error),
                None => refusal(1, "InternalError", &format!("{error:#}")),
            },
        }
    }

    async fn route(&self, name: &str, database: &str, command: Document) -> Result<Document> {
        let text = || {
            command
                .get_str(name)
                .map(str::to_owned)
                .context("its argument is no text")
        };
        match (database, name) {
            ("admin", "addShard") => {
                let mut renamed = doc! { "_configsvrAddShard": text()? };
                renamed.extend(command.get("name").map(|n| ("name".to_owned(), n.clone())));
                self.on_config(with_majority(renamed)).await
            }
            ("admin", "removeShard") => {
                let renamed = doc! { "_configsvrRemoveShard": text()? };
                self.on_config(with_majority(renamed)).await
            }
            ("admin", "balancerStart") => {
                self.on_config(doc! { "_configsvrBalancerStart": 1 }).await
            }
            ("admin", "balancerStop") => self.on_config(doc! { "_configsvrBalancerStop": 1 }).await,
            ("admin", "balancerStatus") => {
                self.on_config(doc! { "_configsvrBalancerStatus": 1 }).await
            }
            ("admin", "listShards") => {
                let config = self.config.database("config");
                let found = config.run_command(doc! { "find": "shards" }).await?;
                let shards = found
                    .get_document("cursor")?
                    .get_array("firstBatch")?
                    .clone();
                Ok(doc! { "shards": shards, "ok": 1 })
            }
            ("admin", "enableSharding") => {
                let primary = command.get("primaryShard").cloned();
                self.create_database(&text()?, primary).await
            }
            ("admin", "shardCollection") => self.shard_collection(&text()?, &command).await,
            ("admin", "movePrimary") => self.move_primary(&text()?, &command).await,
            ("admin", "split") => self.split(&text()?, &command).await,
            ("admin", "moveChunk") => self.move_chunk(&text()?, &command).await,
            ("config" | "admin", _) => {
                Ok(self.config.database(database).run_command(command).await?)
            }
            _ => {
                if self.database(database).await.is_err() {
                    self.create_database(database, None).await?;
                }
                let (shard, _) = self.database(database).await?;
                let shard = self.shard(&shard).await?;
                Ok(shard.database(database).run_command(command).await?)
            }
        }
    }

    async fn on_config(&self, command: Document) -> Result<Document> {
        Ok(self.config.database("admin").run_command(command).await?)
    }

    async fn create_database(&self, name: &str, primary: Option<Bson>) -> Result<Document> {
        // Servers at featureCompatibilityVersion 5.0 still ask for the field; later ones take no notice.
        let mut command = doc! { "_configsvrCreateDatabase": name, "enableSharding": true };
        command.extend(primary.map(|p| ("primaryShardId".to_owned(), p)));
        self.on_config(with_majority(command)).await
    }

    async fn shard_collection(&self, namespace: &str, command: &Document) -> Result<Document> {
        let (database, collection) = namespace.split_once('.').context("no namespace")?;
        if self.database(database).await.is_err() {
            self.create_database(database, None).await?;
        }
        let (shard, version) = self.database(database).await?;
        let create = doc! {
            "_shardsvrCreateCollection": collection,
            "shardKey": command.get_document("key")?,
            "databaseVersion": version,
        };
        let shard = self.shard(&shard).await?;
        Ok(shard
            .database(database)
            .run_command(with_majority(create))
            .await?)
    }

    async fn move_primary(&self, database: &str, command: &Document) -> Result<Document> {
        let (shard, version) = self.database(database).await?;
        let order = doc! {
            "_shardsvrMovePrimary": database,
            "to": command.get_str("to")?,
            "databaseVersion": version,
        };
        let shard = self.shard(&shard).await?;
        Ok(shard
            .database("admin")
            .run_command(with_majority(order))
            .await?)
    }

    /// `split: <ns>, middle: <key>`.
    async fn split(&self, namespace: &str, command: &Document) -> Result<Document> {
        let middle = command.get_document("middle")?;
        let (collection, chunk) = self.chunk_with(namespace, middle).await?;
        let epoch = collection.get("lastmodEpoch").context("no epoch")?;
        let order = doc! {
            "splitChunk": namespace,
            "from": chunk.get_str("shard")?,
            "keyPattern": collection.get_document("key")?,
            "epoch": epoch,
            "timestamp": collection.get("timestamp").context("no timestamp")?,
            "min": chunk.get_document("min")?,
            "max": chunk.get_document("max")?,
            "splitKeys": [middle],
        };
        let shard = self.shard(chunk.get_str("shard")?).await?;
        Ok(shard.database("admin").run_command(order).await?)
    }

    /// `moveChunk: <ns>, find: <key>, to: <shard>`.
    async fn move_chunk(&self, namespace: &str, command: &Document) -> Result<Document> {
        let (collection, chunk) = self
            .chunk_with(namespace, command.get_document("find")?)
            .await?;
        let order = doc! {
            "_configsvrMoveRange": namespace,
            "collectionUUID": collection.get("uuid").context("no UUID")?,
            "toShard": command.get_str("to")?,
            "min": chunk.get_document("min")?,
            "max": chunk.get_document("max")?,
            "waitForDelete": false,
        };
        self.on_config(with_majority(order)).await
    }

    /// The chunk that holds a key.
    async fn chunk_with(&self, namespace: &str, key: &Document) -> Result<(Document, Document)> {
        let collection = self.one("collections", doc! { "_id": namespace }).await?;
        let collection = collection.with_context(|| format!("{namespace} is not sharded"))?;
        let uuid = collection.get("uuid").context("no UUID")?;
        let holds = doc! { "uuid": uuid, "min": { "$lte": key }, "max": { "$gt": key } };
        let chunk = self
            .one("chunks", holds)
            .await?
            .context("no chunk holds it")?;
        Ok((collection, chunk))
    }

    /// A database's primary shard, and its version.
    async fn database(&self, name: &str) -> Result<(String, Document)> {
        let found = self.one("databases", doc! { "_id": name }).await?;
        let found = found.with_context(|| format!("database {name} not found"))?;
        Ok((
            found.get_str("primary")?.to_owned(),
            found.get_document("version")?.clone(),
        ))
    }

    async fn one(&self, name: &str, filter: Document) -> Result<Option<Document>> {
        let collection = self.config.database("config").collection(name);
        Ok(collection.find_one(filter).await?)
    }

    /// All shards in the books.
    pub async fn shards(&self) -> Result<Vec<Document>> {
        let shards = self.config.database("config").collection("shards");
        let found = shards
            .find(doc! {})
            .read_concern(ReadConcern::majority())
            .await?;
        Ok(found.try_collect().await?)
    }

    /// Writes a shard's members into the books.
    pub async fn list(&self, shard: &str, host: &str) -> Result<()> {
        let majority = WriteConcern::builder().w(Acknowledgment::Majority).build();
        let shards = self
            .config
            .database("config")
            .collection::<Document>("shards");
        let change = doc! { "$set": { "host": host } };
        let listed = shards.update_one(doc! { "_id": shard }, change);
        listed.write_concern(majority).await?;
        Ok(())
    }

    /// A client of one shard, as the books say now where that is.
    pub async fn shard(&self, name: &str) -> Result<Client> {
        let entry = self.one("shards", doc! { "_id": name }).await?;
        let entry = entry.with_context(|| format!("there is no shard {name}"))?;
        let host = entry.get_str("host")?;
        let mut shards = self
            .shards
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(known) = shards.get(host) {
            return Ok(known.clone());
        }
        let client = connect(host, self.key.as_deref())?;
        shards.insert(host.to_owned(), client.clone());
        Ok(client)
    }
}

fn with_majority(mut command: Document) -> Document {
    command.insert("writeConcern", doc! { "w": "majority", "wtimeout": 60_000 });
    command
}

/// A client of `<set>/<host>:<port>,...`, as the cluster's own servers are.
fn connect(place: &str, key: Option<&str>) -> Result<Client> {
    let (set, hosts) = place.split_once('/').context("<set>/<host>:<port>")?;
    let mut options = ClientOptions::default();
    let hosts = hosts
        .split(',')
        .map(str::parse)
        .collect::<Result<Vec<_>, _>>();
    options.hosts = hosts?;
    options.repl_set_name = Some(set.to_owned());
    options.server_selection_timeout = Some(Duration::from_secs(5));
    options.connect_timeout = Some(Duration::from_secs(2));
    options.heartbeat_freq = Some(Duration::from_millis(500));
    options.credential = key.map(|key| {
        Credential::builder()
            .username("__system".to_owned())
            .source("local".to_owned())
            .mechanism(AuthMechanism::ScramSha256)
            .password(key.to_owned())
            .build()
    });
    Ok(Client::with_options(options)?)
}

fn explain(error: &mongodb::error::Error) -> Document {
    match &*error.kind {
        ErrorKind::Command(said) => refusal(said.code, &said.code_name, &said.message),
        // FailedToSatisfyReadPreference, as mongos says where no primary is found.
        other => refusal(133, "FailedToSatisfyReadPreference", &other.to_string()),
    }
}
