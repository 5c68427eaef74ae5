//! The load: writers and readers at a steady pace, and the history of what they saw.
//!
//! It is an open loop: a write that hangs does not keep the next ones from being sent, so that the
//! longest gap says how long the *set* took no writes.

use super::inside::client_of_set;
use super::wire::{LoadPlan, Progress};
use crate::history::{History, Moment, Outcome, Read, Remains, Target, Verdict, Write};
use anyhow::{Context, Result};
use mongodb::Database;
use mongodb::bson::{Document, doc};
use mongodb::error::{Error, ErrorKind, WriteFailure};
use mongodb::options::ReadConcern;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

const WRITERS: u32 = 3;
const READERS: u32 = 2;
/// Each writer sends a write this often.
const WRITE_PACE: Duration = Duration::from_millis(20);
/// Each reader sends a read this often.
const READ_PACE: Duration = Duration::from_millis(50);
/// How many operations of one writer or reader may be under way at once.
const AT_ONCE: usize = 24;
/// When a client gives an operation up. The driver itself waits 30 s for a primary.
const GIVE_UP: Duration = Duration::from_secs(35);

/// A load under way.
pub struct RunningLoad {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
}

struct Shared {
    database: Database,
    id: u32,
    zero: Instant,
    ends: AtomicBool,
    history: Mutex<History>,
}

impl RunningLoad {
    /// Makes the registers, and starts all writers and readers.
    pub async fn start(plan: &LoadPlan, id: u32) -> Result<Self> {
        let database = client_of_set(plan).await?;
        let shared = Shared {
            database,
            id,
            zero: Instant::now(),
            ends: AtomicBool::new(false),
            history: Mutex::default(),
        };
        let registers = (0..WRITERS).map(|writer| doc! {"_id": i64::from(writer), "value": 0_i64});
        shared
            .registers()
            .insert_many(registers)
            .await
            .context("cannot make the registers")?;
        shared.log().insert_one(doc! {"_id": "first"}).await?;
        let shared = Arc::new(Shared {
            zero: Instant::now(),
            ..shared
        });
        let writers = (0..WRITERS).map(|writer| tokio::spawn(write_on(shared.clone(), writer)));
        let readers = (0..READERS).map(|reader| tokio::spawn(read_on(shared.clone(), reader)));
        let clients = writers.chain(readers).collect();
        Ok(Self { shared, clients })
    }

    /// How far it has come.
    pub fn progress(&self) -> Progress {
        let now = self.shared.now();
        let history = self.shared.history();
        let acknowledged = history
            .writes
            .iter()
            .filter(|write| write.outcome == Outcome::Acknowledged);
        let last = acknowledged
            .clone()
            .map(|write| write.ended)
            .max()
            .unwrap_or_default();
        let acknowledged = acknowledged.count();
        Progress {
            acknowledged: acknowledged as u64,
            errors: (history.writes.len() - acknowledged) as u64
                + history.failed_reads.values().sum::<u64>(),
            silent_ms: now.saturating_sub(last) / 1000,
        }
    }

    /// Ends it: no more operations, an answer to each of those under way, and a look at what remains.
    pub async fn stop(self) -> Result<Verdict> {
        self.shared.history().ended = self.shared.now();
        self.shared.ends.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await?;
        }
        let remains = self
            .shared
            .remains_after_patience()
            .await
            .context("cannot read back what was written")?;
        Ok(self.shared.history().verdict(&remains))
    }
}

/// One writer: log entries and its register in turn, each value larger than the last.
async fn write_on(shared: Arc<Shared>, writer: u32) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut pace = interval(WRITE_PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for value in 1.. {
        pace.tick().await;
        let Ok(place) = places.clone().acquire_owned().await else {
            break;
        };
        if shared.ends.load(Ordering::Relaxed) {
            break;
        }
        let target = if value % 2 == 0 {
            Target::Register
        } else {
            Target::Log
        };
        let shared = shared.clone();
        tokio::spawn(async move {
            shared.write(writer, target, value).await;
            drop(place);
        });
    }
    await_all(&places).await;
}

/// One reader: a register after the other.
async fn read_on(shared: Arc<Shared>, reader: u32) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut pace = interval(READ_PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for turn in reader.. {
        pace.tick().await;
        let Ok(place) = places.clone().acquire_owned().await else {
            break;
        };
        if shared.ends.load(Ordering::Relaxed) {
            break;
        }
        let shared = shared.clone();
        tokio::spawn(async move {
            shared.read(turn % WRITERS).await;
            drop(place);
        });
    }
    await_all(&places).await;
}

