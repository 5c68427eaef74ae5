//! Takes measurements, each on a clean lab, and keeps a raw row of every run.

use crate::history::Verdict;
use crate::lab::{Lab, Shape};
use crate::measure::{Measure, Sample, Work};
use crate::overlay::Load;
use crate::tools::repo;
use crate::{ground, images, member_log};
use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::Duration;

/// The runs of one measurement: a sample, or why there is none.
pub type Results = Vec<Result<Sample, String>>;

/// Where measurements are taken: a lab that is kept from one to the next where it has the same shape.
pub struct Runner {
    lab: Option<Lab>,
    rows: File,
    table: PathBuf,
}

impl Runner {
    /// Without a lab yet.
    pub fn new() -> Result<Self> {
        let directory = repo().join("target/bench");
        fs::create_dir_all(&directory)?;
        let name = Timestamp::now().strftime("%Y-%m-%dT%H%M%SZ").to_string();
        let rows = directory.join(format!("{name}.jsonl"));
        let table = directory.join(format!("{name}.md"));
        println!("raw rows: {}", rows.display());
        let rows = OpenOptions::new().create(true).append(true).open(rows)?;
        let lab = None;
        Ok(Self { lab, rows, table })
    }

    /// Takes all runs of a measurement.
    pub fn take(&mut self, measure: &Measure, runs: Option<usize>) -> Result<Results> {
        let runs = runs.unwrap_or(measure.runs);
        (1..=runs).map(|run| self.take_one(measure, run)).collect()
    }

    fn take_one(&mut self, measure: &Measure, run: usize) -> Result<Result<Sample, String>> {
        let mut sample = Sample::default();
        let began = Timestamp::now();
        let taken = match measure.work {
            Work::Alone(work) => work(&mut sample),
            Work::OnLab(shape, limit, work) => {
                self.on_lab(measure.name, shape, limit, |lab| work(lab, &mut sample))
            }
        };
        let failed = taken.err().map(|why| format!("{why:#}"));
        let row = json!({
            "measure": measure.name, "run": run, "began": began.to_string(), "failed": failed,
            "values": sample.values, "notes": sample.notes,
        });
        writeln!(self.rows, "{row}")?;
        let outcome = failed
            .clone()
            .unwrap_or_else(|| format!("{:?}", sample.values));
        println!("{} {run}: {outcome}", measure.name);
        Ok(failed.map_or(Ok(sample), Err))
    }

    fn on_lab(
        &mut self,
        name: &str,
        shape: Shape,
        limit: u64,
        work: impl FnOnce(&mut Lab) -> Result<()>,
    ) -> Result<()> {
        ensure!(
            images::agent_is_built(),
            "there is no agent.tar: run images/agent/build target/images/agent.tar first"
        );
        if self.lab.as_ref().is_none_or(|lab| lab.shape != shape) {
            self.end()?;
            self.lab = Some(Lab::start(shape).context("the lab does not start")?);
        }
        let lab = self.lab.as_mut().context("no lab")?;
        lab.begin(Duration::from_secs(limit));
        let worked = catch_unwind(AssertUnwindSafe(|| work(lab)))
            .unwrap_or_else(|_| Err(anyhow::anyhow!("panicked")));
        let worked = worked.map_err(|why| {
            let story = format!("{why:#}\n\n{}", lab.record());
            let kept = lab.keep_evidence(&format!("bench-{name}"), &story);
            why.context(format!("see {}", kept.display()))
        });
        if lab.reset().is_err() {
            self.end()?;
        }
        worked
    }

    /// Takes the lab away.
    pub fn end(&mut self) -> Result<()> {
        self.lab.take().map_or(Ok(()), Lab::tear_down)?;
        ground::give_up()
    }

    /// Keeps the table beside the raw rows.
    pub fn keep_table(&self, table: &str) -> Result<()> {
        fs::write(&self.table, format!("{table}\n"))?;
        println!("\nkept in {}", self.table.display());
        Ok(())
    }
}

/// Ends a load, and takes its figures: all errors that writers and readers saw, acknowledged writes that are
/// gone together with reads that contradict the writes, and the longest time between two acknowledged
/// writes, in seconds. The load runs for a second or more before and after what is measured.
pub fn judge(load: Load, sample: &mut Sample) -> Result<()> {
    let verdict: Verdict = load.stop()?;
    ensure!(verdict.acknowledged > 0, "not one write was acknowledged");
    sample.put("errors", verdict.errors() as f64);
    sample.put(
        "lost",
        (verdict.lost.len() + verdict.inconsistent.len()) as f64,
    );
    sample.put("gap", verdict.longest_gap_ms as f64 / 1000.0);
    sample.note("verdict", serde_json::to_value(&verdict)?);
    Ok(())
}

/// Notes where the time went: what the acting agent did, step by step, and what the members went through.
pub fn note_story(lab: &mut Lab, sample: &mut Sample, from: Timestamp) -> Result<()> {
    let events = lab.status().map(|status| status["events"].clone());
    sample.note("agent_events", events.unwrap_or(Value::Null));
    let tasks = lab.tasks("mongo")?;
    sample.note("members", member_log::timeline(lab, &tasks, from));
    let tasks: Vec<String> = tasks
        .iter()
        .map(|task| format!("{} {task}: {} ({})", task.since, task.state, task.desired))
        .collect();
    sample.note("tasks", tasks);
    Ok(())
}

/// Notes a moment, so that events and logs can be read against it.
pub fn note_moment(sample: &mut Sample, name: &str) -> Timestamp {
    let now = Timestamp::now();
    sample.note(name, now.to_string());
    now
}

/// Seconds from one moment to another; negative if the other came first.
pub fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}
