//! A stand-in for `mongos`, for tests alone: there is no package of the real one.
//!
//! It speaks the wire protocol, answers `hello` as mongos does, demands the key file's user where it has one, and passes
//! administrative commands on as mongos does: to the config servers' primary, or to a database's primary shard. Reads
//! and writes of other databases go to the database's primary shard, whether the collection is sharded or not: it
//! does not route by shard key.

mod commands;
mod follow;
mod scram;
mod wire;

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use mongodb::bson::{Document, doc};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};

use commands::Cluster;
use scram::{Exchange, Secret};

/// What it is started with: the options of mongos that stack files give.
#[derive(Clone, Debug)]
pub struct Options {
    /// `<set>/<host>:<port>,...`.
    pub config_db: String,
    /// Where it listens.
    pub port: u16,
    /// On which address.
    pub bind: Ipv4Addr,
    /// The key by which the cluster's servers know each other.
    pub key_file: Option<PathBuf>,
}

impl Options {
    /// Reads a command line like that of mongos.
    pub fn parse(words: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self {
            config_db: String::new(),
            port: 27017,
            bind: Ipv4Addr::LOCALHOST,
            key_file: None,
        };
        let mut words = words;
        while let Some(word) = words.next() {
            let mut value = || {
                words
                    .next()
                    .with_context(|| format!("{word} without a value"))
            };
            match word.as_str() {
                "--configdb" => options.config_db = value()?,
                "--port" => options.port = value()?.parse()?,
                "--keyFile" => options.key_file = Some(value()?.into()),
                "--bind_ip_all" => options.bind = Ipv4Addr::UNSPECIFIED,
                other => bail!("{other} is not known"),
            }
        }
        Ok(options)
    }
}

/// Runs until SIGTERM, as the process of a container.
pub fn run(options: Options) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            ended = serve(options) => ended,
            _ = terminate.recv() => Ok(()),
        }
    })
}

/// Serves for ever. Like mongos it listens only once it has reached the config servers.
pub async fn serve(options: Options) -> Result<()> {
    let key = match &options.key_file {
        None => None,
        Some(path) => {
            let key = std::fs::read_to_string(path);
            let key = key.with_context(|| path.display().to_string())?;
            Some(key.split_whitespace().collect::<String>())
        }
    };
    let cluster = Arc::new(Cluster::new(&options.config_db, key.as_deref())?);
    while let Err(why) = cluster.reach().await {
        eprintln!("config servers not reached: {why:#}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // Ends with this one.
    let mut beside = tokio::task::JoinSet::new();
    beside.spawn(follow::follow(Arc::clone(&cluster)));
    let secret = key.map(|key| Arc::new(Secret::of(&key)));
    let listener = TcpListener::bind((options.bind, options.port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let (cluster, secret) = (Arc::clone(&cluster), secret.clone());
        let options = options.clone();
        tokio::spawn(async move {
            // A client that goes away is no error.
            let _ = converse(stream, &cluster, secret, &options).await;
        });
    }
}

/// One connection.
async fn converse(
    mut stream: TcpStream,
    cluster: &Cluster,
    secret: Option<Arc<Secret>>,
    options: &Options,
) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut exchange: Option<Exchange> = None;
    let mut is_known = secret.is_none();
    let mut replies = 0;
    while let Some(request) = wire::read(&mut stream).await? {
        let name = request.command.keys().next().cloned().unwrap_or_default();
        let reply = match name.as_str() {
            "hello" | "isMaster" | "ismaster" => hello(),
            "saslStart" | "saslContinue" => sasl(
                &request.command,
                secret.as_deref(),
                &mut exchange,
                &mut is_known,
            ),
            "ping" | "endSessions" => doc! { "ok": 1 },
            _ if !is_known => {
                commands::refusal(13, "Unauthorized", "command requires authentication")
            }
            "getCmdLineOpts" => doc! {
                "argv": ["mongos", "--configdb", &options.config_db],
                "parsed": { "sharding": { "configDB": &options.config_db } },
                "ok": 1,
            },
            _ => cluster.run(&name, &request.database, request.command).await,
        };
        if request.wants_reply {
            replies += 1;
            stream
                .write_all(&wire::reply(request.id, replies, request.kind, &reply)?)
                .await?;
        }
    }
    Ok(())
}

/// As mongos 6.0 answers, without sessions: it keeps none.
fn hello() -> Document {
    doc! {
        "ismaster": true,
        "isWritablePrimary": true,
        "msg": "isdbgrid",
        "maxBsonObjectSize": 16 * 1024 * 1024,
        "maxMessageSizeBytes": 48_000_000,
        "maxWriteBatchSize": 100_000,
        "minWireVersion": 0,
        "maxWireVersion": 17,
        "readOnly": false,
        "saslSupportedMechs": ["SCRAM-SHA-256"],
        "ok": 1,
    }
}

fn sasl(
    command: &Document,
    secret: Option<&Secret>,
    exchange: &mut Option<Exchange>,
    is_known: &mut bool,
) -> Document {
    let failed = || commands::refusal(18, "AuthenticationFailed", "Authentication failed.");
    let Some(secret) = secret else {
        return failed();
    };
    let Ok(payload) = command.get_binary_generic("payload") else {
        return failed();
    };
    let answer = match exchange.take() {
        None => Exchange::begin(payload, secret).map(|(next, reply)| (Some(next), reply)),
        Some(before) => before.finish(payload, secret).map(|reply| (None, reply)),
    };
    match answer {
        Ok((next, reply)) => {
            let done = next.is_none();
            *exchange = next;
            *is_known |= done;
            let payload = mongodb::bson::Binary {
                subtype: mongodb::bson::spec::BinarySubtype::Generic,
                bytes: reply.into_bytes(),
            };
            doc! { "conversationId": 1, "done": done, "payload": payload, "ok": 1 }
        }
        Err(_) => failed(),
    }
}