/// Waits until every operation has its answer or is given up.
async fn await_all(places: &Semaphore) {
    let _ = places.acquire_many(AT_ONCE as u32).await;
}

impl Shared {
    fn now(&self) -> Moment {
        self.zero.elapsed().as_micros() as Moment
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn registers(&self) -> mongodb::Collection<Document> {
        self.database.collection(&format!("registers_{}", self.id))
    }

    fn log(&self) -> mongodb::Collection<Document> {
        self.database.collection(&format!("log_{}", self.id))
    }

    async fn write(&self, writer: u32, target: Target, value: u64) {
        let began = self.now();
        let written = async {
            match target {
                Target::Log => self
                    .log()
                    .insert_one(doc! {"_id": format!("{writer}-{value}")})
                    .await
                    .map(drop),
                Target::Register => {
                    let smaller = doc! {"_id": i64::from(writer), "value": {"$lt": value as i64}};
                    self.registers()
                        .update_one(smaller, doc! {"$set": {"value": value as i64}})
                        .await
                        .map(drop)
                }
            }
        };
        let outcome = match timeout(GIVE_UP, written).await {
            Ok(Ok(())) => Outcome::Acknowledged,
            Ok(Err(why)) => Outcome::Unknown(kind(&why)),
            Err(_) => Outcome::Unknown(format!("no answer in {} s", GIVE_UP.as_secs())),
        };
        let ended = self.now();
        self.history().writes.push(Write {
            writer,
            target,
            value,
            began,
            ended,
            outcome,
        });
    }

    async fn read(&self, writer: u32) {
        let began = self.now();
        match timeout(GIVE_UP, self.register(writer, Duration::from_secs(10))).await {
            Ok(Ok(value)) => {
                let ended = self.now();
                self.history().reads.push(Read {
                    writer,
                    value,
                    began,
                    ended,
                });
            }
            Ok(Err(why)) => *self.history().failed_reads.entry(kind(&why)).or_default() += 1,
            Err(_) => {
                *self
                    .history()
                    .failed_reads
                    .entry(format!("no answer in {} s", GIVE_UP.as_secs()))
                    .or_default() += 1
            }
        }
    }

    /// A linearizable read of a register.
    async fn register(&self, writer: u32, limit: Duration) -> mongodb::error::Result<Option<u64>> {
        let found = self
            .registers()
            .find_one(doc! {"_id": i64::from(writer)})
            .read_concern(ReadConcern::linearizable())
            .max_time(limit)
            .await?;
        Ok(found
            .and_then(|found| found.get_i64("value").ok())
            .map(|value| value as u64))
    }

    /// What is there, as soon as there is a primary to tell.
    async fn remains_after_patience(&self) -> Result<Remains> {
        let since = Instant::now();
        loop {
            match self.remains().await {
                Ok(remains) => return Ok(remains),
                Err(_) if since.elapsed() < Duration::from_secs(60) => {
                    tokio::time::sleep(Duration::from_millis(500)).await
                }
                Err(why) => return Err(why.into()),
            }
        }
    }

    async fn remains(&self) -> mongodb::error::Result<Remains> {
        let mut remains = Remains::default();
        // The linearizable reads come first: they prove that this is the primary.
        for writer in 0..WRITERS {
            if let Some(value) = self.register(writer, Duration::from_secs(10)).await? {
                remains.registers.insert(writer, value);
            }
        }
        let mut log = self
            .log()
            .find(doc! {})
            .read_concern(ReadConcern::majority())
            .await?;
        while log.advance().await? {
            let id = log.current().get_str("_id").unwrap_or_default();
            let entry = id
                .split_once('-')
                .and_then(|(writer, value)| Some((writer.parse().ok()?, value.parse().ok()?)));
            remains.log.extend(entry);
        }
        Ok(remains)
    }
}

/// The kind of an error, as it is counted: MongoDB's name for it, or the driver's.
fn kind(why: &Error) -> String {
    match &*why.kind {
        ErrorKind::Command(error) => error.code_name.clone(),
        ErrorKind::Write(WriteFailure::WriteError(error)) => format!("write error {}", error.code),
        ErrorKind::Write(WriteFailure::WriteConcernError(error)) => error.code_name.clone(),
        ErrorKind::Io(error) => format!("connection: {}", error.kind()),
        ErrorKind::ConnectionPoolCleared { .. } => "connection pool cleared".into(),
        ErrorKind::ServerSelection { .. } => "no primary found".into(),
        other => format!("{other:?}").chars().take(60).collect(),
    }
}
