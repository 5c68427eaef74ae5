//! The document as OpenMetrics.

use std::fmt;

use prometheus_client::encoding::text::encode as encode_text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::document::{Document, SetEntry};

type Labels = Vec<(&'static str, String)>;

/// Encodes what the document says.
pub(super) fn encode(document: &Document) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("swarmset");
    let one = |value: i64| {
        let gauge: Gauge = Gauge::default();
        gauge.set(value);
        gauge
    };
    let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    registry.register(
        "converged",
        "1 if all is as the services ask for",
        one(i64::from(document.converged)),
    );
    registry.register(
        "acting",
        "1 if this agent acts, 0 if it only watches",
        one(i64::from(document.agent.acts)),
    );
    let milliseconds = i64::try_from(document.cycle.milliseconds).unwrap_or(i64::MAX);
    registry.register(
        "cycle_milliseconds",
        "How long the last cycle took",
        one(milliseconds),
    );
    registry.register(
        "cycles",
        "Cycles since the agent started",
        count(document.cycle.number),
    );
    registry.register(
        "docker_calls",
        "Calls to the Docker engine since the agent started",
        count(document.cycle.docker_calls),
    );

    let set_labels =
        |s: &SetEntry| -> Labels { vec![("cluster", s.cluster.clone()), ("set", s.set.clone())] };
    let members = gauges();
    let (voting, lag) = (gauges(), gauges());
    let (converged, version) = (gauges(), gauges());
    let (waiting, faults) = (gauges(), gauges());
    for set in &document.sets {
        let labels = set_labels(set);
        converged
            .get_or_create(&labels)
            .set(i64::from(set.converged));
        version
            .get_or_create(&labels)
            .set(set.config_version.unwrap_or(0));
        waiting
            .get_or_create(&labels)
            .set(number(set.waiting.len()));
        faults.get_or_create(&labels).set(number(set.faults.len()));
        for member in &set.members {
            let with = |name, value: &str| {
                let mut labels = labels.clone();
                labels.push((name, value.to_owned()));
                labels
            };
            members.get_or_create(&with("state", &member.state)).inc();
            let host = with("host", &member.host);
            voting.get_or_create(&host).set(i64::from(member.voting));
            if let Some(seconds) = member.lag_seconds {
                lag.get_or_create(&host).set(seconds);
            }
        }
    }
    registry.register("members", "Members by state", members);
    registry.register(
        "member_voting",
        "1 if the member's vote counts today",
        voting,
    );
    registry.register(
        "member_lag_seconds",
        "Seconds behind the newest position",
        lag,
    );
    registry.register(
        "set_converged",
        "1 if the set is as its service asks for",
        converged,
    );
    registry.register("config_version", "The configuration's version", version);
    registry.register("waiting", "Reasons for waiting", waiting);
    registry.register("faults", "Faults that a person has to mend", faults);

    register_clusters(&mut registry, document);
    let steps = Family::<Labels, Counter>::default();
    for ((kind, outcome), n) in &document.step_counts {
        let labels = vec![
            ("kind", (*kind).to_owned()),
            ("outcome", (*outcome).to_owned()),
        ];
        steps.get_or_create(&labels).inc_by(*n);
    }
    registry.register("steps", "Steps by kind and outcome", steps);
    let mut text = String::new();
    encode_text(&mut text, &registry)?;
    Ok(text)
}

fn register_clusters(registry: &mut Registry, document: &Document) {
    let (converged, routers) = (gauges(), gauges());
    let (chunks, databases, draining) = (gauges(), gauges(), gauges());
    for cluster in &document.clusters {
        let labels: Labels = vec![("cluster", cluster.cluster.clone())];
        let is = |value: bool| i64::from(value);
        converged.get_or_create(&labels).set(is(cluster.converged));
        let reachable = cluster.routers.iter().filter(|r| r.reachable).count();
        let reachable = i64::try_from(reachable).unwrap_or(i64::MAX);
        routers.get_or_create(&labels).set(reachable);
        for shard in &cluster.shards {
            let mut labels = labels.clone();
            labels.push(("shard", shard.shard.clone()));
            let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
            draining
                .get_or_create(&labels)
                .set(is(shard.state == "draining"));
            let left = shard.drain.as_ref().and_then(|d| d.chunks);
            if let Some(n) = left.or(shard.chunks) {
                chunks.get_or_create(&labels).set(number(n));
            }
            if let Some(n) = shard.databases {
                databases.get_or_create(&labels).set(number(n));
            }
        }
    }
    registry.register(
        "cluster_converged",
        "1 if the sharded cluster is as its services ask for",
        converged,
    );
    registry.register("routers", "Routers that answer", routers);
    registry.register("shard_chunks", "Chunks on the shard", chunks);
    registry.register(
        "shard_databases",
        "Databases whose primary the shard is",
        databases,
    );
    registry.register("shard_draining", "1 while the shard drains", draining);
}

fn count(value: u64) -> Counter {
    let counter: Counter = Counter::default();
    counter.inc_by(value);
    counter
}

fn gauges() -> Family<Labels, Gauge> {
    Family::default()
}
