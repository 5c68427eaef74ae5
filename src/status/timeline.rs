//! What has happened: steps that ended, and faults that came and went, in one order.

use jiff::Timestamp;
use serde::Serialize;

use super::document::Document;
use super::words;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Happening {
    /// When.
    pub at: Timestamp,
    /// What sort of thing.
    pub kind: Kind,
    /// The set or service concerned.
    pub about: String,
    /// What.
    pub what: String,
    /// What became of it; of a step only.
    pub outcome: Option<String>,
    /// How long it took.
    pub milliseconds: Option<u64>,
}

/// What sort of thing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A step ended.
    Step,
    /// A fault came.
    Fault,
    /// A fault went.
    Mended,
}

/// All that a document tells, oldest first.
pub fn timeline(document: &Document) -> Vec<Happening> {
    let steps = document.events.iter().map(|e| Happening {
        at: e.at,
        kind: Kind::Step,
        about: e.set.to_string(),
        what: e.what.clone(),
        outcome: Some(e.outcome.clone()),
        milliseconds: Some(e.milliseconds),
    });
    let fault = |at, kind, about: &String, what: &String| Happening {
        at,
        kind,
        about: about.clone(),
        what: what.clone(),
        outcome: None,
        milliseconds: None,
    };
    let present = words::faults(document).map(|f| fault(f.since, Kind::Fault, &f.about, &f.what));
    let past = document.past_faults.iter().flat_map(|f| {
        [
            fault(f.since, Kind::Fault, &f.about, &f.what),
            fault(f.until, Kind::Mended, &f.about, &f.what),
        ]
    });
    let mut all: Vec<_> = steps.chain(present).chain(past).collect();
    all.sort_by_key(|h| h.at);
    all
}
