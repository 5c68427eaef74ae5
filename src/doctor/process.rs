//! How mongod is started, and whether it can start.

use super::{Check, Finding, Patient, Severity};
use crate::intent::option_value;

/// The user mongodb in the official image.
const MONGODB_UID: &str = "999";

pub(super) fn examine(patient: &Patient<'_>, findings: &mut Vec<Finding>) {
    health_check(patient, findings);
    entrypoint(patient, findings);
    key_file(patient, findings);
}

/// What is found is not shown: people put passwords there.
fn health_check(patient: &Patient<'_>, findings: &mut Vec<Finding>) {
    let test = patient.service.details.health_check.as_ref();
    let Some(word) = test.and_then(|t| need_of_the_set(&t.join(" "))) else {
        return;
    };
    findings.push(
        patient
            .finding(
                Severity::Danger,
                Check::HealthCheckNeedsSet,
                format!("the health check needs the set: it has {word:?}"),
            )
            .because(
                "Docker keeps a task's name out of DNS until it is healthy, and members that cannot find each other never become a set",
                "healthcheck: {test: [CMD, mongosh, --quiet, --eval, \"db.adminCommand('ping')\"]} (or disable: true)",
            ),
    );
}

/// The word by which a command asks for more than that mongod answers.
fn need_of_the_set(text: &str) -> Option<&'static str> {
    let text = text.to_ascii_lowercase();
    let is_of_the_shell = |at: usize| {
        let before = text[..at].chars().next_back();
        !before.is_some_and(|c| c.is_ascii_alphanumeric())
    };
    if text.match_indices("rs.").any(|(at, _)| is_of_the_shell(at)) {
        return Some("rs.");
    }
    let words = [
        "primary",
        "secondary",
        "replset",
        "mystate",
        "ismaster().ismaster",
    ];
    words.into_iter().find(|word| text.contains(word))
}

fn entrypoint(patient: &Patient<'_>, findings: &mut Vec<Finding>) {
    let entrypoint = &patient.service.details.entrypoint;
    let Some(first) = entrypoint.first() else {
        return;
    };
    if first.ends_with("docker-entrypoint.sh") {
        return;
    }
    let found = format!("entrypoint: {first} …");
    let fix = format!("command: {first} … (instead of entrypoint:)");
    if patient.has_official_image() {
        findings.push(
            patient
                .finding(Severity::Warning, Check::EntrypointBypassed, found)
                .because(
                    "the image's own entrypoint gives the data directory to the user mongodb and leaves root; without it mongod runs as root, and its files are root's",
                    fix,
                ),
        );
    }
    if !patient.has_option(&["--bind_ip_all", "--bind_ip"]) && !patient.has_config_file() {
        findings.push(
            patient
                .finding(
                    Severity::Danger,
                    Check::BindIp,
                    "no --bind_ip_all, and no entrypoint that adds it",
                )
                .because(
                    "mongod listens on 127.0.0.1 only: neither members nor the agent reach it",
                    "command: … --bind_ip_all",
                ),
        );
    }
}

fn key_file(patient: &Patient<'_>, findings: &mut Vec<Finding>) {
    let Some(path) = option_value(&patient.service.container.command, "--keyFile") else {
        return;
    };
    let details = &patient.service.details;
    let Some(file) = details.files.iter().find(|f| f.path == path) else {
        missing(patient, path, findings);
        return;
    };
    if file.mode & 0o077 != 0 {
        findings.push(
            patient
                .finding(
                    Severity::Danger,
                    Check::KeyFileMode,
                    format!("{path} has mode {:04o}", file.mode),
                )
                .because(
                    "mongod refuses a key file that others may read, and ends",
                    format!("secrets: [{{source: {}, mode: 0400}}]", file.name),
                ),
        );
    }
    let Some(user) = user_of_mongod(patient) else {
        return;
    };
    if file.uid != user && file.mode & 0o004 == 0 {
        findings.push(
            patient
                .finding(
                    Severity::Danger,
                    Check::KeyFileOwner,
                    format!(
                        "{path} belongs to user {}, and mongod runs as {user}",
                        file.uid
                    ),
                )
                .because(
                    "mongod cannot read its key file, and ends",
                    format!("secrets: [{{source: {}, uid: \"{user}\"}}]", file.name),
                ),
        );
    }
}

fn missing(patient: &Patient<'_>, path: &str, findings: &mut Vec<Finding>) {
    let mounts = &patient.service.container.mounts;
    let is_inside = |target: &str| {
        let target = target.trim_end_matches('/');
        path == target || path.starts_with(&format!("{target}/"))
    };
    if mounts.iter().any(|m| is_inside(&m.target)) {
        return;
    }
    // An image may bring files of its own, but nothing under Swarm's directory for secrets.
    if !path.starts_with("/run/secrets/") {
        return;
    }
    let name = path.rsplit('/').next().unwrap_or(path);
    findings.push(
        patient
            .finding(
                Severity::Danger,
                Check::KeyFileMissing,
                format!("--keyFile {path}, and no secret is mounted there"),
            )
            .because(
                "mongod finds no key file, and ends",
                format!("secrets: [{{source: {name}, uid: \"{MONGODB_UID}\", gid: \"{MONGODB_UID}\", mode: 0400}}]"),
            ),
    );
}

/// The number of the user that mongod runs as; `None` where only the image knows.
fn user_of_mongod(patient: &Patient<'_>) -> Option<String> {
    let details = &patient.service.details;
    let given = details
        .user
        .as_deref()
        .map(|u| u.split(':').next().unwrap_or(u));
    match given {
        // The official entrypoint leaves root for mongodb.
        None | Some("0" | "root") => (patient.has_official_image()
            && details.entrypoint.is_empty())
        .then(|| MONGODB_UID.to_owned()),
        Some("mongodb") => Some(MONGODB_UID.to_owned()),
        Some(number) if number.bytes().all(|b| b.is_ascii_digit()) => Some(number.to_owned()),
        Some(_) => None,
    }
}
