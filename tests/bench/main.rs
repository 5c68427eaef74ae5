//! `bench`: the measurements that the README promises, on the lab's real Swarm (`tests/swarm/`).
//!
//!     ./tests/run bench                       all of them, as one table
//!     ./tests/run bench --only plan           those whose name contains a word; repeatable
//!     ./tests/run bench --runs 1              so many runs of each, instead of 3 (one, of the slow ones)
//!     ./tests/run bench --list                name them
//!
//! The table shows the median of the runs, and the smallest and the largest value where they differ. Durations are held
//! against their bar by the median; errors, lost writes, gaps and majorities by the worst run. Raw rows, a
//! line of JSON for each run with the verdict on the load and the agent's own events, go to target/bench/.
//! The program fails where a bar is not met, or something could not be measured.
//!
//! What it shows is a lab's truth: all nodes share one computer's cores and disk, the network between
//! them has no latency, and their clocks are one and the same, so that times of different nodes compare
//! exactly. The load is the lab's: three writers with a write each 20 ms, two linearizable readers.

#![allow(dead_code, reason = "not every step that the lab offers is measured")]

mod idle;
mod machine_facts;
mod measure;
mod member_log;
mod node_loss;
mod plan;
mod report;
mod roll_out;
mod runner;
mod scale;
mod start;

/// The lab, as the scenarios have it. Its modules call each other by their names at the root of a program.
#[path = "../swarm"]
mod swarm {
    pub mod evidence;
    pub mod faults;
    pub mod ground;
    pub mod history;
    pub mod http;
    pub mod images;
    pub mod lab;
    pub mod machine;
    pub mod overlay;
    pub mod reset;
    pub mod stack;
    pub mod tools;
    pub mod waiting;
}
use swarm::{faults, ground, history, http, images, lab, machine, overlay, stack, tools};

use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// What was asked for.
#[derive(Debug, Default)]
struct Arguments {
    runs: Option<usize>,
    only: Vec<String>,
    list: bool,
}

impl Arguments {
    fn read(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let mut arguments = Self::default();
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} what?"));
            match word.as_str() {
                "--runs" => arguments.runs = Some(value()?.parse().context("--runs")?),
                "--only" => arguments.only.push(value()?),
                "--list" => arguments.list = true,
                "--bench" | "--test" => {} // cargo says so
                _ => bail!("{word}? Known are --runs N, --only NAME and --list"),
            }
        }
        Ok(arguments)
    }

    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| name.contains(only.as_str()))
    }
}

fn main() -> Result<()> {
    if std::env::args().nth(1).as_deref() == Some("--in-overlay") {
        return overlay::inside::serve();
    }
    let arguments = Arguments::read(std::env::args().skip(1))?;
    let mut measures = measure::all();
    measures.retain(|measure| arguments.wants(measure.name));
    if arguments.list {
        for measure in &measures {
            println!("{:20} {}", measure.name, measure.what);
        }
        return Ok(());
    }
    if measures.is_empty() {
        bail!("nothing is called {:?}: see --list", arguments.only);
    }
    clear_up_when_told_to_stop()?;
    let facts = machine_facts::all();
    println!("{facts}");
    let mut runner = runner::Runner::new()?;
    let results = measures
        .iter()
        .map(|measure| runner.take(measure, arguments.runs))
        .collect::<Result<Vec<_>>>();
    runner.end()?;
    let report = report::Report::of(&measures, &results?);
    println!("\n{facts}\n\n{}", report.table);
    runner.keep_table(&format!("{facts}\n\n{}", report.table))?;
    if !report.unmet.is_empty() {
        eprintln!("\nnot met: {}", report.unmet.join("; "));
        std::process::exit(1);
    }
    Ok(())
}

/// Ctrl-C and the like take the lab away before the program ends.
fn clear_up_when_told_to_stop() -> Result<()> {
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            eprintln!("\nsignal {signal}: clearing the lab away");
            if let Err(why) = ground::abandon() {
                eprintln!("{why:#}");
            }
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}
