//! What the agent costs when there is nothing to do, and what its image weighs.

use crate::images;
use crate::lab::Lab;
use crate::measure::Sample;
use crate::start::deployed;
use crate::tools::repo;
use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// The agent stays alert for 10 s after the last change.
const SETTLES: Duration = Duration::from_secs(30);
const OBSERVED: Duration = Duration::from_secs(60);
/// Clock ticks a second in /proc (`CLK_TCK`, the same on all of today's Linux).
const TICKS: f64 = 100.0;

/// The agent that acts, on the Swarm's leader, 30 s after it converged.
///
/// Memory is VmRSS at the end; the processor's time is that of all of the agent's threads, to 10 ms in 60 s,
/// which is 0.02 %. Calls are the agent's own count over the cycles that the 60 s hold, scaled to a minute by
/// the time between these cycles. The watching agents' figures are in the raw row.
pub fn agent(lab: &mut Lab, sample: &mut Sample) -> Result<()> {
    deployed(lab, 5)?;
    std::thread::sleep(SETTLES);
    let leader = lab.leader()?;
    let managers: Vec<usize> = (1..=lab.shape.managers).collect();
    let began = look_at_all(lab, &managers)?;
    std::thread::sleep(OBSERVED);
    let ended = look_at_all(lab, &managers)?;
    ensure!(lab.is_converged()?, "the set did not stay converged");
    for ((node, before), after) in managers.iter().zip(&began).zip(&ended) {
        let elapsed = (after.at - before.at).as_secs_f64();
        let cpu = 100.0 * (after.cpu_seconds - before.cpu_seconds) / elapsed;
        let calls = calls_a_minute(&before.cycle, &after.cycle)?;
        if *node == leader {
            sample.put("rss", after.rss_mb);
            sample.put("cpu", cpu);
            sample.put("calls", calls);
        }
        let figures = json!({"rss_mb": after.rss_mb, "cpu_percent": cpu, "calls_a_minute": calls});
        sample.note(&format!("node{node}"), figures);
    }
    Ok(())
}

struct Look {
    at: Instant,
    cpu_seconds: f64,
    rss_mb: f64,
    cycle: Value,
}

fn look_at_all(lab: &mut Lab, managers: &[usize]) -> Result<Vec<Look>> {
    managers.iter().map(|node| look(lab, *node)).collect()
}

fn look(lab: &mut Lab, node: usize) -> Result<Look> {
    let agents = lab.running("agent")?;
    let agent = agents.iter().find(|task| task.node == Some(node));
    let container = agent.and_then(|task| task.container.as_deref());
    let container = container.with_context(|| format!("no agent runs on node {node}"))?;
    let inspected = lab
        .machine(node)
        .ask(&format!("/containers/{container}/json"))?;
    let pid = inspected["State"]["Pid"].as_u64().context("no process")?;
    let read = |file: &str| lab.run_on_node(node, &["cat", &format!("/proc/{pid}/{file}")]);
    let stat = read("stat")?;
    let cpu_seconds = cpu_seconds(&stat).with_context(|| format!("not a stat: {stat}"))?;
    let status = read("status")?;
    let rss_kb = status.lines().find_map(|line| {
        line.strip_prefix("VmRSS:")?
            .trim()
            .strip_suffix(" kB")?
            .parse::<f64>()
            .ok()
    });
    Ok(Look {
        at: Instant::now(),
        cpu_seconds,
        rss_mb: rss_kb.context("no VmRSS")? * 1024.0 / 1e6,
        cycle: lab.status_of(node)?["cycle"].clone(),
    })
}

/// User and system time: the 14th and 15th fields of `/proc/PID/stat`; the name, the 2nd, may hold blanks.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let after_name: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |at: usize| after_name.get(at)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS)
}

fn calls_a_minute(before: &Value, after: &Value) -> Result<f64> {
    let at = |cycle: &Value| -> Result<Timestamp> {
        Ok(cycle["at"]
            .as_str()
            .context("a cycle without a time")?
            .parse()?)
    };
    let calls = |cycle: &Value| cycle["docker_calls"].as_f64().context("no count of calls");
    let elapsed = crate::runner::seconds(at(before)?, at(after)?);
    let calls = calls(after)? - calls(before)?;
    Ok(if elapsed > 0.0 {
        calls * 60.0 / elapsed
    } else {
        0.0
    })
}

/// The size of the image's archive, as `docker save` would make it: not compressed.
pub fn image(sample: &mut Sample) -> Result<()> {
    ensure!(images::agent_is_built(), "there is no agent.tar");
    let archive = repo().join("target/images/agent.tar");
    sample.put("size", std::fs::metadata(archive)?.len() as f64 / 1e6);
    Ok(())
}
