//! Looks at the Swarm and at every mongod at once. Never fails: an error is a reading.

mod sharding;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use tokio::time::timeout;

use crate::history::History;
use crate::intent::{LABEL_ROLE, mongod_port};
use crate::mongo::client::Mongods;
use crate::observation::{Observation, Reading, Sharding};
use crate::swarm::client::SwarmClient;
use crate::swarm::model::{Service, Swarm, Task};

/// Longer than a manager needs to say that it has no quorum.
const SWARM_DEADLINE: Duration = Duration::from_secs(12);

/// One look, with a deadline for each part of it.
pub async fn observe(swarm: &SwarmClient, mongods: &Mongods, history: &mut History) -> Observation {
    let read = match timeout(SWARM_DEADLINE, swarm.read()).await {
        Ok(Ok(seen)) => Ok(seen),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", SWARM_DEADLINE.as_secs())),
    };
    let swarm = match read {
        Ok(seen) => Reading::Seen(seen),
        Err(why) => Reading::Unreachable {
            since: history.swarm_unreachable(Timestamp::now()),
            why,
        },
    };
    let mut members = BTreeMap::new();
    let mut sharding = Sharding::default();
    if let Reading::Seen(seen) = &swarm {
        history.swarm_seen();
        let asked: Vec<_> = mongod_tasks(seen).collect();
        let routers = sharding::router_tasks(seen);
        let routers = routers.iter().map(|(_, at)| *at);
        let addresses: Vec<SocketAddr> = asked.iter().map(|(_, at)| *at).chain(routers).collect();
        mongods.keep_only(|at| addresses.contains(at));
        let answers = join_all(asked.into_iter().map(|(task, at)| async move {
            let answer = mongods.read(at, task.is_leaving()).await;
            (task.id.clone(), answer)
        }));
        let now = Timestamp::now();
        for (id, answer) in answers.await {
            let reading = match answer {
                Ok(report) => {
                    history.member_seen(&id);
                    Reading::Seen(report)
                }
                Err(error) => Reading::Unreachable {
                    since: history.member_unreachable(&id, now),
                    why: error.to_string(),
                },
            };
            members.insert(id, reading);
        }
        sharding = sharding::observe(seen, &members, mongods, history).await;
        let routers = &sharding.routers;
        history.keep_only(|task| members.contains_key(task) || routers.contains_key(task));
    }
    let had_data = history.had_data();
    history.note_data(&members);
    Observation {
        now: Timestamp::now(),
        swarm,
        members,
        had_data,
        sharding,
    }
}

/// Tasks that run, or may run, a mongod of ours: of our services, and of services that are gone.
fn mongod_tasks(swarm: &Swarm) -> impl Iterator<Item = (&Task, SocketAddr)> {
    let ours = |task: &Task| match swarm.services.get(&task.service) {
        Some(service) => service.labels.contains_key(LABEL_ROLE) && !is_router(service),
        None if swarm.known_services.contains(&task.service) => false,
        None => task
            .container
            .command
            .iter()
            .any(|w| w.starts_with("--replSet")),
    };
    let alive = |task: &Task| task.is_wanted() || task.is_leaving();
    let asked = swarm.tasks.values().filter(move |t| alive(t) && ours(t));
    asked.filter_map(|task| {
        let ip = *task.addresses.first()?;
        Some((task, SocketAddr::new(ip, mongod_port(&task.container)?)))
    })
}

fn is_router(service: &Service) -> bool {
    service
        .labels
        .get(LABEL_ROLE)
        .is_some_and(|r| r == "router")
}
