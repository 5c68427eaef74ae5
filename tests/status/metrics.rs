//! `/metrics`, judged by Prometheus' own tool; the alert rules and the dashboard that are made of it.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use swarmset::status::document::Document;

use crate::server::Served;
use crate::story::{BUSY, FAULTY, SETTLED, document};

const OPEN_METRICS: &str = "Accept: application/openmetrics-text; version=1.0.0,text/plain; q=0.5";

fn monitoring(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("stack/monitoring")
        .join(file)
}

fn promtool(arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new("promtool");
    command.args(arguments).current_dir(monitoring(""));
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .unwrap_or_else(|e| panic!("promtool: {e}; install it: apt-get install prometheus"));
    let mut stdin = child.stdin.take().expect("its input");
    stdin.write_all(input.as_bytes()).expect("it reads");
    drop(stdin);
    child.wait_with_output().expect("its output")
}

fn approves(arguments: &[&str], input: &str) {
    let Output {
        status,
        stdout,
        stderr,
    } = promtool(arguments, input);
    let (stdout, stderr) = (
        String::from_utf8_lossy(&stdout),
        String::from_utf8_lossy(&stderr),
    );
    assert!(
        status.success() && stderr.is_empty(),
        "promtool {arguments:?}:\n{stdout}{stderr}\n{input}"
    );
}

#[test]
fn promtool_approves_of_the_metrics() {
    let served = Served::start(Document::default());
    for document in [
        Document::default(),
        document(SETTLED),
        document(BUSY),
        document(FAULTY),
    ] {
        served.publish(document);
        let answer = served.get("/metrics");
        assert_eq!(answer.code, 200);
        assert!(
            answer
                .head
                .contains("content-type: text/plain; version=0.0.4"),
            "{}",
            answer.head
        );
        approves(&["check", "metrics"], &answer.body);
    }
    // It can say no.
    assert!(
        !promtool(&["check", "metrics"], "swarmset_cycle_milliseconds 1\n")
            .status
            .success()
    );
}

#[test]
fn promtool_approves_of_the_rules() {
    approves(&["check", "rules", "alerts.yml"], "");
    let Output {
        status,
        stdout,
        stderr,
    } = promtool(&["test", "rules", "alerts_test.yml"], "");
    assert!(
        status.success(),
        "{}{}",
        String::from_utf8_lossy(&stdout),
        String::from_utf8_lossy(&stderr)
    );
    approves(&["check", "config", "--syntax-only", "prometheus.yml"], "");
}

#[test]
fn each_alert_has_a_case() {
    let read = |file| std::fs::read_to_string(monitoring(file)).expect("a file");
    let (rules, tests) = (read("alerts.yml"), read("alerts_test.yml"));
    let alerts: Vec<_> = rules
        .lines()
        .filter_map(|l| l.trim().strip_prefix("- alert: "))
        .collect();
    assert!(alerts.len() >= 10, "{alerts:?}");
    for alert in alerts {
        let fires = format!("alertname: {alert}\n        exp_alerts:");
        assert!(tests.contains(&fires), "{alert} fires in no test");
        assert!(
            tests.contains(&format!("alertname: {alert} }}")),
            "{alert} stays silent in no test"
        );
    }
}

#[test]
fn open_metrics_for_who_asks() {
    let served = Served::start(document(BUSY));
    let answer = served.get_with("/metrics", OPEN_METRICS);
    assert!(
        answer
            .head
            .contains("content-type: application/openmetrics-text; version=1.0.0"),
        "{}",
        answer.head
    );
    assert!(
        answer
            .body
            .contains("# TYPE swarmset_docker_calls counter\n"),
        "{}",
        answer.body
    );
    assert!(answer.body.ends_with("# EOF\n"), "{}", answer.body);
}

