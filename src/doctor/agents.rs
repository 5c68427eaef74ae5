//! The agents themselves, and the engines that they talk to.

use std::collections::BTreeSet;

use super::{Check, Draft, Finding, Severity};
use crate::swarm::model::{ApiVersion, Service, Swarm, TaskState};

pub(super) fn examine(swarm: &Swarm, agent: Option<&Service>, findings: &mut Vec<Finding>) {
    if let Some(agent) = agent {
        on_all_managers(swarm, agent, findings);
    }
    if let Some(api) = swarm.api
        && api < ApiVersion::OLDEST
    {
        let found = format!("the engine speaks Docker API {api}");
        findings.push(too_old("agent", found));
    }
    let managers = swarm.nodes.values().filter(|n| n.manager);
    for node in managers {
        let engine = node.details.engine.as_deref().unwrap_or_default();
        if is_before_20_10(engine) {
            let found = format!(
                "Docker {engine}, whose API is older than {}",
                ApiVersion::OLDEST
            );
            findings.push(too_old(&format!("node {}", node.hostname), found));
        }
    }
}

fn too_old(about: &str, found: String) -> Finding {
    let draft = Draft {
        severity: Severity::Danger,
        about: about.to_owned(),
        check: Check::ApiVersion,
        found,
    };
    draft.because(
        format!(
            "the agent needs API {}; an agent there may misread the Swarm",
            ApiVersion::OLDEST
        ),
        "apt-get install docker-ce (Docker 20.10 or later)",
    )
}

/// `false` for what cannot be read: API 1.41 came with Docker 20.10.
fn is_before_20_10(engine: &str) -> bool {
    let mut parts = engine.split('.').map(|p| p.parse::<u32>().ok());
    match (parts.next().flatten(), parts.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor) < (20, 10),
        _ => false,
    }
}

fn on_all_managers(swarm: &Swarm, agent: &Service, findings: &mut Vec<Finding>) {
    let managers = swarm.nodes.values().filter(|n| n.manager && n.ready);
    let managers: BTreeSet<_> = managers.map(|n| &n.id).collect();
    let tasks = swarm.tasks.values();
    let running = tasks.filter(|t| t.service == agent.id && t.state == TaskState::Running);
    let homes: BTreeSet<_> = running.filter_map(|t| t.node.as_ref()).collect();
    let covered = managers.intersection(&homes).count();
    if managers.len() < 2 || (agent.details.global && covered > 1) {
        return;
    }
    let draft = Draft {
        severity: Severity::Warning,
        about: format!("service {}", agent.name),
        check: Check::OneAgent,
        found: if agent.details.global {
            format!("an agent runs on {covered} of {} managers", managers.len())
        } else {
            format!(
                "not a global service; it runs on {covered} of {} managers",
                managers.len()
            )
        },
    };
    findings.push(draft.because(
        "when that manager is lost, nobody looks after the sets until Swarm has started another agent",
        "deploy.mode: global, with placement.constraints: [node.role == manager]",
    ));
}
