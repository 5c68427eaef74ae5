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
        last.story.join("\n"),
    )
}
