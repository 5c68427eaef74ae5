//! The history checker: what clients were told, held against what is there.
//!
//! Pure: it reads no clock and no network. Two kinds of writes make it exact yet simple. *Log*
//! entries are inserts with an id of their own: every acknowledged one has to be there at the end.
//! *Registers* only ever rise: each has one writer, whose updates apply only where the new value is
//! larger, so that a late retry can never take the register back. A linearizable read then has to
//! see at least every update that was acknowledged, and every value that was read, before it began;
//! and nothing that was not yet being written when it ended.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A moment, in microseconds since the load began.
pub type Moment = u64;

/// What a writer wrote to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// A new entry of the log.
    Log,
    /// The writer's register.
    Register,
}

/// What became of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The client was told that a majority has it.
    Acknowledged,
    /// The client got an error of this kind: it may be there or not.
    Unknown(String),
}

/// A write as its client saw it.
#[derive(Clone, Debug)]
pub struct Write {
    /// Who wrote.
    pub writer: u32,
    /// What to.
    pub target: Target,
    /// The value: rising with each write of the writer.
    pub value: u64,
    /// When it was sent.
    pub began: Moment,
    /// When the answer came.
    pub ended: Moment,
    /// Which answer.
    pub outcome: Outcome,
}

/// A linearizable read of a register that got an answer.
#[derive(Clone, Debug)]
pub struct Read {
    /// Whose register.
    pub writer: u32,
    /// What was read; nothing where the register itself is missing.
    pub value: Option<u64>,
    /// When it was sent.
    pub began: Moment,
    /// When the answer came.
    pub ended: Moment,
}

/// What is there when all is over.
#[derive(Clone, Debug, Default)]
pub struct Remains {
    /// The registers' values.
    pub registers: BTreeMap<u32, u64>,
    /// The log's entries: writer and value.
    pub log: BTreeSet<(u32, u64)>,
}

/// All that clients did and saw.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The writes, in any order.
    pub writes: Vec<Write>,
    /// The reads, in any order.
    pub reads: Vec<Read>,
    /// How often reads failed, by kind of error.
    pub failed_reads: BTreeMap<String, u64>,
    /// When the load ended.
    pub ended: Moment,
}

/// The judgement over a history.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Writes that clients were told are safe.
    pub acknowledged: u64,
    /// Of these, the ones that are not there.
    pub lost: Vec<String>,
    /// Reads that got an answer.
    pub reads: u64,
    /// Reads, or entries at the end, that no order of the writes explains.
    pub inconsistent: Vec<String>,
    /// Errors that writers saw, by kind.
    pub write_errors: BTreeMap<String, u64>,
    /// Errors that readers saw, by kind.
    pub read_errors: BTreeMap<String, u64>,
    /// The longest time without any acknowledged write, in milliseconds.
    pub longest_gap_ms: u64,
    /// When that time began, in milliseconds since the load began.
    pub longest_gap_at_ms: u64,
    /// How long the load went on, in milliseconds.
    pub duration_ms: u64,
}

impl History {
    /// Judges the history by what remains at the end.
    pub fn verdict(&self, remains: &Remains) -> Verdict {
        let acknowledged = || {
            self.writes
                .iter()
                .filter(|write| write.outcome == Outcome::Acknowledged)
        };
        let (longest_gap, longest_gap_at) =
            longest_gap(acknowledged().map(|write| write.ended), self.ended);
        let mut write_errors = BTreeMap::new();
        for write in &self.writes {
            if let Outcome::Unknown(kind) = &write.outcome {
                *write_errors.entry(kind.clone()).or_default() += 1;
            }
        }
        let mut inconsistent = self.phantoms(remains);
        let mut lost: Vec<String> = acknowledged()
            .filter(|write| {
                write.target == Target::Log && !remains.log.contains(&(write.writer, write.value))
            })
            .map(|write| {
                format!(
                    "log entry {}-{}, acknowledged at {} ms",
                    write.writer,
                    write.value,
                    write.ended / 1000
                )
            })
            .collect();
        for writer in self
            .writes
            .iter()
            .map(|write| write.writer)
            .collect::<BTreeSet<_>>()
        {
            let register = Register::of(self, writer);
            let last = remains.registers.get(&writer).copied();
            lost.extend(register.lost(last));
            inconsistent.extend(register.contradictions(last));
        }
        Verdict {
            acknowledged: acknowledged().count() as u64,
            lost,
            reads: self.reads.len() as u64,
            inconsistent,
            write_errors,
            read_errors: self.failed_reads.clone(),
            longest_gap_ms: longest_gap / 1000,
            longest_gap_at_ms: longest_gap_at / 1000,
            duration_ms: self.ended / 1000,
        }
    }

    /// Log entries that nobody ever wrote.
    fn phantoms(&self, remains: &Remains) -> Vec<String> {
        let log = self
            .writes
            .iter()
            .filter(|write| write.target == Target::Log);
        let written: BTreeSet<_> = log.map(|write| (write.writer, write.value)).collect();
        remains
            .log
            .difference(&written)
            .map(|(writer, value)| format!("log entry {writer}-{value} was never written"))
            .collect()
    }
}

/// The longest stretch without any of the moments, from 0 to the end, and when it began.
fn longest_gap(moments: impl Iterator<Item = Moment>, end: Moment) -> (Moment, Moment) {
    let mut moments: Vec<Moment> = moments.chain([0, end]).collect();
    moments.sort_unstable();
    let gaps = moments.windows(2).map(|pair| (pair[1] - pair[0], pair[0]));
    gaps.max_by_key(|(length, _)| *length).unwrap_or_default()
}

