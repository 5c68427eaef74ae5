//! The page: a person's view of the document. Written here, with no outside resource; readable without scripts.
//!
//! [`body`] is all that changes: the first answer holds it, and `/live` sends it anew. Styles are in `page/page.css`;
//! `page/page.js` only puts the new body in place of the old one and keeps ages young.

mod picture;
mod reasons;

use jiff::Timestamp;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::document::{Document, SetEntry};
use super::words::{self, Standing};

/// The styles.
pub(super) const CSS: &str = include_str!("page/page.css");
/// The script.
pub(super) const SCRIPT: &str = include_str!("page/page.js");

/// With more sets than this, those that are well are folded up.
const UNFOLDED: usize = 4;

/// The whole page.
pub(super) fn page(document: &Document, now: Timestamp) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title(document)) }
                link rel="icon" type="image/svg+xml" href=(icon_path(Standing::of(document)));
                link rel="stylesheet" href="/page.css";
                script src="/page.js" defer {}
                noscript { meta http-equiv="refresh" content="5"; }
            }
            body {
                a.skip href="#main" { "Skip to the sets" }
                p #said.unseen role="status" {}
                main #main tabindex="-1" { (body(document, now)) }
                footer {
                    p {
                        "swarmset " (document.agent.version) " · "
                        a href="/status" { "status as JSON" } " · "
                        a href="/metrics" { "metrics" } " · "
                        a href="/readyz" { "readiness" }
                    }
                }
            }
        }
    }
}

fn title(document: &Document) -> String {
    let stack = document.agent.stack.as_deref().unwrap_or("all stacks");
    format!("{stack}: {} – swarmset", Standing::of(document).words())
}

/// All that changes.
pub(super) fn body(document: &Document, now: Timestamp) -> Markup {
    let standing = Standing::of(document);
    let mut sets: Vec<&SetEntry> = document.sets.iter().collect();
    sets.sort_by_key(|s| match Standing::of_set(s) {
        Standing::NeedsAPerson => 0,
        Standing::NotYet => 1,
        Standing::Converged => 2,
    });
    html! {
        header.top.(class(standing)) data-title=(title(document)) data-icon=(icon_path(standing)) {
            h1 { span.dot aria-hidden="true" {} span #headline { (headline(document, standing)) } }
            p.agent {
                @match &document.agent.stack {
                    Some(stack) => { "stack " strong { (stack) } },
                    None => "all stacks",
                }
                " · this agent " (if document.agent.acts { "acts" } else { "only watches" })
                @if !document.agent.acts {
                    @if let Some(address) = leader(document) {
                        ", " a href={ "http://" (address) ":27080/" } { "the one on the leader" } " acts"
                    }
                }
                " · looked " (reasons::ago(document.cycle.at, now))
                span.live aria-hidden="true" {}
            }
        }
        (reasons::outside(document, now))
        @if sets.is_empty() && document.swarm.readable {
            section.card.empty {
                h2 { "No replica set yet" }
                p { "Label a service: " code { "swarmset.role: replica-set" } }
            }
        }
        @for set in &sets {
            (one_set(document, set, sets.len(), now))
        }
        (reasons::happened(document, now))
        (reasons::findings(document))
    }
}

fn headline(document: &Document, standing: Standing) -> String {
    let count = |standing| {
        let of_it = document
            .sets
            .iter()
            .filter(|s| Standing::of_set(s) == standing);
        of_it.count()
    };
    match standing {
        Standing::Converged if document.sets.is_empty() => "Nothing to look after".to_owned(),
        Standing::Converged => "All is well".to_owned(),
        Standing::NeedsAPerson => match words::faults(document).count() {
            1 => "One fault needs you".to_owned(),
            n => format!("{n} faults need you"),
        },
        Standing::NotYet if !document.swarm.readable => "The Swarm cannot be read".to_owned(),
        Standing::NotYet => match count(Standing::NotYet) {
            0 => "On its way".to_owned(),
            1 if document.sets.len() == 1 => "On its way".to_owned(),
            1 => format!("1 of {} sets is on its way", document.sets.len()),
            n => format!("{n} of {} sets are on their way", document.sets.len()),
        },
    }
}

fn one_set(document: &Document, set: &SetEntry, of: usize, now: Timestamp) -> Markup {
    let standing = Standing::of_set(set);
    let key = set.key();
    html! {
        section aria-labelledby={ "set-" (key) } {
            details.card.set.(class(standing)) id=(key) open[of <= UNFOLDED || standing != Standing::Converged] {
                summary #{ "summary-" (key) } {
                    h2 #{ "set-" (key) } { (key) }
                    span.chip { (standing.words()) }
                    span.facts {
                        "service " (set.service) " · " (picture::members_of(set))
                        @if let Some(version) = set.config_version {
                            " · configuration " (version)
                            @if set.config_committed == Some(false) { " (not yet committed)" }
                        }
                    }
                }
                (picture::votes(set))
                (reasons::of_set(document, set, now))
                (picture::nodes(document, set))
            }
        }
    }
}

fn leader(document: &Document) -> Option<&str> {
    let leader = document.swarm.leader.as_ref()?;
    let nodes = document.swarm.nodes.iter();
    let mut named = nodes.filter(|n| n.hostname == *leader);
    let address = named.next()?.address.as_deref()?;
    // Of a link's host, nothing but an address is made.
    address
        .parse::<std::net::IpAddr>()
        .is_ok_and(|a| a.is_ipv4())
        .then_some(address)
}

fn class(standing: Standing) -> &'static str {
    match standing {
        Standing::Converged => "good",
        Standing::NotYet => "pending",
        Standing::NeedsAPerson => "bad",
    }
}

fn icon_path(standing: Standing) -> String {
    format!("/icon-{}.svg", class(standing))
}

/// The tab's icon, by the class in its name.
pub(super) fn icon(name: &str) -> Option<String> {
    let colour = match name {
        "good" => "#1a7f4b",
        "pending" => "#b7791f",
        "bad" => "#c5303c",
        _ => return None,
    };
    let svg = html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16" {
            circle cx="8" cy="3.6" r="3.1" fill=(colour) {}
            circle cx="3.4" cy="11.6" r="3.1" fill=(colour) {}
            circle cx="12.6" cy="11.6" r="3.1" fill=(colour) {}
        }
    };
    Some(svg.into_string())
}

/// Nothing but white space.
const SPACE: PreEscaped<&str> = PreEscaped(" ");
