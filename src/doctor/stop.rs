//! How members are stopped.

use super::{Check, Finding, Patient, Severity};
use crate::intent::Stop;

/// How long mongod quiesces after SIGTERM, by default (`shutdownTimeoutMillisForSignaledShutdown`).
const QUIESCE_SECONDS: u64 = 15;
/// What it needs after that to end.
const MARGIN_SECONDS: u64 = 2;
/// A held member lives until its successor has copied the data: not less than this for any data at all.
const HELD_SECONDS: u64 = 120;

pub(super) fn examine(patient: &Patient<'_>, findings: &mut Vec<Finding>) {
    let container = &patient.service.container;
    match Stop::of(container) {
        Stop::Signalled { grace_seconds } => {
            if grace_seconds < QUIESCE_SECONDS + MARGIN_SECONDS {
                let found = format!("stop_grace_period is {grace_seconds} s");
                findings.push(
                    patient.finding(Severity::Warning, Check::GraceTooShort, found).because(
                        format!("after SIGTERM mongod quiesces for {QUIESCE_SECONDS} s, so that it is killed in the middle of its work, and leaving members have too little time to hand over"),
                        "stop_grace_period: 30s",
                    ),
                );
            }
            findings.push(
                patient
                    .finding(Severity::Advice, Check::NotHeld, "members end at Swarm's word")
                    .because(
                        "Swarm stops several voters at once on a scale-down, and an update goes on before a moved member has its data; held members live until the agent ends them",
                        "stop_signal: SIGCONT and stop_grace_period: 15m (with --keyFile)",
                    ),
            );
        }
        Stop::Held => held(
            patient,
            container.stop_grace_seconds.unwrap_or(10),
            findings,
        ),
    }
}

fn held(patient: &Patient<'_>, grace_seconds: u64, findings: &mut Vec<Finding>) {
    if grace_seconds < HELD_SECONDS {
        let found = format!("stop_grace_period is {grace_seconds} s, with held members");
        findings.push(
            patient
                .finding(Severity::Danger, Check::GraceTooShort, found)
                .because(
                    "Swarm kills a held member after that time, whether or not its successor has copied the data",
                    "stop_grace_period: 15m",
                ),
        );
    }
    if !patient.has_option(&["--keyFile"]) && !patient.has_config_file() {
        findings.push(
            patient
                .finding(
                    Severity::Danger,
                    Check::HeldWithoutKey,
                    "members are held, and the command has no --keyFile",
                )
                .because(
                    "mongod takes `shutdown` from another host only with authentication: the agent cannot end them, and each lives until the grace period is over",
                    "command: mongod … --keyFile /run/secrets/mongo-keyfile",
                ),
        );
    }
}
