//! The status as text. Styles are always written; the stream takes them away where they are not wanted.

use std::io::{Result, Write};

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;
use serde::Serialize;

use super::locate::Found;
use crate::doctor::{Finding, Severity};
use crate::status::document::{
    Document, MemberEntry, PlannedStep, Reason, SetEntry, TaskEntry, UnderWay,
};
use crate::status::timeline::{Happening, Kind};
use crate::status::words::{self, Standing, age, ago, mark, progress, vote};

const PLAIN: Style = Style::new();
const BOLD: Style = Style::new().bold();
const FAINT: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default();
const PENDING: Style = AnsiColor::Yellow.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();
const FAULT: (Style, &str) = (BAD, "fault");
const WAITING: (Style, &str) = (PENDING, "waiting");
const DOING: Style = AnsiColor::Cyan.on_default();

fn style_of(standing: Standing) -> Style {
    match standing {
        Standing::Converged => GOOD,
        Standing::NotYet => PENDING,
        Standing::NeedsAPerson => BAD,
    }
}

/// The whole status. Without a `now`, ages are left out.
pub(super) fn status(out: &mut impl Write, found: &Found, now: Option<Timestamp>) -> Result<()> {
    let document = &found.document;
    let standing = Standing::of(document);
    let style = style_of(standing);
    write!(out, "{style}{}{style:#}", standing.words())?;
    let role = if document.agent.acts {
        "acts"
    } else {
        "watches"
    };
    let stack = document.agent.stack.as_deref();
    let stack = stack.map_or("all stacks".to_owned(), |s| format!("stack {s}"));
    write!(out, "  {stack}  {FAINT}the agent at {} {role}", found.url)?;
    if let Some(now) = now {
        write!(out, ", its last cycle: {}", ago(document.cycle.at, now))?;
    }
    writeln!(out, "{FAINT:#}")?;
    reasons(out, &document.faults, FAULT, false, now)?;
    reasons(out, &document.waiting, WAITING, false, now)?;
    for one in &document.sets {
        writeln!(out)?;
        set(out, one, now)?;
    }
    if document.sets.is_empty() && document.waiting.is_empty() {
        writeln!(
            out,
            "no replica set; label a service: swarmset.role: replica-set"
        )?;
    }
    doctors_word(out, document)
}

fn set(out: &mut impl Write, set: &SetEntry, now: Option<Timestamp>) -> Result<()> {
    let standing = Standing::of_set(set);
    let style = style_of(standing);
    let config = set.config_version.map(|v| format!("  configuration {v}"));
    writeln!(
        out,
        "{BOLD}{}{BOLD:#}  {style}{}{style:#}  service {}  {} of {} members{}",
        set.key(),
        standing.words(),
        set.service,
        set.members.iter().filter(|m| m.healthy).count(),
        set.replicas,
        config.unwrap_or_default(),
    )?;
    let mut rows = vec![Row::head()];
    rows.extend(set.members.iter().map(|m| Row::member(m, set)));
    let strangers = set.tasks.iter().filter(|t| !is_member(set, t));
    rows.extend(strangers.map(Row::newcomer));
    table(out, &rows)?;
    for UnderWay { what, since, .. } in &set.doing {
        let age = now.map(|now| format!(" ({})", age(*since, now)));
        writeln!(
            out,
            "  {DOING}doing{DOING:#}  {what}{}",
            age.unwrap_or_default()
        )?;
    }
    reasons(out, &set.faults, FAULT, true, now)?;
    reasons(out, &set.waiting, WAITING, true, now)
}

fn is_member(set: &SetEntry, task: &TaskEntry) -> bool {
    set.members
        .iter()
        .any(|m| m.task.as_ref() == Some(&task.id))
}

struct Row {
    cells: [String; 7],
    style: Style,
}

impl Row {
    fn head() -> Self {
        let cells = ["_id", "host", "state", "vote", "lag", "node", ""];
        Self {
            cells: cells.map(str::to_owned),
            style: FAINT,
        }
    }

    fn member(member: &MemberEntry, set: &SetEntry) -> Self {
        let style = match (member.healthy, mark(member)) {
            _ if set.primary.as_ref() == Some(&member.host) => BOLD,
            (true, None) => PLAIN,
            (_, Some(_)) => PENDING,
            (false, None) => BAD,
        };
        let copied = member.initial_sync.as_ref().and_then(progress);
        let remark: Vec<_> = mark(member)
            .map(str::to_owned)
            .into_iter()
            .chain(copied)
            .collect();
        Self {
            cells: [
                member.id.to_string(),
                member.host.clone(),
                member.state.clone(),
                vote(member).to_owned(),
                member
                    .lag_seconds
                    .map(|s| format!("{s} s"))
                    .unwrap_or_default(),
                member.node.clone().unwrap_or_default(),
                remark.join(", "),
            ],
            style,
        }
    }

    /// A task that is not in the configuration.
    fn newcomer(task: &TaskEntry) -> Self {
        let slot = task.slot.map(|s| format!("slot {s}")).unwrap_or_default();
        let error = task.error.as_ref().map(|e| format!(": {e}"));
        Self {
            cells: [
                String::new(),
                task.host.clone().unwrap_or(slot),
                task.mongod.clone(),
                String::new(),
                String::new(),
                task.node.clone().unwrap_or_default(),
                format!(
                    "no member; task is {}{}",
                    task.state,
                    error.unwrap_or_default()
                ),
            ],
            style: FAINT,
        }
    }
}

