//! Where the data is, and under which name.

use std::collections::BTreeMap;

use super::{Check, Finding, Patient, Severity};
use crate::swarm::model::Task;

const VOLUME: &str = "{{.Service.Name}}-{{.Task.Slot}}";
const HOSTNAME: &str = "{{.Service.Name}}-{{.Task.Slot}}-{{.Node.ID}}";
/// What the official image declares as volumes.
const DECLARED: [&str; 2] = ["/data/db", "/data/configdb"];

pub(super) fn examine(patient: &Patient<'_>, findings: &mut Vec<Finding>) {
    let (path, mount) = patient.data_mount();
    match mount.and_then(|m| Some((m.source.as_deref()?, m.target.as_str()))) {
        None => {
            let found = format!("no named volume at {path}");
            findings.push(
                patient
                    .finding(Severity::Danger, Check::NoNamedVolume, found)
                    .because(
                        "an anonymous volume goes with its container: at the next restart the member is empty",
                        format!("volumes: [data:{path}], and at the top volumes: {{data: {{name: \"{VOLUME}\"}}}}"),
                    ),
            );
        }
        Some((source, target)) => {
            let remote = patient.service.details.remote_volumes.contains(target);
            shared(patient, source, remote, findings);
            old_name(patient, source, remote, findings);
        }
    }
    anonymous(patient, findings);
}

fn tells_slots_apart(template: &str) -> bool {
    [".Task.Slot", ".Task.ID", ".Task.Name"]
        .iter()
        .any(|p| template.contains(p))
}

fn tells_nodes_apart(template: &str) -> bool {
    template.contains(".Node.")
}

/// One volume name for all tasks of the service.
fn shared(patient: &Patient<'_>, source: &str, remote: bool, findings: &mut Vec<Finding>) {
    if tells_slots_apart(source) {
        return;
    }
    let of_nodes = remote && !tells_nodes_apart(source);
    if !of_nodes && patient.service.details.max_per_node == Some(1) {
        return;
    }
    let (where_, fix) = if of_nodes {
        ("all tasks", format!("name: \"{VOLUME}\" (of the volume)"))
    } else {
        (
            "two tasks on one node",
            format!(
                "name: \"{VOLUME}\" (of the volume); or deploy.placement.max_replicas_per_node: 1"
            ),
        )
    };
    findings.push(
        patient
            .finding(
                Severity::Danger,
                Check::SharedVolume,
                format!("the volume {source} is the same for {where_}"),
            )
            .because(
                "two mongods cannot open the same files: the second one ends at once, again and again",
                fix,
            ),
    );
}

/// The name stays where the disk does not.
fn old_name(patient: &Patient<'_>, source: &str, remote: bool, findings: &mut Vec<Finding>) {
    let Some(hostname) = patient.service.container.hostname.as_deref() else {
        return; // A fault already.
    };
    let (why, fix) = if !remote && !tells_nodes_apart(hostname) && moves(patient) {
        (
            "a task that moves to another node comes back under a voting member's name, with an empty disk: acknowledged writes can be lost",
            format!("hostname: \"{HOSTNAME}\""),
        )
    } else if tells_slots_apart(source) && !hostname.contains(".Task.Slot") {
        (
            "Swarm deals out slots anew, and another slot on the same node is another volume: an empty disk under a voting member's name",
            "name: \"{{.Service.Name}}\" (of the volume), with deploy.placement.max_replicas_per_node: 1"
                .to_owned(),
        )
    } else {
        return;
    };
    findings.push(
        patient
            .finding(
                Severity::Danger,
                Check::OldNameEmptyDisk,
                format!("hostname {hostname:?} with the volume {source:?}"),
            )
            .because(why, fix),
    );
}

/// Whether its tasks can be placed on more than one node.
fn moves(patient: &Patient<'_>) -> bool {
    let pins = |c: &String| {
        let c: String = c.split_whitespace().collect();
        c.starts_with("node.hostname==") || c.starts_with("node.id==")
    };
    patient.swarm.nodes.len() > 1 && !patient.service.details.constraints.iter().any(pins)
}

/// Volumes that Docker makes for each container, because the image says so and nothing is mounted there.
fn anonymous(patient: &Patient<'_>, findings: &mut Vec<Finding>) {
    if !patient.has_official_image() {
        return;
    }
    let (data, _) = patient.data_mount();
    let mounts = &patient.service.container.mounts;
    for path in DECLARED {
        let is_mounted = mounts
            .iter()
            .any(|m| m.target.trim_end_matches('/') == path)
            || patient.service.details.tmpfs.contains(path);
        if is_mounted || path == data {
            continue;
        }
        findings.push(
            patient
                .finding(
                    Severity::Advice,
                    Check::AnonymousVolume,
                    format!("nothing is mounted at {path}"),
                )
                .because(
                    "the image declares a volume there: Docker makes a nameless one for every container, and they pile up",
                    format!("volumes: [{{type: tmpfs, target: {path}}}]"),
                ),
        );
    }
}

/// Tasks of different services that are on one node now, with one volume.
pub(super) fn shared_between_services(patients: &[Patient<'_>], findings: &mut Vec<Finding>) {
    let mut users: BTreeMap<(&str, String), Vec<&Patient<'_>>> = BTreeMap::new();
    for patient in patients {
        let (_, mount) = patient.data_mount();
        let Some(source) = mount.and_then(|m| m.source.as_deref()) else {
            continue;
        };
        for task in &patient.tasks {
            let Some(node) = patient.node_of(task) else {
                continue;
            };
            let of = users
                .entry((&node.hostname, volume_name(patient, task, source)))
                .or_default();
            if of.last().is_none_or(|p| p.service.id != patient.service.id) {
                of.push(patient);
            }
        }
    }
    for ((node, volume), of) in users {
        if let [first, second, ..] = of.as_slice() {
            findings.push(
                first
                    .finding(
                        Severity::Danger,
                        Check::SharedVolume,
                        format!(
                            "on {node}, the volume {volume} is also that of service {}",
                            second.service.name
                        ),
                    )
                    .because(
                        "two mongods cannot open the same files, and each could start on the other's data",
                        format!("name: \"{VOLUME}\" (of the volume)"),
                    ),
            );
        }
    }
}

fn volume_name(patient: &Patient<'_>, task: &Task, source: &str) -> String {
    let mut name = source.replace("{{.Service.Name}}", patient.service.name.as_str());
    let slot = task.slot.map(|s| s.to_string()).unwrap_or_default();
    name = name.replace("{{.Task.Slot}}", &slot);
    name.replace("{{.Task.ID}}", task.id.as_str())
}
