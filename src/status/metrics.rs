//! The document as metrics: OpenMetrics, and the older text format for those who do not ask for it.

use std::fmt;

use prometheus_client::encoding::text::encode as encode_text;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Metric, Registry, Unit};

use super::document::{ClusterEntry, CycleTimes, Document, Reason, SetEntry};

/// What Prometheus asks for, if it is told that it may.
pub(super) const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// What all others get.
pub(super) const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

type Labels = Vec<(&'static str, String)>;
type Gauges = Family<Labels, Gauge>;
type Counters = Family<Labels, Counter>;

/// The document as OpenMetrics.
pub(super) fn encode(document: &Document) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("swarmset");
    agent(&mut registry, document);
    calls(&mut registry, document);
    sets(&mut registry, &document.sets);
    members(&mut registry, &document.sets);
    clusters(&mut registry, &document.clusters);
    reasons(&mut registry, document);
    let mut text = String::new();
    encode_text(&mut text, &registry)?;
    Ok(text)
}

/// OpenMetrics as Prometheus' older text format: there, a counter's family bears the name of its samples.
pub(super) fn as_text(open_metrics: &str) -> String {
    let mut text = String::new();
    let lines: Vec<&str> = open_metrics.lines().collect();
    let is_counter = |name: &str| lines.contains(&format!("# TYPE {name} counter").as_str());
    for line in &lines {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("EOF" | "UNIT"), _, _) => continue,
            (Some("#"), Some(kind), Some(name), Some(rest)) if is_counter(name) => {
                text.push_str(&format!("# {kind} {name}_total {rest}"));
            }
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

fn one(value: impl TryInto<i64>) -> Gauge {
    let gauge: Gauge = Gauge::default();
    gauge.set(value.try_into().unwrap_or(i64::MAX));
    gauge
}

fn count(value: u64) -> Counter {
    let counter: Counter = Counter::default();
    counter.inc_by(value);
    counter
}

fn put(registry: &mut Registry, name: &str, help: &str, metric: impl Metric) {
    registry.register(name, help, metric);
}

fn agent(registry: &mut Registry, document: &Document) {
    let build = Gauges::default();
    let version = document.agent.version.to_string();
    build.get_or_create(&vec![("version", version)]).set(1);
    put(registry, "build_info", "The agent's version", build);
    let converged = one(i64::from(document.converged));
    put(
        registry,
        "converged",
        "1 if all is as the services ask for",
        converged,
    );
    let acts = one(i64::from(document.agent.acts));
    put(
        registry,
        "acting",
        "1 if this agent acts, 0 if it only watches",
        acts,
    );
    let readable = one(i64::from(document.swarm.readable));
    put(
        registry,
        "swarm_readable",
        "1 if the last cycle could read the Swarm",
        readable,
    );
    let at = one(document.cycle.at.as_second());
    let help = "When the last cycle ended";
    registry.register_with_unit("last_cycle_timestamp", help, Unit::Seconds, at);
    let times = Times(document.counts.cycles.clone());
    registry.register_with_unit(
        "cycle_duration",
        "How long cycles took",
        Unit::Seconds,
        times,
    );
}

fn calls(registry: &mut Registry, document: &Document) {
    let calls = count(document.cycle.docker_calls);
    put(
        registry,
        "docker_calls",
        "Calls to the Docker engine",
        calls,
    );
    let errors = count(document.cycle.docker_errors);
    put(
        registry,
        "docker_call_errors",
        "Calls to the Docker engine that failed",
        errors,
    );
    let mongo = Counters::default();
    for kind in ["no-connection", "command", "no-answer", "not-understood"] {
        let n = document.counts.mongo_errors.get(kind).copied();
        let labels = vec![("kind", kind.to_owned())];
        mongo.get_or_create(&labels).inc_by(n.unwrap_or(0));
    }
    put(
        registry,
        "mongo_call_errors",
        "Questions and commands to mongods that failed, by kind",
        mongo,
    );
    let steps = Counters::default();
    for ((kind, result), n) in &document.counts.steps {
        let labels = vec![
            ("kind", (*kind).to_owned()),
            ("result", (*result).to_owned()),
        ];
        steps.get_or_create(&labels).inc_by(*n);
    }
    put(
        registry,
        "steps",
        "Steps that ended, by kind and result",
        steps,
    );
}

fn labels_of(set: &SetEntry) -> Labels {
    vec![("cluster", set.cluster.clone()), ("set", set.set.clone())]
}

/// One gauge for each set that has a value.
fn of_sets(sets: &[SetEntry], value: impl Fn(&SetEntry) -> Option<i64>) -> Gauges {
    let gauges = Gauges::default();
    for set in sets {
        if let Some(value) = value(set) {
            gauges.get_or_create(&labels_of(set)).set(value);
        }
    }
    gauges
}

fn number(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn sets(registry: &mut Registry, sets: &[SetEntry]) {
    let converged = of_sets(sets, |s| Some(i64::from(s.converged)));
    put(
        registry,
        "set_converged",
        "1 if the set is as its service asks for",
        converged,
    );
    let primary = of_sets(sets, |s| Some(i64::from(s.primary.is_some())));
    put(
        registry,
        "set_has_primary",
        "1 if the set has a primary",
        primary,
    );
    let wanted = of_sets(sets, |s| i64::try_from(s.replicas).ok());
    put(
        registry,
        "set_members_wanted",
        "Members that the service asks for",
        wanted,
    );
    let voters = of_sets(sets, |s| {
        Some(number(s.members.iter().filter(|m| m.voting).count()))
    });
    put(
        registry,
        "set_voters",
        "Members whose vote counts today",
        voters,
    );
    let version = of_sets(sets, |s| s.config_version);
    put(
        registry,
        "set_config_version",
        "The configuration's version, where a primary tells it",
        version,
    );
    let steps = of_sets(sets, |s| Some(number(s.doing.len())));
    put(registry, "set_steps_under_way", "Steps under way", steps);
}

fn members(registry: &mut Registry, sets: &[SetEntry]) {
    let (states, voting) = (Gauges::default(), Gauges::default());
    let (healthy, lag) = (Gauges::default(), Gauges::default());
    for set in sets {
        for member in &set.members {
            let with = |name, value: &str| {
                let mut labels = labels_of(set);
                labels.push((name, value.to_owned()));
                labels
            };
            states.get_or_create(&with("state", &member.state)).inc();
            let host = with("host", &member.host);
            voting.get_or_create(&host).set(i64::from(member.voting));
            healthy.get_or_create(&host).set(i64::from(member.healthy));
            if let Some(seconds) = member.lag_seconds {
                lag.get_or_create(&host).set(seconds);
            }
        }
    }
    put(registry, "members", "Members, by state", states);
    put(
        registry,
        "member_voting",
        "1 if the member's vote counts today",
        voting,
    );
    put(
        registry,
        "member_healthy",
        "1 if the member takes part with a complete copy",
        healthy,
    );
    let help = "How far the member is behind the newest position";
    registry.register_with_unit("member_lag", help, Unit::Seconds, lag);
}

fn clusters(registry: &mut Registry, clusters: &[ClusterEntry]) {
    let (converged, routers) = (Gauges::default(), Gauges::default());
    let (chunks, databases, draining) = (Gauges::default(), Gauges::default(), Gauges::default());
    let large = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    for cluster in clusters {
        let labels: Labels = vec![("cluster", cluster.cluster.clone())];
        let is_converged = i64::from(cluster.converged);
        converged.get_or_create(&labels).set(is_converged);
        let reachable = cluster.routers.iter().filter(|r| r.reachable).count();
        routers.get_or_create(&labels).set(number(reachable));
        for shard in &cluster.shards {
            let mut labels = labels.clone();
            labels.push(("shard", shard.shard.clone()));
            let drains = i64::from(shard.state == "draining");
            draining.get_or_create(&labels).set(drains);
            let left = shard.drain.as_ref().and_then(|d| d.chunks);
            if let Some(n) = left.or(shard.chunks) {
                chunks.get_or_create(&labels).set(large(n));
            }
            if let Some(n) = shard.databases {
                databases.get_or_create(&labels).set(large(n));
            }
        }
    }
    put(
        registry,
        "cluster_converged",
        "1 if the sharded cluster is as its services ask for",
        converged,
    );
    put(
        registry,
        "cluster_routers_reachable",
        "Routers that answer",
        routers,
    );
    put(registry, "shard_chunks", "Chunks on the shard", chunks);
    put(
        registry,
        "shard_databases",
        "Databases whose primary the shard is",
        databases,
    );
    put(
        registry,
        "shard_draining",
        "1 while the shard drains",
        draining,
    );
}

fn reasons(registry: &mut Registry, document: &Document) {
    let count = |outside: &[Reason], of_set: fn(&SetEntry) -> &[Reason]| {
        let gauges = Gauges::default();
        let add = |mut labels: Labels, reason: &Reason| {
            labels.push(("reason", reason.kind.to_string()));
            gauges.get_or_create(&labels).inc();
        };
        for reason in outside {
            add(
                vec![("cluster", String::new()), ("set", String::new())],
                reason,
            );
        }
        for set in &document.sets {
            for reason in of_set(set) {
                add(labels_of(set), reason);
            }
        }
        gauges
    };
    let waiting = count(&document.waiting, |s| &s.waiting);
    put(
        registry,
        "waiting",
        "What is waited for, by reason",
        waiting,
    );
    let faults = count(&document.faults, |s| &s.faults);
    put(
        registry,
        "faults",
        "Faults that a person has to mend, by reason",
        faults,
    );
    let findings = Gauges::default();
    for severity in ["danger", "warning", "advice"] {
        let found = document.findings.iter();
        let found = found.filter(|f| f.severity.to_string() == severity).count();
        let labels = vec![("severity", severity.to_owned())];
        findings.get_or_create(&labels).set(number(found));
    }
    put(
        registry,
        "findings",
        "What the doctor found, by severity",
        findings,
    );
}

/// The agent keeps the histogram; it is only written here.
#[derive(Debug)]
struct Times(CycleTimes);

impl EncodeMetric for Times {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let bounds = CycleTimes::BOUNDS.into_iter().chain([f64::MAX]);
        let buckets: Vec<_> = bounds.zip(self.0.buckets).collect();
        encoder.encode_histogram::<NoLabelSet>(self.0.seconds, self.0.count(), &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}