/// One register's share of a history.
struct Register<'a> {
    writer: u32,
    writes: Vec<&'a Write>,
    reads: Vec<&'a Read>,
}

impl<'a> Register<'a> {
    fn of(history: &'a History, writer: u32) -> Self {
        let ours = |write: &&Write| write.writer == writer && write.target == Target::Register;
        Self {
            writer,
            writes: history.writes.iter().filter(ours).collect(),
            reads: history
                .reads
                .iter()
                .filter(|read| read.writer == writer)
                .collect(),
        }
    }

    fn largest_acknowledged(&self) -> Option<u64> {
        let acknowledged = self
            .writes
            .iter()
            .filter(|write| write.outcome == Outcome::Acknowledged);
        acknowledged.map(|write| write.value).max()
    }

    fn lost(&self, last: Option<u64>) -> Option<String> {
        let acknowledged = self.largest_acknowledged()?;
        let lost = last.is_none_or(|last| last < acknowledged);
        lost.then(|| {
            format!(
                "register {}: {acknowledged} was acknowledged, and the last value is {last:?}",
                self.writer
            )
        })
    }

    /// Reads that saw too little, or what was not there yet; the last value counts as one more read.
    fn contradictions(&self, last: Option<u64>) -> Vec<String> {
        let began: BTreeMap<u64, Moment> = self
            .writes
            .iter()
            .map(|write| (write.value, write.began))
            .collect();
        let end = Read {
            writer: self.writer,
            value: last,
            began: Moment::MAX,
            ended: Moment::MAX,
        };
        let floor = self.floor();
        let mut found = Vec::new();
        for read in self.reads.iter().copied().chain([&end]) {
            let least = floor
                .range(..read.began)
                .next_back()
                .map_or(0, |(_, least)| *least);
            let name = format!(
                "register {}, read {} to {} ms",
                self.writer,
                read.began / 1000,
                read.ended / 1000
            );
            match read.value {
                None => found.push(format!("{name}: it is missing")),
                Some(value) if value < least => {
                    found.push(format!("{name}: {value}, when {least} was known before"))
                }
                Some(0) => {}
                Some(value) => match began.get(&value) {
                    None => found.push(format!("{name}: {value}, which was never written")),
                    Some(began) if *began > read.ended => {
                        found.push(format!("{name}: {value}, not yet being written"))
                    }
                    Some(_) => {}
                },
            }
        }
        found
    }

    /// From each moment on, what every later read has to see at least: all that was acknowledged and
    /// all that was read by then.
    fn floor(&self) -> BTreeMap<Moment, u64> {
        let acknowledged = self
            .writes
            .iter()
            .filter(|write| write.outcome == Outcome::Acknowledged);
        let known = acknowledged.map(|write| (write.ended, write.value));
        let read = self
            .reads
            .iter()
            .filter_map(|read| Some((read.ended, read.value?)));
        let mut known: Vec<(Moment, u64)> = known.chain(read).collect();
        known.sort_unstable();
        let mut least = 0;
        known
            .into_iter()
            .map(|(moment, value)| {
                least = least.max(value);
                (moment, least)
            })
            .collect()
    }
}

impl Verdict {
    /// No acknowledged write is gone, and no read contradicts another.
    pub fn assert_clean(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.lost.is_empty(),
            "{} acknowledged writes are lost: {}",
            self.lost.len(),
            some_of(&self.lost)
        );
        anyhow::ensure!(
            self.inconsistent.is_empty(),
            "{} reads contradict the writes: {}",
            self.inconsistent.len(),
            some_of(&self.inconsistent)
        );
        anyhow::ensure!(
            self.acknowledged > 0,
            "not one write was acknowledged: nothing was tested"
        );
        Ok(())
    }

    /// No client saw any error.
    pub fn assert_no_errors(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.write_errors.is_empty() && self.read_errors.is_empty(),
            "clients saw errors: writes {:?}, reads {:?}",
            self.write_errors,
            self.read_errors
        );
        Ok(())
    }

    /// Acknowledged writes never stopped for longer than this.
    pub fn assert_gap_within(&self, limit: std::time::Duration) -> anyhow::Result<()> {
        let gap = u128::from(self.longest_gap_ms);
        anyhow::ensure!(
            gap <= limit.as_millis(),
            "no write was acknowledged for {gap} ms, from {} ms on",
            self.longest_gap_at_ms
        );
        Ok(())
    }

    /// How many errors clients saw, of all kinds.
    pub fn errors(&self) -> u64 {
        self.write_errors
            .values()
            .chain(self.read_errors.values())
            .sum()
    }
}

fn some_of(lines: &[String]) -> String {
    let more = if lines.len() > 5 { " …" } else { "" };
    lines
        .iter()
        .take(5)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join("; ")
        + more
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} writes acknowledged in {:.1} s, {} lost, {} of {} reads inconsistent, {} errors, longest gap {} ms (at {:.1} s)",
            self.acknowledged,
            self.duration_ms as f64 / 1000.0,
            self.lost.len(),
            self.inconsistent.len(),
            self.reads,
            self.errors(),
            self.longest_gap_ms,
            self.longest_gap_at_ms as f64 / 1000.0,
        )?;
        for (who, errors) in [("writes", &self.write_errors), ("reads", &self.read_errors)] {
            if !errors.is_empty() {
                write!(f, ", {who}: {errors:?}")?;
            }
        }
        Ok(())
    }
}
