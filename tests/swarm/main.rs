//! `swarm`: scenarios on a real Docker Swarm of several nodes, made on this one computer.
//!
//!     cargo test --test swarm -- [FILTER]     run scenarios, all of them or those that match
//!     cargo test --test swarm -- --list       name them
//!
//! A scenario is a function over the [`lab::Lab`], and reads as what a person would do and see.
//! `SWARMSET_LAB_TRACE=1` prints the steps as they are taken. What failed is kept in target/lab/.

#![allow(
    dead_code,
    reason = "the lab offers whole families of steps, also where no scenario takes one yet"
)]

mod evidence;
mod faults;
mod ground;
mod history;
mod history_examples;
mod http;
mod images;
mod lab;
mod machine;
mod overlay;
mod reset;
#[path = "../router/mod.rs"]
mod router;
mod scenario;
mod scenarios;
mod stack;
mod tools;
mod waiting;

use anyhow::Result;
use libtest_mimic::{Arguments, Failed, Trial};
use scenario::Bench;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::sync::{Arc, Mutex, PoisonError};

fn main() -> Result<()> {
    if std::env::args().nth(1).as_deref() == Some("--in-overlay") {
        return overlay::inside::serve();
    }
    let is_router = |name: String| name.ends_with("/mongos") || name == "mongos";
    if std::env::args().next().is_some_and(is_router) {
        return router::run(router::Options::parse(std::env::args().skip(1))?);
    }
    let arguments = Arguments {
        test_threads: Some(1),
        ..Arguments::from_args()
    };
    clear_up_when_told_to_stop()?;
    let is_wanted = |name: &str| arguments.filter.as_deref().is_none_or(|f| name.contains(f));
    let sharding = scenarios::sharding().iter().any(|s| is_wanted(s.name));
    if sharding && !arguments.list && images::agent_is_built() {
        images::make_router()?;
    }
    let bench = Arc::new(Mutex::new(Bench::default()));
    let examples = history_examples::all()
        .into_iter()
        .map(|(name, check)| Trial::test(name, move || outcome(check())));
    let scenarios = scenarios::all().into_iter().map(|scenario| {
        let bench = bench.clone();
        Trial::test(scenario.name, move || {
            outcome(
                bench
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .run(&scenario),
            )
        })
    });
    let conclusion = libtest_mimic::run(&arguments, examples.chain(scenarios).collect());
    bench.lock().unwrap_or_else(PoisonError::into_inner).end()?;
    conclusion.exit()
}

fn outcome(result: Result<()>) -> Result<(), Failed> {
    result.map_err(|why| Failed::from(format!("{why:#}")))
}

/// Ctrl-C and the like take the lab away before the program ends. What a SIGKILL leaves, the next
/// run clears.
fn clear_up_when_told_to_stop() -> Result<()> {
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            eprintln!("\nsignal {signal}: clearing the lab away");
            let cleared = ground::abandon();
            if let Err(why) = cleared {
                eprintln!("{why:#}");
            }
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}
