//! One scenario, and the bench that runs one after the other on a lab.

use crate::history::Verdict;
use crate::lab::{Lab, Shape};
use crate::{ground, images};
use anyhow::{Context, Result, anyhow};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// A story with an end that can be checked.
pub struct Scenario {
    /// What it shows.
    pub name: &'static str,
    shape: Shape,
    limit: Duration,
    needs_agent: bool,
    tell: fn(&mut Lab) -> Result<()>,
}

impl Scenario {
    /// A scenario on three managers and two workers, within four minutes.
    pub fn new(name: &'static str, tell: fn(&mut Lab) -> Result<()>) -> Self {
        Self {
            name,
            shape: Shape {
                managers: 3,
                workers: 2,
            },
            limit: Duration::from_secs(240),
            needs_agent: true,
            tell,
        }
    }

    /// On that many nodes: three of them managers, or one where there are fewer than three.
    pub fn nodes(self, nodes: usize) -> Self {
        let managers = if nodes < 3 { 1 } else { 3 };
        self.shape(managers, nodes - managers)
    }

    /// On that many managers and workers.
    pub fn shape(mut self, managers: usize, workers: usize) -> Self {
        self.shape = Shape { managers, workers };
        self
    }

    /// On which lab it runs.
    pub fn made_for(&self) -> Shape {
        self.shape
    }

    /// Within that many seconds.
    pub fn limit(mut self, seconds: u64) -> Self {
        self.limit = Duration::from_secs(seconds);
        self
    }

    /// Runs also where the agent's image has not been built.
    pub fn without_agent(mut self) -> Self {
        self.needs_agent = false;
        self
    }
}

/// Where scenarios run: a lab that is kept from one to the next as long as it can be.
#[derive(Default)]
pub struct Bench {
    lab: Option<Lab>,
}

impl Bench {
    /// Runs a scenario to its end, and the lab back to its beginning.
    pub fn run(&mut self, scenario: &Scenario) -> Result<()> {
        if scenario.needs_agent && !images::agent_is_built() {
            anyhow::bail!(
                "there is no agent.tar: run images/agent/build target/images/agent.tar first"
            );
        }
        let lab = self.lab_of(scenario.shape)?;
        lab.begin(scenario.limit);
        let since = Instant::now();
        let told = catch_unwind(AssertUnwindSafe(|| (scenario.tell)(lab)))
            .unwrap_or_else(|panic| Err(words_of(&*panic)));
        let took = since.elapsed();
        let told = told.and_then(|()| lab.time_left().map(drop));
        println!(
            "\n  {}: {:.1} s; {}",
            scenario.name,
            took.as_secs_f64(),
            lab.figures()
        );
        let told = told.map_err(|why| {
            let record = lab.record();
            let kept = lab.keep_evidence(scenario.name, &format!("{why:#}\n\n{record}"));
            anyhow!(
                "{why:#}\nafter {:.1} s; see {}\n{record}",
                took.as_secs_f64(),
                kept.display()
            )
        });
        let since = Instant::now();
        if let Err(why) = lab.reset() {
            println!("  the lab is built afresh: {why:#}");
            self.end()?;
        } else if std::env::var_os("SWARMSET_LAB_TRACE").is_some() {
            println!("  reset in {:.1} s", since.elapsed().as_secs_f64());
        }
        told
    }

    fn lab_of(&mut self, shape: Shape) -> Result<&mut Lab> {
        if self.lab.as_ref().is_some_and(|lab| lab.shape != shape) {
            self.end()?;
        }
        if self.lab.is_none() {
            self.end()?;
            self.lab = Some(Lab::start(shape).context("the lab does not start")?);
        }
        self.lab.as_mut().context("no lab")
    }

    /// Takes the lab away.
    pub fn end(&mut self) -> Result<()> {
        self.lab.take().map_or(Ok(()), Lab::tear_down)?;
        // A lab that broke down while it was being made stands there without being ours.
        ground::give_up()
    }
}

impl Lab {
    /// Takes a load's verdict into the scenario's figures, and fails if anything was lost.
    pub fn judge(&mut self, verdict: &Verdict) -> Result<()> {
        self.figure(verdict.to_string());
        verdict.assert_clean()
    }
}

fn words_of(panic: &(dyn std::any::Any + Send)) -> anyhow::Error {
    let words = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    anyhow!("panicked: {}", words.unwrap_or("without words"))
}
