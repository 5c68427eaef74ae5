//! How many vote, and where they are.

use std::collections::{BTreeMap, BTreeSet};

use super::{Check, Finding, Patient, Severity};
use crate::intent::{Intent, MAX_VOTERS};
use crate::mongo::model::{MemberState, SetReport, majority};
use crate::names::{Host, Slot};
use crate::swarm::model::{Availability, Node, Task};

/// Labels of nodes that are taken for zones, by their last part.
const ZONES: [&str; 5] = ["zone", "availability-zone", "az", "datacenter", "dc"];

pub(super) fn examine(patient: &Patient<'_>, findings: &mut Vec<Finding>) {
    let Some(intent) = &patient.intent else {
        return;
    };
    even(patient, intent, findings);
    let homes = voters_nodes(patient, intent);
    // With two, every node is a majority: their number says so already.
    if homes.len() < 3 {
        return;
    }
    on_one_node(patient, &homes, findings);
    in_one_zone(patient, &homes, findings);
}

fn even(patient: &Patient<'_>, intent: &Intent, findings: &mut Vec<Finding>) {
    let votes = |slot: &u64| intent.members.votes(Some(Slot(*slot)));
    let voters = (1..=intent.replicas).filter(votes).count().min(MAX_VOTERS);
    if voters == 0 || voters % 2 == 1 {
        return;
    }
    let bears = voters - majority(voters);
    let bearable = if bears == 0 {
        "none".to_owned()
    } else {
        bears.to_string()
    };
    findings.push(
        patient
            .finding(Severity::Warning, Check::EvenVoters, format!("{voters} voters"))
            .because(
                format!("they bear the loss of {bearable}, no more than {} would, and cost one more that can fail", voters - 1),
                format!("deploy.replicas: {} (or label swarmset.votes.{}: \"0\")", intent.replicas + 1, intent.replicas),
            ),
    );
}

/// The node of each voter that has a task.
fn voters_nodes<'a>(patient: &Patient<'a>, intent: &Intent) -> Vec<&'a Node> {
    let known = patient.tasks.iter().find_map(|t| {
        let report = patient.observation.members.get(&t.id)?.seen()?.in_set()?;
        (report.state == MemberState::Primary).then(|| voters(report))
    });
    let votes = |task: &&&Task| match &known {
        Some(hosts) => intent
            .host_of(task, patient.swarm)
            .is_some_and(|h| hosts.contains(&h)),
        None => intent.members.votes(task.slot),
    };
    let of_voters = patient.tasks.iter().filter(votes);
    of_voters.filter_map(|t| patient.node_of(t)).collect()
}

fn voters(report: &SetReport) -> BTreeSet<Host> {
    let ids = report.voters();
    let members = report.config.members.iter();
    members
        .filter(|m| ids.contains(&m.id))
        .map(|m| m.host.clone())
        .collect()
}

/// The place whose loss leaves no majority, with how many voters it has.
fn too_many<'a>(places: impl Iterator<Item = &'a str>) -> Option<(&'a str, usize, usize)> {
    let mut at: BTreeMap<&str, usize> = BTreeMap::new();
    for place in places {
        *at.entry(place).or_default() += 1;
    }
    let all: usize = at.values().sum();
    at.into_iter()
        .find(|(_, n)| all - n < majority(all))
        .map(|(place, n)| (place, n, all))
}

fn on_one_node(patient: &Patient<'_>, homes: &[&Node], findings: &mut Vec<Finding>) {
    let Some((node, here, all)) = too_many(homes.iter().map(|n| n.hostname.as_str())) else {
        return;
    };
    let nodes = patient.swarm.nodes.values();
    let usable = nodes.filter(|n| n.ready && n.availability == Availability::Active);
    let (severity, fix) = if usable.count() > 1 {
        (
            Severity::Warning,
            "deploy.placement.max_replicas_per_node: 1, then docker service update --force",
        )
    } else {
        (
            Severity::Advice,
            "docker swarm join-token worker: add nodes to the Swarm",
        )
    };
    findings.push(
        patient
            .finding(
                severity,
                Check::MajorityOnOneNode,
                format!("{here} of {all} voters are on {node}"),
            )
            .because("if this node is lost, nobody can be elected primary", fix),
    );
}

fn in_one_zone(patient: &Patient<'_>, homes: &[&Node], findings: &mut Vec<Finding>) {
    let is_zone = |label: &&String| {
        let last = label.rsplit(['.', '/']).next().unwrap_or(label);
        ZONES.contains(&last)
    };
    let labels = homes.iter().flat_map(|n| n.details.labels.keys());
    let on_all = |l: &&String| homes.iter().all(|n| n.details.labels.contains_key(*l));
    let Some(label) = labels.filter(is_zone).find(on_all) else {
        return;
    };
    let zones = homes.iter().filter_map(|n| n.details.labels.get(label));
    let Some((zone, here, all)) = too_many(zones.map(String::as_str)) else {
        return;
    };
    let nodes = patient.swarm.nodes.values();
    let zones: BTreeSet<_> = nodes.filter_map(|n| n.details.labels.get(label)).collect();
    let fix = if zones.len() > 2 {
        format!("deploy.placement.preferences: [{{spread: node.labels.{label}}}]")
    } else {
        format!(
            "docker node update --label-add {label}=… on nodes of a third zone: with {} none can be lost safely",
            zones.len()
        )
    };
    findings.push(
        patient
            .finding(
                Severity::Warning,
                Check::MajorityInOneZone,
                format!("{here} of {all} voters are in {label}={zone}"),
            )
            .because("if this zone is lost, nobody can be elected primary", fix),
    );
}
