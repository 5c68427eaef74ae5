//! Makes the story of a history that failed as short as it gets, by leaving faults out.

use crate::faults::Fault;
use crate::life::{Life, live};
use crate::mutants::Mutant;

/// The shortest story found in which the same rule is broken.
pub fn story(seed: u64, life: Life, mutant: Option<Mutant>) -> String {
    let Some(broken) = life.broken else {
        return format!("seed {seed} keeps the rules");
    };
    let fails = |faults: &[Fault]| {
        let again = live(seed, Some(faults), mutant, false).broken;
        again.is_some_and(|b| b.rule == broken.rule)
    };
    let mut faults = life.faults;
    let mut at = 0;
    while at < faults.len() {
        let mut fewer = faults.clone();
        fewer.remove(at);
        if fails(&fewer) {
            faults = fewer;
            at = 0;
        } else {
            at += 1;
        }
    }
    let last = live(seed, Some(&faults), mutant, true);
    let faults: Vec<String> = faults.iter().map(|f| format!("  {f:?}")).collect();
    let why = last.broken.as_ref().unwrap_or(&broken);
    format!(
        "seed {seed}: {why}\nwith {} faults:\n{}\nstory:\n{}\nreplay: SEED={seed} cargo test --test simulation replay -- --nocapture",
        faults.len(),
        faults.join("\n"),
        without_repeats(&last.story).join("\n"),
    )
}

/// Leaves out tasks, after the first, that were made for a volume that another mongod has open.
fn without_repeats(story: &[String]) -> Vec<&str> {
    let is_futile = |line: &&String| line.contains("ends: another mongod");
    let name = |line: &String| {
        line.split_whitespace()
            .find(|w| w.starts_with('t') && w.len() > 1 && w[1..].parse::<u32>().is_ok())
            .map(str::to_owned)
    };
    let futile: Vec<String> = story
        .iter()
        .filter(is_futile)
        .skip(1)
        .filter_map(name)
        .collect();
    let is_told = |line: &&String| {
        let about = line.contains("is placed on") || is_futile(line);
        !about || !name(line).is_some_and(|n| futile.contains(&n))
    };
    story.iter().filter(is_told).map(String::as_str).collect()
}
