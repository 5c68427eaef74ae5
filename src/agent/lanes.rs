//! Steps under way: one in each lane, so that a slow or broken set never holds up another.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::apply::{Applied, apply};
use crate::mongo::client::Mongods;
use crate::names::SetKey;
use crate::retry::Retry;
use crate::status::document::{Event, UnderWay};
use crate::step::{Lane, Step};
use crate::swarm::client::SwarmClient;

/// How many events are kept.
const EVENTS_KEPT: usize = 100;

/// The steps under way, those refused of late, and what became of the others.
#[derive(Default)]
pub(super) struct Lanes {
    running: JoinSet<Finished>,
    under_way: BTreeMap<Lane, UnderWay>,
    refused: BTreeMap<Lane, Refused>,
    events: VecDeque<Event>,
    counts: BTreeMap<(&'static str, &'static str), u64>,
}

/// A step that was refused is tried again ever more seldom, until another takes its place.
struct Refused {
    set: SetKey,
    step: String,
    why: String,
    not_before: Instant,
    retry: Retry,
}

/// What became of one step.
pub(super) struct Finished {
    lane: Lane,
    step: Step,
    applied: Applied,
    took: Duration,
}

/// What the status tells of steps.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Under way.
    pub under_way: Vec<UnderWay>,
    /// Refused: set, step, reason.
    pub refused: Vec<(SetKey, String, String)>,
    /// The last ones, newest last.
    pub events: Vec<Event>,
    /// How many of each kind had which outcome.
    pub counts: BTreeMap<(&'static str, &'static str), u64>,
}

impl Finished {
    /// Whether it is to be tried again shortly.
    pub(super) fn is_not_yet(&self) -> bool {
        matches!(
            self.applied,
            Applied::NotYet { .. } | Applied::Unknown { .. }
        )
    }
}

impl Lanes {
    /// Starts a step, unless its lane is busy or it was refused a moment ago.
    pub(super) fn start(&mut self, step: &Step, swarm: &SwarmClient, mongods: &Arc<Mongods>) {
        let (lane, text) = (step.lane(), step.to_string());
        if self.under_way.contains_key(&lane) {
            return;
        }
        if let Some(refused) = self.refused.get(&lane)
            && refused.step == text
            && Instant::now() < refused.not_before
        {
            return;
        }
        tracing::info!(set = %step.key(), step = text, "step");
        let under_way = UnderWay {
            set: step.key().clone(),
            what: text,
            since: Timestamp::now(),
        };
        self.under_way.insert(lane.clone(), under_way);
        let (step, swarm, mongods) = (step.clone(), swarm.clone(), Arc::clone(mongods));
        self.running.spawn(async move {
            let began = Instant::now();
            let applied = apply(&step, &swarm, &mongods).await;
            Finished {
                lane,
                step,
                applied,
                took: began.elapsed(),
            }
        });
    }

    /// Forgets refusals of steps that are no longer planned.
    pub(super) fn keep_refused(&mut self, planned: &[Step]) {
        let is_planned = |lane: &Lane, refused: &Refused| {
            planned
                .iter()
                .any(|s| s.lane() == *lane && s.to_string() == refused.step)
        };
        let under_way = &self.under_way;
        self.refused
            .retain(|lane, r| under_way.contains_key(lane) || is_planned(lane, r));
    }

    /// The next step that finishes; never, if none is under way.
    pub(super) async fn finished(&mut self) -> Finished {
        loop {
            match self.running.join_next().await {
                Some(Ok(finished)) => {
                    self.note(&finished);
                    return finished;
                }
                Some(Err(error)) => {
                    // Which one is not known: all are looked at anew.
                    tracing::error!(%error, "a step ended without an outcome");
                    self.under_way.clear();
                }
                None => std::future::pending().await,
            }
        }
    }

    fn note(&mut self, finished: &Finished) {
        let Finished {
            lane,
            step,
            applied,
            took,
        } = finished;
        let text = step.to_string();
        let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        tracing::info!(set = %step.key(), step = text, outcome = %applied, milliseconds, "step ended");
        self.under_way.remove(lane);
        let outcome = match applied {
            Applied::Done => "done",
            Applied::AlreadyTrue => "already-true",
            Applied::NotYet { .. } => "not-yet",
            Applied::Unknown { .. } => "unknown",
            Applied::Refused { .. } => "refused",
        };
        *self.counts.entry((step.kind(), outcome)).or_default() += 1;
        match applied {
            Applied::Refused { why } => self.refuse(lane, step.key(), text.clone(), why.clone()),
            Applied::Done | Applied::AlreadyTrue => {
                self.refused.remove(lane);
            }
            Applied::NotYet { .. } | Applied::Unknown { .. } => {}
        }
        let event = Event {
            at: Timestamp::now(),
            set: step.key().clone(),
            what: text,
            outcome: applied.to_string(),
            milliseconds,
        };
        // A candidate that is sent again and again is one event.
        if let Some(last) = self.events.back_mut()
            && last.set == event.set
            && last.what == event.what
        {
            *last = event;
        } else {
            self.events.push_back(event);
        }
        if self.events.len() > EVENTS_KEPT {
            self.events.pop_front();
        }
    }

    fn refuse(&mut self, lane: &Lane, set: &SetKey, step: String, why: String) {
        let before = self.refused.remove(lane).filter(|r| r.step == step);
        let mut retry = before.map(|r| r.retry).unwrap_or_default();
        let not_before = Instant::now() + retry.next_delay();
        let refused = Refused {
            set: set.clone(),
            step,
            why,
            not_before,
            retry,
        };
        self.refused.insert(lane.clone(), refused);
    }

    /// What the status tells.
    pub(super) fn report(&self) -> Report {
        let refused = self.refused.values();
        let refused = refused.map(|r| (r.set.clone(), r.step.clone(), r.why.clone()));
        Report {
            under_way: self.under_way.values().cloned().collect(),
            refused: refused.collect(),
            events: self.events.iter().cloned().collect(),
            counts: self.counts.clone(),
        }
    }
}
