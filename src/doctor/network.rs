//! How members are reached.

use std::collections::BTreeSet;

use super::{Check, Draft, Finding, Patient, Role, Severity};
use crate::swarm::model::{EndpointMode, Service};

/// What is left of 1500 bytes on the wire, with room for ESP and for clouds that carry less.
const SAFE_MTU: u32 = 1400;
/// An overlay network takes this for the wire's packet size if its options do not say otherwise.
const DEFAULT_MTU: u32 = 1500;

pub(super) fn examine(patient: &Patient<'_>, agent: Option<&Service>, findings: &mut Vec<Finding>) {
    match (patient.service.endpoint_mode, patient.role) {
        // Any router will do, and its clients go through one address.
        (EndpointMode::Dnsrr, _) | (EndpointMode::Vip, Role::Router) => {}
        (EndpointMode::Vip, Role::Data) => virtual_ip(patient, findings),
    }
    let Some(agent) = agent else {
        return;
    };
    let (own, theirs) = (&agent.details.networks, &patient.service.details.networks);
    if own.is_disjoint(theirs) {
        let network = theirs.first().map(|id| name_of(patient, id));
        findings.push(
            patient
                .finding(
                    Severity::Danger,
                    Check::NetworkNotShared,
                    format!(
                        "no network in common with the agent's service {}",
                        agent.name
                    ),
                )
                .because(
                    "the agent cannot reach the members, and does nothing for them",
                    format!(
                        "networks: [{}] (of service {})",
                        network.unwrap_or_else(|| "mongo".into()),
                        agent.name
                    ),
                ),
        );
    }
}

fn virtual_ip(patient: &Patient<'_>, findings: &mut Vec<Finding>) {
    let ports = &patient.service.details.ingress_ports;
    let fix = match ports.first() {
        None => "deploy.endpoint_mode: dnsrr".to_owned(),
        Some(port) => format!(
            "deploy.endpoint_mode: dnsrr, and mode: host for the published port {port} (or do not publish it)"
        ),
    };
    findings.push(
        patient
            .finding(Severity::Warning, Check::VirtualIp, "the service has a virtual IP")
            .because(
                "it drops connections that were idle for 15 minutes, and leads a client to any member, whichever it asked for",
                fix,
            ),
    );
}

fn name_of(patient: &Patient<'_>, id: &str) -> String {
    let network = patient.swarm.networks.get(id);
    let name = network.map_or(id, |n| n.name.as_str());
    let stack = patient.service.stack().unwrap_or_default();
    let short = name.strip_prefix(stack).and_then(|n| n.strip_prefix('_'));
    short.unwrap_or(name).to_owned()
}

/// Each network once, however many services are in it.
pub(super) fn encrypted(patients: &[Patient<'_>], findings: &mut Vec<Finding>) {
    let ids: BTreeSet<_> = patients
        .iter()
        .flat_map(|p| &p.service.details.networks)
        .collect();
    let swarm = patients.first().map(|p| p.swarm);
    let networks = ids
        .into_iter()
        .filter_map(|id| swarm?.networks.get(id))
        .filter(|n| n.encrypted && n.mtu.unwrap_or(DEFAULT_MTU) > SAFE_MTU);
    for network in networks {
        let draft = Draft {
            severity: Severity::Warning,
            about: format!("network {}", network.name),
            check: Check::EncryptedMtu,
            found: format!(
                "encrypted, with packets for a path of {} bytes",
                network.mtu.unwrap_or(DEFAULT_MTU)
            ),
        };
        findings.push(draft.because(
            "where the path between two nodes carries less, big packets vanish: heartbeats work, and an initial sync hangs",
            format!("driver_opts: {{encrypted: \"true\", com.docker.network.driver.mtu: \"{SAFE_MTU}\"}}"),
        ));
    }
}
