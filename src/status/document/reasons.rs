//! What is waited for and what is wrong, with its age.

use std::borrow::Cow;
use std::collections::VecDeque;

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

/// How many faults that are gone are kept.
const PAST_FAULTS_KEPT: usize = 50;

/// Which faults came and went; it may be lost at any time.
#[derive(Debug, Default)]
pub struct FaultLog {
    there: Vec<Reason>,
    past: VecDeque<PastFault>,
}

impl FaultLog {
    /// The faults that are gone, now that these are there. Those that changed their words only are not gone.
    pub fn note<'a>(
        &mut self,
        now: Timestamp,
        faults: impl Iterator<Item = &'a Reason>,
    ) -> Vec<PastFault> {
        let there: Vec<Reason> = faults.cloned().collect();
        let is_there = |old: &Reason| {
            there
                .iter()
                .any(|f| f.about == old.about && f.kind == old.kind)
        };
        let gone = self.there.iter().filter(|old| !is_there(old));
        let gone = gone.map(|f| PastFault {
            about: f.about.clone(),
            kind: f.kind.clone(),
            what: f.what.clone(),
            since: f.since,
            until: now,
        });
        self.past.extend(gone);
        while self.past.len() > PAST_FAULTS_KEPT {
            self.past.pop_front();
        }
        self.there = there;
        self.past.iter().cloned().collect()
    }
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
