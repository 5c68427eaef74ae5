//! A plan in text, as scenarios expect it.

use swarmset::plan::plan;
use swarmset::step::{Plan, Step};

use crate::text::show_config;
use crate::world::World;

/// One line a step, reason and fault. Sets and services are named where there are several.
pub fn report(world: &mut World, with_config: bool) -> Vec<String> {
    let plan = plan(&world.observe());
    let one = world.services.len() == 1;
    let mut lines = steps(world, &plan, with_config);
    for (subject, waiting) in &plan.waiting {
        let subject = if one {
            String::new()
        } else {
            format!("{subject}: ")
        };
        lines.push(format!("waiting: {subject}{waiting}"));
    }
    for (subject, fault) in &plan.faults {
        let subject = if one {
            String::new()
        } else {
            format!("{subject}: ")
        };
        lines.push(format!("fault: {subject}{fault}"));
    }
    if lines.is_empty() {
        lines.push("nothing to do".into());
    }
    lines.into_iter().map(|l| plain(&l)).collect()
}

/// The steps alone.
pub fn steps(world: &World, plan: &Plan, with_config: bool) -> Vec<String> {
    let mut lines = Vec::new();
    for step in &plan.steps {
        let set = match world.services.len() {
            1 => String::new(),
            _ => format!("{}: ", step.key()),
        };
        lines.push(plain(&format!("{set}{step}")));
        let config = match step {
            Step::Reconfigure { config, .. } | Step::Initiate { config, .. } => config,
            _ => continue,
        };
        if with_config {
            lines.push(format!("  config {}", show_config(config)));
        }
    }
    lines
}

/// Identities by their letters, and without dates.
fn plain(line: &str) -> String {
    let mut line = line.replace('\n', " ");
    for letter in 'A'..='F' {
        let id = crate::world::identity(letter);
        line = line.replace(id.as_str(), &letter.to_string());
    }
    line
}
