//! Running the programs that the lab is made of, and reading their answers.

use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// How long an ordinary command may take before the lab gives it up.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The repository's root: stack files, images and reports are found from here.
pub fn repo() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where reports of failed scenarios go.
pub fn reports() -> PathBuf {
    repo().join("target/lab")
}

/// Runs a program to its end and returns what it printed, without the last line break.
///
/// Fails, with what the program said, when it fails or takes longer than `limit`.
pub fn run<S: AsRef<OsStr>>(limit: Duration, argv: &[S]) -> Result<String> {
    run_with(limit, argv, &[])
}

/// Like [`run`], with variables added to the environment.
pub fn run_with<S: AsRef<OsStr>>(
    limit: Duration,
    argv: &[S],
    env: &[(&str, &str)],
) -> Result<String> {
    let said = || {
        argv.iter()
            .map(|word| word.as_ref().to_string_lossy())
            .collect::<Vec<_>>()
            .join(" ")
    };
    let output = Command::new("timeout")
        .arg("--kill-after=2s")
        .arg(format!("{:.3}s", limit.as_secs_f64().max(0.1)))
        .args(argv)
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run `{}`", said()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(124 | 137) if complaint.is_empty() => {
            bail!("`{}` did not end within {limit:?}", said())
        }
        _ => bail!(
            "`{}` failed ({}): {}",
            said(),
            output.status,
            complaint.trim()
        ),
    }
}

/// Does the same with each of the items, two at a time, and returns the results in order.
pub fn two_at_a_time<T: Sync, R: Send>(
    items: &[T],
    work: impl Fn(&T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let worker = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let Some(item) = items.get(at) else {
                return done;
            };
            done.push((at, work(item)));
        }
    };
    let mut done = std::thread::scope(|scope| {
        let other = scope.spawn(worker);
        let mut done = worker();
        done.extend(other.join().expect("a lab worker panicked"));
        done
    });
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}
