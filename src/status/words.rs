//! Numbers as people read them; the same on the page and on the command line.

use jiff::Timestamp;

use super::document::{Document, MemberEntry, Reason, SetEntry};
use crate::mongo::model::InitialSync;

/// How long ago: `now`, `12 s`, `5 min`, `3 h`, `2 d`.
pub fn age(since: Timestamp, now: Timestamp) -> String {
    match now.as_second() - since.as_second() {
        ..=0 => "now".to_owned(),
        seconds @ 1..60 => format!("{seconds} s"),
        seconds @ 60..3_600 => format!("{} min", seconds / 60),
        seconds @ 3_600..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

/// `now`, `12 s ago` …
pub fn ago(since: Timestamp, now: Timestamp) -> String {
    match age(since, now).as_str() {
        "now" => "now".to_owned(),
        age => format!("{age} ago"),
    }
}

/// `360 MB of 900 MB, 40 %`; as much of it as is known.
pub fn progress(sync: &InitialSync) -> Option<String> {
    let copied = sync.bytes_copied?;
    match percent(sync) {
        None => Some(format!("{} copied", size(copied))),
        Some(percent) => {
            let all = size(sync.bytes_in_all.unwrap_or(copied));
            Some(format!("{} of {all}, {percent} %", size(copied)))
        }
    }
}

/// The share that is copied.
pub fn percent(sync: &InitialSync) -> Option<i64> {
    let (all, copied) = (sync.bytes_in_all?, sync.bytes_copied?);
    (all > 0).then(|| (copied.clamp(0, all)).saturating_mul(100) / all)
}

fn size(bytes: i64) -> String {
    match bytes {
        ..10_000 => format!("{bytes} B"),
        10_000..10_000_000 => format!("{} kB", bytes / 1_000),
        10_000_000..10_000_000_000 => format!("{} MB", bytes / 1_000_000),
        _ => format!("{} GB", bytes / 1_000_000_000),
    }
}

/// What is special about a member today; `None` for one that simply serves.
pub fn mark(member: &MemberEntry) -> Option<&'static str> {
    match member.standing.as_ref() {
        "leaves" => return Some("leaving"),
        "restarts" => return Some("restarting"),
        "no-word" => return Some("no task"),
        "stranger" => return Some("not ours"),
        _ => {}
    }
    (member.votes > 0 && !member.voting || member.state == "STARTUP2").then_some("joining")
}

/// Whether its vote counts: `yes`, `not yet`, `no`.
pub fn vote(member: &MemberEntry) -> &'static str {
    match (member.voting, member.votes) {
        (true, _) => "yes",
        (false, 0) => "no",
        (false, _) => "not yet",
    }
}

/// How things stand, for a whole document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// All is as asked for.
    Converged,
    /// It comes by itself, as far as is known.
    NotYet,
    /// There is a fault.
    NeedsAPerson,
}

impl Standing {
    /// That of a document.
    pub fn of(document: &Document) -> Self {
        if faults(document).next().is_some() {
            Self::NeedsAPerson
        } else if document.converged {
            Self::Converged
        } else {
            Self::NotYet
        }
    }

    /// That of one set.
    pub fn of_set(set: &SetEntry) -> Self {
        if !set.faults.is_empty() {
            Self::NeedsAPerson
        } else if set.converged {
            Self::Converged
        } else {
            Self::NotYet
        }
    }

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Converged => "converged",
            Self::NotYet => "not converged yet",
            Self::NeedsAPerson => "needs a person",
        }
    }
}

/// All faults, of sets and outside of them.
pub fn faults(document: &Document) -> impl Iterator<Item = &Reason> {
    let of_sets = document.sets.iter().flat_map(|s| &s.faults);
    document.faults.iter().chain(of_sets)
}

/// All that is waited for, in sets and outside of them.
pub fn waiting(document: &Document) -> impl Iterator<Item = &Reason> {
    let of_sets = document.sets.iter().flat_map(|s| &s.waiting);
    document.waiting.iter().chain(of_sets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages() {
        let now = Timestamp::UNIX_EPOCH;
        let ages = [0, 59, 60, 3_599, 3_600, 172_799, 172_800].map(|seconds| {
            let since = Timestamp::from_second(-seconds).unwrap_or_default();
            age(since, now)
        });
        assert_eq!(
            ages,
            ["now", "59 s", "1 min", "59 min", "1 h", "47 h", "2 d"]
        );
        assert_eq!(age(Timestamp::MAX, now), "now");
    }

    #[test]
    fn progress_of_a_copy() {
        let sync = |bytes_in_all, bytes_copied| InitialSync {
            bytes_in_all,
            bytes_copied,
        };
        let text = |all, copied| progress(&sync(all, copied));
        assert_eq!(
            text(Some(900_000_000), Some(360_000_000)).as_deref(),
            Some("360 MB of 900 MB, 40 %")
        );
        assert_eq!(text(None, Some(20_000)).as_deref(), Some("20 kB copied"));
        assert_eq!(text(Some(0), Some(0)).as_deref(), Some("0 B copied"));
        assert_eq!(text(Some(5), None), None);
        // The server's estimate can be too low.
        assert_eq!(percent(&sync(Some(100), Some(250))), Some(100));
        assert_eq!(percent(&sync(Some(i64::MAX), Some(i64::MAX))), Some(1));
    }
}
