//! How much memory members take.

use std::collections::BTreeMap;

use super::{Check, Draft, Finding, Patient, Role, Severity};
use crate::intent::option_value;

const GIB: f64 = 1024.0 * 1024.0 * 1024.0;
/// The share of a limit, or of a node's memory, that caches may have: connections and sorts want theirs.
const SHARE: f64 = 0.8;

/// How many mongods run on each node.
pub(super) type Crowds<'a> = BTreeMap<&'a str, usize>;

/// Counts them.
pub(super) fn crowds<'a>(patients: &[Patient<'a>]) -> Crowds<'a> {
    let mut crowds = Crowds::new();
    for patient in patients.iter().filter(|p| p.role == Role::Data) {
        for node in patient.tasks.iter().filter_map(|t| patient.node_of(t)) {
            *crowds.entry(node.hostname.as_str()).or_default() += 1;
        }
    }
    crowds
}

pub(super) fn examine(patient: &Patient<'_>, crowds: &Crowds<'_>, findings: &mut Vec<Finding>) {
    let limit = patient.service.details.memory_limit;
    match (cache(patient), limit) {
        (Some(cache), Some(limit)) if cache > bytes(limit) * SHARE => findings.push(
            patient
                .finding(
                    Severity::Danger,
                    Check::CacheTooBig,
                    format!(
                        "a cache of {} in a limit of {}",
                        gib(cache),
                        gib(bytes(limit))
                    ),
                )
                .because(
                    "the kernel ends mongod when it goes over its limit",
                    format!("--wiredTigerCacheSizeGB {:.1}", bytes(limit) / GIB / 2.0),
                ),
        ),
        (Some(_), _) | (None, Some(_)) => {}
        (None, None) if patient.has_config_file() => {}
        (None, None) => default_cache(patient, crowds, findings),
    }
}

fn default_cache(patient: &Patient<'_>, crowds: &Crowds<'_>, findings: &mut Vec<Finding>) {
    let own = patient.tasks.iter().filter_map(|t| patient.node_of(t));
    let crowded = own
        .filter_map(|n| crowds.get_key_value(n.hostname.as_str()))
        .find(|(_, count)| **count > 1);
    let (severity, found) = match crowded {
        Some((node, count)) => (
            Severity::Danger,
            format!("no cache size and no memory limit, and {count} mongods on {node}"),
        ),
        None => (
            Severity::Advice,
            "no cache size and no memory limit".to_owned(),
        ),
    };
    findings.push(
        patient
            .finding(severity, Check::DefaultCache, found)
            .because(
                "each mongod takes half of its node's memory for its cache, as if it were alone there",
                "command: … --wiredTigerCacheSizeGB 0.5 (or deploy.resources.limits.memory: 2G)",
            ),
    );
}

/// What the command says, in bytes.
fn cache(patient: &Patient<'_>) -> Option<f64> {
    let text = option_value(
        &patient.service.container.command,
        "--wiredTigerCacheSizeGB",
    )?;
    text.parse::<f64>().ok().map(|n| n * GIB)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "sizes of memory, for comparison and display"
)]
fn bytes(number: u64) -> f64 {
    number as f64
}

fn gib(bytes: f64) -> String {
    format!("{:.1} GiB", bytes / GIB)
}

/// All caches on one node together.
pub(super) fn on_nodes(patients: &[Patient<'_>], findings: &mut Vec<Finding>) {
    let mut caches: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    for patient in patients {
        let Some(cache) = cache(patient) else {
            continue;
        };
        for node in patient.tasks.iter().filter_map(|t| patient.node_of(t)) {
            if let Some(memory) = node.details.memory {
                let entry = caches.entry(&node.hostname);
                entry.or_insert((0.0, bytes(memory))).0 += cache;
            }
        }
    }
    for (node, (cache, memory)) in caches {
        if cache <= memory * SHARE {
            continue;
        }
        let draft = Draft {
            severity: Severity::Warning,
            about: format!("node {node}"),
            check: Check::CacheTooBig,
            found: format!("caches of {} in {} of memory", gib(cache), gib(memory)),
        };
        findings.push(draft.because(
            "once they are full, the kernel ends one of the mongods",
            "a smaller --wiredTigerCacheSizeGB, or deploy.placement.max_replicas_per_node: 1",
        ));
    }
}
