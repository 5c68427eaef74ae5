//! The clients' process: takes orders line by line, until there are no more.

use super::load::RunningLoad;
use super::wire::{Answer, KEY, LoadPlan, Order};
use anyhow::Result;
use mongodb::bson::{Binary, Bson, doc, spec::BinarySubtype};
use mongodb::error::{Error, ErrorKind};
use mongodb::options::{Acknowledgment, AuthMechanism, ClientOptions, Credential, WriteConcern};
use mongodb::{Client, Database};
use std::collections::BTreeMap;
use std::io::BufRead;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Runs until standard input ends.
pub fn serve() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let mut loads = BTreeMap::new();
    for line in std::io::stdin().lock().lines() {
        let order: Order = serde_json::from_str(&line?)?;
        let answer = runtime.block_on(obey(order, &mut loads));
        println!("{}", serde_json::to_string(&answer)?);
    }
    runtime.shutdown_background();
    Ok(())
}

async fn obey(order: Order, loads: &mut BTreeMap<u32, RunningLoad>) -> Answer {
    let obeyed = match order {
        Order::Run {
            host,
            database,
            command,
        } => return run(&host, &database, command).await,
        Order::FindPrimary { hosts } => {
            return Answer::Primary {
                host: find_primary(hosts).await,
            };
        }
        Order::StartLoad { plan } => start_load(plan, loads).await,
        Order::LoadProgress { id } => match loads.get(&id) {
            Some(load) => Ok(Answer::Progress {
                progress: load.progress(),
            }),
            None => Err(anyhow::anyhow!("there is no load {id}")),
        },
        Order::StopLoad { id } => match loads.remove(&id) {
            Some(load) => load.stop().await.map(|verdict| Answer::Verdict { verdict }),
            None => Err(anyhow::anyhow!("there is no load {id}")),
        },
        Order::Fill { plan, megabytes } => fill(&plan, megabytes).await.map(|()| Answer::Done),
    };
    obeyed.unwrap_or_else(|why| Answer::Failed {
        why: format!("{why:#}"),
    })
}

async fn start_load(plan: LoadPlan, loads: &mut BTreeMap<u32, RunningLoad>) -> Result<Answer> {
    static STARTED: AtomicU32 = AtomicU32::new(0);
    // Names its collections: never twice, also for one load after the other.
    let id = std::process::id() * 100 + STARTED.fetch_add(1, Ordering::Relaxed);
    loads.insert(id, RunningLoad::start(&plan, id).await?);
    Ok(Answer::Load { id })
}

/// Asks all hosts at once; one that is silent for long does not hold up the answer.
async fn find_primary(hosts: Vec<String>) -> Option<String> {
    let mut asked = tokio::task::JoinSet::new();
    for host in hosts {
        asked.spawn(async move {
            let hello = run(&host, "admin", doc! {"hello": 1});
            match tokio::time::timeout(Duration::from_millis(700), hello).await {
                Ok(Answer::Document { document })
                    if document.get_bool("isWritablePrimary").unwrap_or(false) =>
                {
                    // Its election's id rises with the term.
                    let election = document
                        .get_object_id("electionId")
                        .ok()
                        .map(|id| id.to_hex());
                    Some((election, document.get_str("me").unwrap_or(&host).to_owned()))
                }
                _ => None,
            }
        });
    }
    let claims = asked.join_all().await;
    claims.into_iter().flatten().max().map(|(_, host)| host)
}

/// mongod's own user, whose password is the key.
fn by_key() -> Credential {
    Credential::builder()
        .username("__system".to_owned())
        .source("local".to_owned())
        .mechanism(AuthMechanism::ScramSha256)
        .password(KEY.to_owned())
        .build()
}

/// Each command has a connection of its own: nothing is remembered of a member that comes and goes.
async fn run(host: &str, database: &str, command: mongodb::bson::Document) -> Answer {
    let done = async {
        let mut options =
            ClientOptions::parse(format!("mongodb://{host}/?directConnection=true")).await?;
        options.credential = Some(by_key());
        options.server_selection_timeout = Some(Duration::from_secs(3));
        options.connect_timeout = Some(Duration::from_secs(2));
        let client = Client::with_options(options)?;
        client.database(database).run_command(command).await
    };
    match tokio::time::timeout(Duration::from_secs(60), done).await {
        Ok(Ok(document)) => Answer::Document { document },
        Ok(Err(why)) => refusal(&why),
        Err(_) => Answer::Failed {
            why: format!("{host} gave no answer in 60 s"),
        },
    }
}

fn refusal(why: &Error) -> Answer {
    match &*why.kind {
        ErrorKind::Command(error) => Answer::Refused {
            code: error.code,
            name: error.code_name.clone(),
            message: error.message.clone(),
        },
        _ => Answer::Failed {
            why: why.to_string(),
        },
    }
}

/// A client of the whole set, as an application has it: retryable writes, and otherwise the driver's
/// defaults, save that it finds out sooner that a member's machine is dead.
pub async fn client_of_set(plan: &LoadPlan) -> Result<Database> {
    let options = match plan.set.as_str() {
        "" => format!("mongodb://{}/", plan.seed),
        set => format!("mongodb://{}/?replicaSet={set}", plan.seed),
    };
    let mut options = ClientOptions::parse(options).await?;
    options.credential = Some(by_key());
    options.connect_timeout = Some(Duration::from_secs(2));
    options.heartbeat_freq = Some(Duration::from_secs(2));
    options.max_pool_size = Some(20);
    options.write_concern = Some(WriteConcern::builder().w(Acknowledgment::Majority).build());
    Ok(Client::with_options(options)?.database("swarmset_lab"))
}

/// Documents of one megabyte of noise, which the storage engine cannot compress.
async fn fill(plan: &LoadPlan, megabytes: u32) -> Result<()> {
    let ballast = client_of_set(plan)
        .await?
        .collection::<mongodb::bson::Document>("ballast");
    let mut state: u64 = 0x9E37_79B9_7F4A_7C15;
    for _ in 0..megabytes.div_ceil(8) {
        let mut noise = || {
            let words = std::iter::repeat_with(|| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state
            });
            let bytes = words
                .take((1 << 20) / 8)
                .flat_map(u64::to_le_bytes)
                .collect();
            doc! {"noise": Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes })}
        };
        let documents: Vec<_> = (0..8).map(|_| noise()).collect();
        ballast.insert_many(documents).await?;
    }
    Ok(())
}
