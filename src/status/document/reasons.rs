//! What is waited for and what is wrong, with its age.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::agent::Report;
use crate::history::History;
use crate::step::{Fault, Plan, Subject};

/// A reason, with its age.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    /// The set or service concerned.
    pub about: String,
    /// Its name.
    pub kind: Cow<'static, str>,
    /// The reason.
    pub what: String,
    /// What to do if it stays.
    pub advice: Cow<'static, str>,
    /// Since when this agent has seen it so.
    pub since: Timestamp,
}

/// A fault that is gone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PastFault {
    /// The set or service concerned.
    pub about: String,
    /// Its name.
    pub kind: Cow<'static, str>,
    /// What it was.
    pub what: String,
    /// Since when this agent saw it so.
    pub since: Timestamp,
    /// When this agent saw it gone.
    pub until: Timestamp,
}

/// All reasons of a plan.
pub(super) struct Reasons {
    pub(super) waiting: Vec<Reason>,
    pub(super) faults: Vec<Reason>,
}

impl Reasons {
    pub(super) fn of(plan: &Plan, lanes: &Report, now: Timestamp, history: &mut History) -> Self {
        let waiting = plan.waiting.iter().map(|(about, w)| Reason {
            about: about.to_string(),
            kind: w.kind().into(),
            what: w.to_string(),
            advice: w.advice().into(),
            since: now,
        });
        let mut waiting: Vec<_> = waiting.collect();
        let of_plan = plan.faults.iter().map(|(about, f)| fault(about, f, now));
        let refused = lanes.refused.iter().map(|(set, step, why)| {
            let (step, why) = (step.clone(), why.clone());
            fault(
                &Subject::Set(set.clone()),
                &Fault::StepRefused { step, why },
                now,
            )
        });
        let mut faults: Vec<_> = of_plan.chain(refused).collect();
        let key = |r: &Reason| format!("{}: {}", r.about, r.what);
        let since = history.since(now, waiting.iter().chain(&faults).map(key));
        for reason in waiting.iter_mut().chain(&mut faults) {
            reason.since = since.get(&key(reason)).copied().unwrap_or(now);
        }
        Self { waiting, faults }
    }
}

fn fault(about: &Subject, fault: &Fault, now: Timestamp) -> Reason {
    Reason {
        about: about.to_string(),
        kind: fault.kind().into(),
        what: fault.to_string(),
        advice: fault.advice().into(),
        since: now,
    }
}
