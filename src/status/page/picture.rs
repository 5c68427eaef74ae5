//! A set, drawn: its votes, and its members over the nodes that they live on.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::SPACE;
use crate::mongo::model::majority;
use crate::status::document::{Document, MemberEntry, NodeEntry, SetEntry, TaskEntry};
use crate::status::words::{mark, percent, progress, vote};
use crate::swarm::model::Availability;

/// What stands on one node.
#[derive(Default)]
struct Home<'a> {
    node: Option<&'a NodeEntry>,
    members: Vec<(&'a MemberEntry, Option<&'a TaskEntry>)>,
    newcomers: Vec<&'a TaskEntry>,
}

/// `3 of 5 members`
pub(super) fn members_of(set: &SetEntry) -> String {
    let healthy = set
        .members
        .iter()
        .filter(|m| m.healthy && m.standing != "leaves");
    format!("{} of {} members", healthy.count(), set.replicas)
}

/// One pip a vote, and what a majority is.
pub(super) fn votes(set: &SetEntry) -> Markup {
    let voters: Vec<_> = set.members.iter().filter(|m| m.votes > 0).collect();
    let counted = voters.iter().filter(|m| m.voting).count();
    let healthy = voters.iter().filter(|m| m.voting && m.healthy).count();
    if voters.is_empty() {
        return html! {};
    }
    let needed = majority(counted);
    html! {
        p.votes.lost[healthy < needed] {
            span.pips aria-hidden="true" {
                @for voter in &voters {
                    span.pip.(match (voter.voting, voter.healthy) {
                        (true, true) => "yes",
                        (true, false) => "down",
                        (false, _) => "soon",
                    }) {}
                }
            }
            (healthy) " of " (counted) " votes answer, " (needed) " decide"
            @match healthy.checked_sub(needed) {
                None => strong { " – no majority" },
                Some(0) if counted > 1 => strong { " – none may be lost" },
                Some(0) => "",
                Some(1) => " – one may be lost",
                Some(n) => { " – " (n) " may be lost" },
            }
        }
    }
}

/// Members over nodes.
pub(super) fn nodes(document: &Document, set: &SetEntry) -> Markup {
    let mut homes: BTreeMap<Option<&str>, Home<'_>> = BTreeMap::new();
    for member in &set.members {
        let task = set
            .tasks
            .iter()
            .find(|t| Some(&t.id) == member.task.as_ref());
        let home = homes.entry(member.node.as_deref()).or_default();
        home.members.push((member, task));
    }
    let is_member = |t: &TaskEntry| set.members.iter().any(|m| m.task.as_ref() == Some(&t.id));
    for task in set.tasks.iter().filter(|t| !is_member(t)) {
        let home = homes.entry(task.node.as_deref()).or_default();
        home.newcomers.push(task);
    }
    for node in &document.swarm.nodes {
        if let Some(home) = homes.get_mut(&Some(node.hostname.as_str())) {
            home.node = Some(node);
        }
    }
    let nowhere = homes.remove(&None);
    let nodes = document.swarm.nodes.iter().map(|n| n.hostname.as_str());
    let others: Vec<_> = nodes.filter(|n| !homes.contains_key(&Some(*n))).collect();
    html! {
        div.nodes {
            @for (name, home) in &homes {
                (one_home(document, set, name.unwrap_or_default(), home))
            }
            @if let Some(home) = &nowhere {
                (one_home(document, set, "on no node", home))
            }
        }
        @if !others.is_empty() {
            p.others { "Nothing of this set on " (some(&others)) }
        }
    }
}

fn some(names: &[&str]) -> String {
    match names {
        [first, second, third, rest @ ..] if rest.len() > 1 => {
            format!("{first}, {second}, {third} and {} more nodes", rest.len())
        }
        all => all.join(", "),
    }
}

fn one_home(document: &Document, set: &SetEntry, name: &str, home: &Home<'_>) -> Markup {
    let down = home.node.is_some_and(|n| !n.ready);
    html! {
        article.node.down[down] {
            h3 {
                span.name { (name) }
                @if let Some(node) = home.node {
                    @if down { (SPACE) span.tag.alarm { "down" } }
                    @match node.availability {
                        Availability::Active => {},
                        Availability::Pause => { (SPACE) span.tag.warn { "paused" } },
                        Availability::Drain => { (SPACE) span.tag.warn { "drained" } },
                    }
                    @if document.swarm.leader.as_ref() == Some(&node.hostname) {
                        (SPACE) span.tag { "leader" }
                    } @else if node.manager {
                        (SPACE) span.tag { "manager" }
                    }
                }
            }
            @for (member, task) in &home.members {
                (tile(set, member, *task))
            }
            @for task in &home.newcomers {
                (newcomer(task))
            }
        }
    }
}

fn tile(set: &SetEntry, member: &MemberEntry, task: Option<&TaskEntry>) -> Markup {
    let primary = set.primary.as_ref() == Some(&member.host);
    let mark = mark(member);
    let shape = match (primary, mark, member.healthy) {
        (true, _, _) => "primary",
        (_, Some("joining"), _) => "joining",
        (_, _, false) => "ill",
        (_, _, true) => "secondary",
    };
    let going = matches!(mark, Some("leaving" | "restarting"));
    html! {
        div.member.(shape).going[going] {
            p.state {
                strong { (member.state) }
                @if let Some(mark) = mark { (SPACE) span.mark { (mark) } }
            }
            p.host { (member.host) }
            @if let Some(sync) = &member.initial_sync {
                @if let Some(percent) = percent(sync) {
                    progress max="100" value=(percent) aria-label="initial sync" { (percent) " %" }
                }
                @if let Some(text) = progress(sync) { p.copied { (text) } }
            }
            dl {
                dt { "vote" } dd { (vote(member)) }
                @if let Some(lag) = member.lag_seconds {
                    dt { "behind" } dd { (lag) " s" }
                }
                @if member.priority != 1.0 {
                    dt { "priority" } dd { (member.priority) }
                }
                dt { "task" }
                dd {
                    @match (task, &member.task) {
                        (Some(task), _) => (task_line(task)),
                        (None, Some(id)) => { "stopped, " (short(id)) },
                        (None, None) => "none",
                    }
                }
            }
        }
    }
}

fn task_line(task: &TaskEntry) -> Markup {
    html! {
        @if let Some(slot) = task.slot { "slot " (slot) ", " }
        (task_words(task)) ", " (short(&task.id))
        @if let Some(version) = &task.version { ", MongoDB " (version) }
    }
}

/// An id as `docker` prints it; the whole of it on hovering.
fn short(id: &str) -> Markup {
    let start: String = id.chars().take(12).collect();
    html! { code title=(id) { (start) } }
}

/// What Swarm has in mind, where it is not simply "to run".
fn task_words(task: &TaskEntry) -> String {
    match (task.desired.as_ref(), task.state.as_ref()) {
        ("shutdown" | "remove", state) => format!("told to stop, {state}"),
        ("ready", state) => format!("waits to start, {state}"),
        (_, state) => state.to_owned(),
    }
}

/// A task that is no member yet.
fn newcomer(task: &TaskEntry) -> Markup {
    html! {
        div.member.newcomer {
            p.state { strong { "no member yet" } }
            @if let Some(host) = &task.host { p.host { (host) } }
            dl {
                dt { "mongod" } dd { (task.mongod) }
                dt { "task" }
                dd { (task_line(task)) }
                @if let Some(error) = &task.error {
                    dt { "error" } dd { (error) }
                }
            }
        }
    }
}