fn table(out: &mut impl Write, rows: &[Row]) -> Result<()> {
    if rows.len() == 1 {
        return Ok(());
    }
    let width = |column: usize| {
        let cells = rows.iter().map(|r| r.cells[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..7).map(width).collect();
    for Row { cells, style } in rows {
        let padded = cells.iter().zip(&widths);
        let line: Vec<_> = padded.map(|(c, w)| format!("{c:w$}")).collect();
        let line = line.join("  ");
        writeln!(out, "  {style}{}{style:#}", line.trim_end())?;
    }
    Ok(())
}

fn reasons(
    out: &mut impl Write,
    reasons: &[Reason],
    (style, word): (Style, &str),
    of_set: bool,
    now: Option<Timestamp>,
) -> Result<()> {
    for reason in reasons {
        let age = now.map(|now| format!(" ({})", age(reason.since, now)));
        let age = age.unwrap_or_default();
        let about = if of_set {
            String::new()
        } else {
            format!("{}: ", reason.about)
        };
        let what = &reason.what;
        writeln!(out, "  {style}{word}{style:#}  {about}{what}{age}")?;
        writeln!(out, "         {FAINT}{}{FAINT:#}", reason.advice)?;
    }
    Ok(())
}

fn doctors_word(out: &mut impl Write, document: &Document) -> Result<()> {
    let count = |severity| {
        document
            .findings
            .iter()
            .filter(|f| f.severity == severity)
            .count()
    };
    let (danger, warning) = (count(Severity::Danger), count(Severity::Warning));
    if danger + warning == 0 {
        return Ok(());
    }
    let style = if danger > 0 { BAD } else { PENDING };
    writeln!(
        out,
        "\n{style}The doctor found {}{style:#}: swarmset doctor",
        counted(danger, warning)
    )
}

fn counted(danger: usize, warning: usize) -> String {
    let plural = |n: usize, word: &str| match n {
        0 => None,
        1 => Some(format!("1 {word}")),
        n => Some(format!("{n} {word}s")),
    };
    let words = [plural(danger, "danger"), plural(warning, "warning")];
    words
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(" and ")
}

/// What is planned, and why the rest is not.
#[derive(Serialize)]
pub(super) struct PlanAndReasons<'a> {
    plan: &'a [PlannedStep],
    doing: Vec<&'a UnderWay>,
    waiting: Vec<&'a Reason>,
    faults: Vec<&'a Reason>,
}

pub(super) fn plan_json(document: &Document) -> PlanAndReasons<'_> {
    PlanAndReasons {
        plan: &document.plan,
        doing: document.sets.iter().flat_map(|s| &s.doing).collect(),
        waiting: words::waiting(document).collect(),
        faults: words::faults(document).collect(),
    }
}

pub(super) fn plan(out: &mut impl Write, found: &Found) -> Result<()> {
    let document = &found.document;
    let all = plan_json(document);
    for UnderWay { set, what, .. } in &all.doing {
        writeln!(out, "{DOING}doing{DOING:#}    {set}: {what}")?;
    }
    let is_doing = |p: &&PlannedStep| all.doing.iter().any(|d| d.set == p.set && d.what == p.what);
    for step in all.plan.iter().filter(|p| !is_doing(p)) {
        writeln!(out, "{BOLD}next{BOLD:#}     {}: {}", step.set, step.what)?;
    }
    let reasons = all.faults.iter().map(|r| (BAD, "fault  ", r));
    let reasons = reasons.chain(all.waiting.iter().map(|r| (PENDING, "waiting", r)));
    for (style, word, reason) in reasons {
        writeln!(
            out,
            "{style}{word}{style:#}  {}: {}",
            reason.about, reason.what
        )?;
        writeln!(out, "         {FAINT}{}{FAINT:#}", reason.advice)?;
    }
    if all.plan.is_empty() && all.doing.is_empty() {
        let style = if document.converged { GOOD } else { PLAIN };
        writeln!(out, "{style}nothing to do{style:#}")?;
    } else if !document.agent.acts {
        writeln!(
            out,
            "{FAINT}the agent at {} only watches: another one acts{FAINT:#}",
            found.url
        )?;
    }
    Ok(())
}

pub(super) fn happening(out: &mut impl Write, happening: &Happening) -> Result<()> {
    let Happening {
        at,
        kind,
        about,
        what,
        outcome,
        milliseconds,
    } = happening;
    let (style, word) = match kind {
        Kind::Step => (PLAIN, "step  "),
        Kind::Fault => (BAD, "fault "),
        Kind::Mended => (GOOD, "mended"),
    };
    write!(
        out,
        "{FAINT}{at:.0}{FAINT:#}  {style}{word}{style:#}  {about}: {what}"
    )?;
    if let Some(outcome) = outcome {
        let style = if outcome.starts_with("done") {
            GOOD
        } else {
            PENDING
        };
        write!(out, "  {style}{outcome}{style:#}")?;
    }
    if let Some(milliseconds) = milliseconds {
        write!(out, " {FAINT}{milliseconds} ms{FAINT:#}")?;
    }
    writeln!(out)
}

pub(super) fn findings(out: &mut impl Write, document: &Document) -> Result<()> {
    for finding in &document.findings {
        let Finding {
            severity,
            about,
            check,
            found,
            why,
            fix,
        } = finding;
        let style = match severity {
            Severity::Danger => BAD,
            Severity::Warning => PENDING,
            Severity::Advice => DOING,
        };
        writeln!(
            out,
            "{style}{severity}{style:#}  {BOLD}{about}{BOLD:#}: {found}  {FAINT}{check}{FAINT:#}"
        )?;
        writeln!(out, "  why  {why}")?;
        writeln!(out, "  fix  {fix}")?;
    }
    if document.findings.is_empty() {
        writeln!(out, "{GOOD}nothing found{GOOD:#}")?;
    }
    Ok(())
}