#[test]
fn what_they_say() {
    let served = Served::start(document(BUSY));
    let body = served.get("/metrics").body;
    for line in [
        "swarmset_converged 0",
        "swarmset_acting 1",
        "swarmset_swarm_readable 1",
        "swarmset_docker_calls_total 8",
        "swarmset_docker_call_errors_total 1",
        "swarmset_mongo_call_errors_total{kind=\"no-connection\"} 2",
        "swarmset_mongo_call_errors_total{kind=\"command\"} 0",
        "swarmset_cycle_duration_seconds_sum 0.5234375",
        "swarmset_cycle_duration_seconds_count 2",
        "swarmset_cycle_duration_seconds_bucket{le=\"0.01\"} 0",
        "swarmset_cycle_duration_seconds_bucket{le=\"0.03\"} 1",
        "swarmset_cycle_duration_seconds_bucket{le=\"1.0\"} 2",
        "swarmset_cycle_duration_seconds_bucket{le=\"+Inf\"} 2",
        "swarmset_set_has_primary{cluster=\"app\",set=\"rs\"} 1",
        "swarmset_set_members_wanted{cluster=\"app\",set=\"rs\"} 5",
        "swarmset_set_voters{cluster=\"app\",set=\"rs\"} 4",
        "swarmset_set_config_version{cluster=\"app\",set=\"rs\"} 3",
        "swarmset_members{cluster=\"app\",set=\"rs\",state=\"SECONDARY\"} 2",
        "swarmset_member_voting{cluster=\"app\",set=\"rs\",host=\"mongo-4-n5:27017\"} 0",
        "swarmset_member_healthy{cluster=\"app\",set=\"rs\",host=\"mongo-3-n3:27017\"} 0",
        "swarmset_member_lag_seconds{cluster=\"app\",set=\"rs\",host=\"mongo-2-n2:27017\"} 0",
        "swarmset_waiting{cluster=\"app\",set=\"rs\",reason=\"catching-up\"} 1",
        "swarmset_steps_total{kind=\"reconfigure\",result=\"done\"} 1",
        "swarmset_findings{severity=\"danger\"} 1",
    ] {
        assert!(body.lines().any(|l| l == line), "no {line} in\n{body}");
    }
    served.publish(document(FAULTY));
    let body = served.get("/metrics").body;
    let fault = "swarmset_faults{cluster=\"\",set=\"\",reason=\"bad-service\"} 1";
    assert!(body.lines().any(|l| l == fault), "{body}");
}

/// All names in a text that start with `swarmset_`, without what a histogram or a label puts behind them.
fn names(text: &str) -> BTreeSet<String> {
    let is_of_a_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c: char| !is_of_a_name(c));
    let ours = words.filter(|w| w.starts_with("swarmset_"));
    ours.map(|w| w.trim_end_matches("_bucket").to_owned())
        .collect()
}

#[test]
fn rules_dashboard_and_readme_name_only_metrics_that_there_are() {
    // Metrics without any sample are left out: between them, these two have all.
    let served = Served::start(document(BUSY));
    let mut body = served.get("/metrics").body;
    served.publish(document(FAULTY));
    body.push_str(&served.get("/metrics").body);
    let families: BTreeSet<String> = body
        .lines()
        .filter_map(|l| Some(l.strip_prefix("# TYPE ")?.split(' ').next()?.to_owned()))
        .collect();
    assert!(families.len() > 20, "{families:?}");
    for file in ["alerts.yml", "alerts_test.yml", "grafana-dashboard.json"] {
        let text = std::fs::read_to_string(monitoring(file)).expect("a file");
        let unknown: Vec<_> = names(&text).difference(&families).cloned().collect();
        assert!(unknown.is_empty(), "{file} names {unknown:?}");
    }
    let readme = include_str!("../../README.md");
    for family in &families {
        assert!(
            readme.contains(&format!("`{family}`")),
            "the README does not name {family}"
        );
    }
    let dashboard = std::fs::read_to_string(monitoring("grafana-dashboard.json")).expect("a file");
    let dashboard: serde_json::Value = serde_json::from_str(&dashboard).expect("JSON");
    assert!(dashboard["panels"].as_array().is_some_and(|p| p.len() > 10));
}
