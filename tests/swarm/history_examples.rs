//! The history checker is itself checked: it has to find what it is there to find.

use crate::history::{History, Outcome, Read, Remains, Target, Verdict, Write};
use anyhow::{Result, ensure};

/// A name, and what has to hold.
type Example = (&'static str, fn() -> Result<()>);

/// The examples by name.
pub fn all() -> Vec<Example> {
    vec![
        ("history_that_is_clean_passes", clean_history_passes),
        ("history_finds_a_lost_log_entry", lost_log_entry),
        ("history_finds_a_lost_register_update", lost_register_update),
        ("history_finds_a_stale_read", stale_read),
        (
            "history_finds_a_value_that_was_never_written",
            phantom_value,
        ),
        (
            "history_finds_a_log_entry_that_was_never_written",
            phantom_log_entry,
        ),
        ("history_finds_a_read_from_the_future", read_from_the_future),
        (
            "history_finds_a_value_that_was_read_and_then_gone",
            read_and_then_gone,
        ),
        ("history_finds_a_missing_register", missing_register),
        (
            "history_allows_an_unknown_write_to_be_there_or_not",
            unknown_write,
        ),
        (
            "history_allows_reads_during_a_write_to_see_either",
            concurrent_read,
        ),
        ("history_measures_the_longest_gap", longest_gap),
        (
            "history_with_nothing_acknowledged_is_no_success",
            nothing_acknowledged,
        ),
    ]
}

fn write(target: Target, value: u64, began: u64, ended: u64) -> Write {
    Write {
        writer: 1,
        target,
        value,
        began,
        ended,
        outcome: Outcome::Acknowledged,
    }
}

fn read(value: u64, began: u64, ended: u64) -> Read {
    Read {
        writer: 1,
        value: Some(value),
        began,
        ended,
    }
}

/// Register 1 set to 2 and 4, log entries 1 and 3 written, and two honest reads.
fn history() -> History {
    History {
        writes: vec![
            write(Target::Log, 1, 100, 200),
            write(Target::Register, 2, 200, 300),
            write(Target::Log, 3, 300, 400),
            write(Target::Register, 4, 400, 500),
        ],
        reads: vec![read(0, 10, 20), read(2, 310, 390), read(4, 600, 700)],
        ended: 1000,
        ..History::default()
    }
}

fn remains() -> Remains {
    Remains {
        registers: [(1, 4)].into(),
        log: [(1, 1), (1, 3)].into(),
    }
}

fn found(verdict: &Verdict, lost: usize, inconsistent: usize) -> Result<()> {
    let counts = (verdict.lost.len(), verdict.inconsistent.len());
    ensure!(
        counts == (lost, inconsistent),
        "found {counts:?}, not {:?}: {verdict:?}",
        (lost, inconsistent)
    );
    ensure!(
        verdict.assert_clean().is_err() == (counts != (0, 0)),
        "assert_clean disagrees with {verdict:?}"
    );
    Ok(())
}

fn clean_history_passes() -> Result<()> {
    let verdict = history().verdict(&remains());
    found(&verdict, 0, 0)?;
    ensure!(
        verdict.acknowledged == 4 && verdict.reads == 3,
        "{verdict:?}"
    );
    verdict.assert_no_errors()
}

fn lost_log_entry() -> Result<()> {
    let mut remains = remains();
    remains.log.remove(&(1, 3));
    found(&history().verdict(&remains), 1, 0)
}

fn lost_register_update() -> Result<()> {
    let mut history = history();
    history.reads.pop();
    let mut remains = remains();
    remains.registers.insert(1, 2);
    // Lost, and by the same token the last look at it contradicts what was acknowledged.
    found(&history.verdict(&remains), 1, 1)
}

fn stale_read() -> Result<()> {
    let mut history = history();
    history.reads.push(read(2, 510, 520));
    found(&history.verdict(&remains()), 0, 1)
}

fn phantom_value() -> Result<()> {
    let mut history = history();
    history.reads.push(read(3, 310, 320));
    found(&history.verdict(&remains()), 0, 1)
}

fn phantom_log_entry() -> Result<()> {
    let mut remains = remains();
    remains.log.insert((1, 77));
    found(&history().verdict(&remains), 0, 1)
}

fn read_from_the_future() -> Result<()> {
    let mut history = history();
    history.reads = vec![read(4, 310, 320)];
    found(&history.verdict(&remains()), 0, 1)
}

fn read_and_then_gone() -> Result<()> {
    let mut history = history();
    history.writes[3].outcome = Outcome::Unknown("time-out".into());
    history.reads.push(read(2, 800, 900));
    found(&history.verdict(&remains()), 0, 1)
}

fn missing_register() -> Result<()> {
    let mut history = history();
    history.reads.push(Read {
        writer: 1,
        value: None,
        began: 900,
        ended: 950,
    });
    found(&history.verdict(&remains()), 0, 1)
}

fn unknown_write() -> Result<()> {
    let mut history = history();
    history.writes[2].outcome = Outcome::Unknown("time-out".into());
    let there = history.verdict(&remains());
    found(&there, 0, 0)?;
    ensure!(
        there.assert_no_errors().is_err() && there.errors() == 1,
        "{there:?}"
    );
    let mut remains = remains();
    remains.log.remove(&(1, 3));
    found(&history.verdict(&remains), 0, 0)
}

fn concurrent_read() -> Result<()> {
    for value in [2, 4] {
        let mut history = history();
        history.reads.push(read(value, 450, 460));
        found(&history.verdict(&remains()), 0, 0)?;
    }
    Ok(())
}

fn longest_gap() -> Result<()> {
    let mut history = history();
    history.writes.iter_mut().for_each(|write| {
        write.began *= 1000;
        write.ended *= 1000;
    });
    history.reads.clear();
    history.ended = 2_000_000;
    let verdict = history.verdict(&remains());
    ensure!(
        (verdict.longest_gap_ms, verdict.longest_gap_at_ms) == (1500, 500),
        "{verdict:?}"
    );
    ensure!(
        verdict
            .assert_gap_within(std::time::Duration::from_millis(1499))
            .is_err(),
        "{verdict:?}"
    );
    verdict.assert_gap_within(std::time::Duration::from_millis(1500))
}

fn nothing_acknowledged() -> Result<()> {
    let verdict = History {
        ended: 10,
        ..History::default()
    }
    .verdict(&Remains::default());
    ensure!(verdict.assert_clean().is_err(), "{verdict:?}");
    Ok(())
}
