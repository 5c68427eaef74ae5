//! What is done, what is waited for, what is wrong, what has happened: in plain words, with what to do.

use jiff::Timestamp;
use maud::{Markup, html};

use crate::doctor::Severity;
use crate::status::document::{Document, Reason, SetEntry};
use crate::status::timeline::{Happening, Kind, timeline};
use crate::status::words;

/// How much of the time line is shown unfolded.
const RECENT: usize = 12;

/// `12 s ago`, kept young by the script.
pub(super) fn ago(at: Timestamp, now: Timestamp) -> Markup {
    html! {
        time datetime={ (format!("{at:.0}")) } title={ (format!("{at:.0}")) } { (words::ago(at, now)) }
    }
}

fn since(at: Timestamp, now: Timestamp) -> Markup {
    html! { span.since { (ago(at, now)) } }
}

/// What is about no set.
pub(super) fn outside(document: &Document, now: Timestamp) -> Markup {
    if document.faults.is_empty() && document.waiting.is_empty() {
        return html! {};
    }
    html! {
        section.card aria-label="Outside of the sets" {
            ul.reasons {
                (list(&document.faults, true, true, now))
                (list(&document.waiting, false, true, now))
            }
        }
    }
}

/// Of one set: under way, next, faults, waiting.
pub(super) fn of_set(document: &Document, set: &SetEntry, now: Timestamp) -> Markup {
    let key = set.key();
    let is_doing = |what: &str| set.doing.iter().any(|d| d.what == what);
    let planned = document.plan.iter();
    let next: Vec<_> = planned
        .filter(|p| p.set.to_string() == key && !is_doing(&p.what))
        .collect();
    if set.doing.is_empty() && next.is_empty() && set.faults.is_empty() && set.waiting.is_empty() {
        return html! {};
    }
    html! {
        ul.reasons {
            @for doing in &set.doing {
                li.doing {
                    span.word { "now" }
                    div { p { (doing.what) " " (since(doing.since, now)) } }
                }
            }
            (list(&set.faults, true, false, now))
            @for step in &next {
                li.next {
                    span.word { "next" }
                    div { p { (step.what) } }
                }
            }
            (list(&set.waiting, false, false, now))
        }
    }
}

fn list(reasons: &[Reason], faults: bool, with_subject: bool, now: Timestamp) -> Markup {
    html! {
        @for reason in reasons {
            li.(if faults { "fault" } else { "waiting" }) {
                span.word { (if faults { "fault" } else { "waiting" }) }
                div {
                    p {
                        @if with_subject { strong { (reason.about) } " – " }
                        (reason.what) " " (since(reason.since, now))
                    }
                    p.advice { (reason.advice) }
                }
            }
        }
    }
}

/// The time line, newest first.
pub(super) fn happened(document: &Document, now: Timestamp) -> Markup {
    let mut all = timeline(document);
    all.reverse();
    let (recent, older) = all.split_at(all.len().min(RECENT));
    html! {
        section.card aria-labelledby="happened" {
            h2 #happened { "What happened" }
            @if all.is_empty() {
                p.none { "Nothing since this agent started." }
            } @else {
                ol.timeline { @for one in recent { (happening(one, now)) } }
            }
            @if !older.is_empty() {
                details #older {
                    summary #summary-older { (older.len()) " older" }
                    ol.timeline { @for one in older { (happening(one, now)) } }
                }
            }
        }
    }
}

fn happening(one: &Happening, now: Timestamp) -> Markup {
    let well = one.outcome.as_ref().is_none_or(|o| o.starts_with("done"));
    let class = match one.kind {
        Kind::Step if well => "done",
        Kind::Step => "not-done",
        Kind::Fault => "fault",
        Kind::Mended => "mended",
    };
    html! {
        li.(class) {
            span.when { (ago(one.at, now)) }
            div {
                p {
                    @match one.kind {
                        Kind::Step => {},
                        Kind::Fault => strong { "fault: " },
                        Kind::Mended => strong { "mended: " },
                    }
                    (one.what)
                }
                p.outcome {
                    (one.about)
                    @if let Some(outcome) = &one.outcome { " · " (outcome) }
                    @if let Some(milliseconds) = one.milliseconds { " in " (milliseconds) " ms" }
                }
            }
        }
    }
}

/// The doctor's findings; dangers unfolded.
pub(super) fn findings(document: &Document) -> Markup {
    let findings = &document.findings;
    let danger = findings.iter().any(|f| f.severity == Severity::Danger);
    html! {
        section.card aria-labelledby="doctor" {
            @if findings.is_empty() {
                h2 #doctor { "Doctor" }
                p.none { "Nothing found." }
            } @else {
                details #findings open[danger] {
                    summary #summary-findings {
                        h2 #doctor { "Doctor" }
                        span.facts { (findings.len()) " found in the stack" }
                    }
                    ul.findings {
                        @for finding in findings {
                            li.(finding.severity.to_string()) {
                                p { span.word { (finding.severity) } " " strong { (finding.about) } " – " (finding.found) }
                                p.why { (finding.why) }
                                pre { code { (finding.fix) } }
                            }
                        }
                    }
                }
            }
        }
    }
}
