//! The command line but for `agent`: asks an agent for its status, and shows it.
//!
//! Exit codes, for scripts: 0 converged, 1 not yet, 2 needs a person, 3 no agent could be asked.

pub mod arguments;
mod client;
mod locate;
mod show;

use std::io::{IsTerminal as _, Write};
use std::time::Duration;

use jiff::Timestamp;
use thiserror::Error;
use tokio::time::sleep;

use crate::doctor::Severity;
use crate::status::document::Document;
use crate::status::timeline::timeline;
use crate::status::words::Standing;
use arguments::{Ask, Shell, Show};
pub use client::AskError;
use locate::Found;

/// Between two looks of `--watch` and `--follow`.
const INTERVAL: Duration = Duration::from_secs(1);
/// Nobody could be asked.
pub const NOBODY: u8 = 3;

/// Why a command ended early.
#[derive(Debug, Error)]
pub enum CliError {
    /// No agent answered.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The answer cannot be written.
    #[error("cannot write: {0}")]
    Write(#[from] std::io::Error),
    /// The answer cannot be made JSON.
    #[error("cannot write JSON: {0}")]
    Json(#[from] serde_json::Error),
}

impl CliError {
    /// Whether the reader has gone away, as `head` does.
    pub fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Write(error) if error.kind() == std::io::ErrorKind::BrokenPipe)
    }
}

/// Carries out a command; the result is the exit code.
///
/// # Errors
/// Nobody could be asked, or the answer not be written.
pub async fn run(command: Show, out: &mut impl Write) -> Result<u8, CliError> {
    match command {
        Show::Status(a) if a.watch => watch(&a.ask, a.json, out).await,
        Show::Status(a) => {
            let found = locate::find(&a.ask).await?;
            if a.json {
                out.write_all(&found.body)?;
                writeln!(out)?;
            } else {
                show::status(out, &found, Some(Timestamp::now()))?;
            }
            Ok(code(&found.document))
        }
        Show::Plan(a) => {
            let found = locate::find(&a.ask).await?;
            if a.json {
                write_json(out, &show::plan_json(&found.document))?;
            } else {
                show::plan(out, &found)?;
            }
            Ok(code(&found.document))
        }
        Show::Events(a) => events(&a.ask, a.follow, a.json, out).await,
        Show::Doctor(a) => {
            let found = locate::find(&a.ask).await?;
            if a.json {
                write_json(out, &found.document.findings)?;
            } else {
                show::findings(out, &found.document)?;
            }
            Ok(worst(&found.document))
        }
        Show::Completions { shell } => {
            completions(shell, out);
            Ok(0)
        }
    }
}

fn code(document: &Document) -> u8 {
    match Standing::of(document) {
        Standing::Converged => 0,
        Standing::NotYet => 1,
        Standing::NeedsAPerson => 2,
    }
}

/// The doctor's exit code: 0 if there is nothing but advice, 1 for a warning, 2 for a danger.
fn worst(document: &Document) -> u8 {
    let severities = document.findings.iter().map(|f| match f.severity {
        Severity::Danger => 2,
        Severity::Warning => 1,
        Severity::Advice => 0,
    });
    severities.max().unwrap_or(0)
}

fn write_json(out: &mut impl Write, value: &impl serde::Serialize) -> Result<(), CliError> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)?;
    Ok(())
}

fn completions(shell: Shell, out: &mut impl Write) {
    let mut command = <arguments::Arguments as clap::CommandFactory>::command();
    clap_complete::generate(shell, &mut command, "swarmset", out);
}

/// Shows the status anew when it changes; on a terminal each second, for ages change too. Ends only by a signal.
async fn watch(ask: &Ask, json: bool, out: &mut impl Write) -> Result<u8, CliError> {
    let on_terminal = std::io::stdout().is_terminal();
    let mut shown = Vec::new();
    let mut followed = Followed::new(ask);
    loop {
        let found = followed.look().await?;
        let mut text = Vec::new();
        show::status(&mut text, &found, None)?;
        if on_terminal && !json {
            // Home, and clear what is below.
            write!(out, "\x1b[H\x1b[J")?;
            show::status(out, &found, Some(Timestamp::now()))?;
        } else if text != shown && json {
            out.write_all(&serde_json::to_vec(&found.document)?)?;
            writeln!(out)?;
        } else if text != shown {
            show::status(out, &found, Some(Timestamp::now()))?;
            writeln!(out)?;
        }
        out.flush()?;
        shown = text;
        sleep(INTERVAL).await;
    }
}

/// Shows what has happened, and with `follow` what happens, until a signal comes.
async fn events(ask: &Ask, follow: bool, json: bool, out: &mut impl Write) -> Result<u8, CliError> {
    let mut followed = Followed::new(ask);
    let mut last = Timestamp::MIN;
    loop {
        let found = followed.look().await?;
        let all = timeline(&found.document);
        for happening in all.iter().filter(|h| h.at > last) {
            if json {
                serde_json::to_writer(&mut *out, happening)?;
                writeln!(out)?;
            } else {
                show::happening(out, happening)?;
            }
        }
        out.flush()?;
        if !follow {
            if all.is_empty() && !json {
                writeln!(out, "nothing has happened since the agent started")?;
            }
            return Ok(code(&found.document));
        }
        last = all.last().map_or(last, |h| h.at.max(last));
        sleep(INTERVAL).await;
    }
}

/// An agent that is asked again and again. One that goes away is waited for, or another found.
struct Followed<'a> {
    ask: &'a Ask,
    answered: bool,
}

impl<'a> Followed<'a> {
    fn new(ask: &'a Ask) -> Self {
        Self {
            ask,
            answered: false,
        }
    }

    /// The first look has to succeed; later ones go on until one does.
    async fn look(&mut self) -> Result<Found, AskError> {
        let mut said = false;
        loop {
            match locate::find(self.ask).await {
                Ok(found) => {
                    self.answered = true;
                    return Ok(found);
                }
                Err(error) if !self.answered => return Err(error),
                Err(error) => {
                    if !said {
                        anstream::eprintln!("{error}; trying again");
                        said = true;
                    }
                    sleep(INTERVAL).await;
                }
            }
        }
    }
}
