//! What the figures were measured on.

use crate::tools::{PATIENCE, repo, run};
use std::fs;

/// A few lines of Markdown.
pub fn all() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = field("/proc/meminfo", "MemTotal:").and_then(|kb| kb.parse::<f64>().ok());
    let profile = if cfg!(debug_assertions) {
        "development (`plan()` is much slower than in a release)"
    } else {
        "release"
    };
    let lines = [
        format!(
            "{cores} cores ({}), {:.0} GB of memory, Linux {}, load before the start {}",
            line_after("/proc/cpuinfo", "model name").unwrap_or_default(),
            memory.unwrap_or_default() * 1024.0 / 1e9,
            first_line("/proc/sys/kernel/osrelease"),
            first_line("/proc/loadavg"),
        ),
        format!(
            "{}; members: {}; {}; profile: {profile}",
            said_by(&["dockerd", "--version"]),
            crate::images::MONGO,
            said_by(&["rustc", "--version"]),
        ),
        format!(
            "swarmset {} at {}",
            env!("CARGO_PKG_VERSION"),
            said_by(&[
                "git",
                "-C",
                &repo().display().to_string(),
                "describe",
                "--always",
                "--dirty"
            ]),
        ),
    ];
    lines.map(|line| format!("- {line}")).join("\n")
}

fn said_by(argv: &[&str]) -> String {
    run(PATIENCE, argv).unwrap_or_else(|_| format!("{}: not known", argv[0]))
}

fn first_line(file: &str) -> String {
    fs::read_to_string(file)
        .unwrap_or_default()
        .trim()
        .to_owned()
}

fn line_after(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The word after a name, in a file of such lines.
fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let mut words = text.split_whitespace().skip_while(|word| *word != name);
    words.nth(1).map(str::to_owned)
}
