//! A deterministic simulator: a Swarm and its mongods in memory, and the real planner at work on them while
//! everything goes wrong. One seed is one history.
//!
//! Who knows whom: `dice, oplog, disk, mongod, swarm` hold state; `managers, nodes` act for the Swarm and
//! `heartbeats, replication, elections, reconfiguring` for MongoDB; `view, agent, commands` are the agent's side;
//! `faults, outages` disturb; `ledger, rules` judge; `life` tells a history; `mutants` are planners that must fail.
//!
//! `SEED=n cargo test --test simulation replay -- --nocapture` tells one history. `./tests/run soak [N]` lives many.

mod agent;
mod cast;
mod commands;
mod coverage;
mod dice;
mod disk;
mod elections;
mod faults;
mod heartbeats;
mod ledger;
mod life;
mod managers;
mod mongod;
mod mutants;
mod nodes;
mod oplog;
mod outages;
mod reconfiguring;
mod replication;
mod rules;
mod shrink;
mod swarm;
mod view;
mod world;

use std::time::Instant;

use coverage::Coverage;
use life::live;
use mutants::Mutant;

/// Histories of each run of `./tests/run fast`.
const SEEDS: u64 = 20_000;
/// A mutant must be caught within so many.
const SEEDS_FOR_MUTANTS: u64 = 2_000;

/// Histories that failed once, with what was wrong then.
const REGRESSIONS: &[(u64, &str)] = &[
    (
        4601,
        "a dead member that was scaled away held up restarts, and these its removal",
    ),
    (
        7135,
        "a newcomer was given its vote and shut down at the same moment",
    ),
    (
        8121,
        "a primary that was reached at its address restarted, and nobody found it again",
    ),
    (
        130_255,
        "the claimed initiator was ended while the initiate was on its way to it",
    ),
    (
        215_763,
        "another restarted while a member that had ended still counted as healthy",
    ),
];

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// What many histories had in them.
#[derive(Default)]
struct Sum {
    coverage: Coverage,
    /// Seconds, of the histories' own time.
    lived: u64,
    longest_mending: u64,
}

impl Sum {
    fn add(&mut self, other: &Self) {
        self.coverage.add(&other.coverage);
        self.lived += other.lived;
        self.longest_mending = self.longest_mending.max(other.longest_mending);
    }

    /// Says what there was, and fails if something never was.
    fn conclude(&self) {
        println!("{}", self.coverage.lines().join("\n"));
        let hours = self.lived / 3600;
        println!(
            "{hours} hours lived; all was well again {} s after the last fault, at the latest",
            self.longest_mending
        );
        let missing = self.coverage.missing();
        assert!(missing.is_empty(), "never occurred: {}", missing.join(", "));
    }
}

/// Lives the histories of these seeds; panics with the story of the first that breaks a rule.
fn live_all(seeds: std::ops::Range<u64>) -> Sum {
    let mut sum = Sum::default();
    for seed in seeds {
        let life = live(seed, None, None, false);
        if life.broken.is_some() {
            panic!("{}", shrink::story(seed, life, None));
        }
        sum.add(&Sum {
            coverage: life.coverage,
            lived: life.seconds,
            longest_mending: life.mended_in,
        });
    }
    sum
}

#[test]
fn every_history_keeps_the_rules() {
    let began = Instant::now();
    let sum = live_all(0..SEEDS);
    let seconds = began.elapsed().as_secs_f64();
    println!("{SEEDS} histories in {seconds:.1} s");
    sum.conclude();
}

#[test]
fn histories_that_failed_once() {
    for (seed, what) in REGRESSIONS {
        let life = live(*seed, None, None, false);
        assert_eq!(life.broken, None, "seed {seed}: {what}");
    }
}

#[test]
fn one_seed_is_one_history() {
    for seed in 0..50 {
        let (one, other) = (live(seed, None, None, true), live(seed, None, None, true));
        assert_eq!(one.story, other.story);
        assert!(!one.story.is_empty());
    }
}

/// Every rule that can be broken here has a planner that breaks it, and is found out.
#[test]
fn every_mutant_is_caught() {
    let mut survivors = Vec::new();
    for mutant in Mutant::ALL {
        let (rule, name) = (mutant.rule(), mutant.name());
        let caught = (0..SEEDS_FOR_MUTANTS).find_map(|seed| {
            let broken = live(seed, None, Some(*mutant), false).broken?;
            mutant
                .found_out_by()
                .contains(&broken.rule)
                .then_some((seed, broken))
        });
        match caught {
            Some((seed, broken)) => println!("rule {rule}, {name}: seed {seed}, {broken}"),
            None => survivors.push(format!("rule {rule}: {name}")),
        }
    }
    assert!(survivors.is_empty(), "not caught: {}", survivors.join("; "));
}

/// `SEED=n`: tells that history.
#[test]
fn replay() {
    let Some(seed) = number("SEED") else {
        return;
    };
    let life = live(seed, None, None, true);
    println!("{}", life.story.join("\n"));
    if life.broken.is_some() {
        panic!("{}", shrink::story(seed, life, None));
    }
}

/// `./tests/run soak [N]`: as many histories as are wanted, with speed and coverage.
#[test]
#[ignore = "as long as is wanted: ./tests/run soak"]
fn soak() {
    let (first, count) = (
        number("FIRST").unwrap_or(0),
        number("SOAK").unwrap_or(100_000),
    );
    let began = Instant::now();
    let (mut sum, mut done) = (Sum::default(), 0);
    while done < count {
        let part = (count - done).min(10_000);
        sum.add(&live_all(first + done..first + done + part));
        done += part;
        let rate = done as f64 / began.elapsed().as_secs_f64();
        println!("{done} histories, {rate:.0} a second");
    }
    sum.conclude();
}
