//! How an update goes on.

use super::{Check, Finding, Patient, Severity};
use crate::intent::Stop;
use crate::swarm::model::{UpdateConfig, UpdateOrder};

pub(super) fn examine(patient: &Patient<'_>, findings: &mut Vec<Finding>) {
    let details = &patient.service.details;
    start_first(patient, "update_config", details.update, findings);
    start_first(patient, "rollback_config", details.rollback, findings);
    let held = Stop::of(&patient.service.container) == Stop::Held;
    parallelism(patient, details.update, held, findings);
    if !held && details.update.delay_ms == 0 {
        findings.push(
            patient
                .finding(Severity::Warning, Check::UpdateDelay, "update_config has no delay")
                .because(
                    "Swarm goes on to the next member as soon as the process of the last one runs, long before it has caught up",
                    "deploy.update_config.delay: 60s",
                ),
        );
    }
}

fn start_first(
    patient: &Patient<'_>,
    which: &str,
    config: UpdateConfig,
    findings: &mut Vec<Finding>,
) {
    match config.order {
        UpdateOrder::StopFirst => {}
        UpdateOrder::StartFirst => findings.push(
            patient
                .finding(
                    Severity::Danger,
                    Check::StartFirst,
                    format!("{which}.order is start-first"),
                )
                .because(
                    "the new mongod opens the files while the old one still has them: it ends at once, or lands on another node with an empty disk",
                    format!("deploy.{which}.order: stop-first"),
                ),
        ),
    }
}

fn parallelism(
    patient: &Patient<'_>,
    config: UpdateConfig,
    held: bool,
    findings: &mut Vec<Finding>,
) {
    if config.parallelism == 1 {
        return;
    }
    let found = match config.parallelism {
        0 => "update_config.parallelism is 0: all at once".to_owned(),
        n => format!("update_config.parallelism is {n}"),
    };
    let (severity, why) = if held {
        (
            Severity::Advice,
            "several members are told to stop together; the agent still ends one at a time, as long as it lives",
        )
    } else {
        (
            Severity::Danger,
            "several members stop at the same moment, and with them the majority",
        )
    };
    findings.push(
        patient
            .finding(severity, Check::UpdateParallelism, found)
            .because(why, "deploy.update_config.parallelism: 1"),
    );
}
