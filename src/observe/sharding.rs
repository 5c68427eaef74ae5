//! Looks at routers, at the books of each cluster, and at what sets hold that are to become shards or to go.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use futures_util::future::join_all;
use jiff::Timestamp;

use crate::history::History;
use crate::intent::{Intent, Intents, Role, intents, mongod_port};
use crate::mongo::client::{MongoError, Mongods};
use crate::mongo::model::{ClusterReport, MemberReport, MemberState, RouterReport, ShardContent};
use crate::names::{ClusterName, ServiceId, SetKey, TaskId};
use crate::observation::{Reading, Sharding};
use crate::swarm::model::{Swarm, Task};

/// What the members answered, which says where the primaries are.
pub(super) type Members = BTreeMap<TaskId, Reading<MemberReport>>;

/// Routers that run, with their addresses.
pub(super) fn router_tasks(swarm: &Swarm) -> Vec<(&Task, SocketAddr)> {
    let is_router = |task: &&Task| {
        let service = swarm.services.get(&task.service);
        service.is_some_and(super::is_router) && task.is_wanted()
    };
    let tasks = swarm.tasks.values().filter(is_router);
    tasks.filter_map(|t| Some((t, address(t)?))).collect()
}

fn address(task: &Task) -> Option<SocketAddr> {
    let ip = *task.addresses.first()?;
    Some(SocketAddr::new(ip, mongod_port(&task.container)?))
}

/// All that is to be known of sharded clusters besides their members.
pub(super) async fn observe(
    swarm: &Swarm,
    members: &Members,
    mongods: &Mongods,
    history: &mut History,
) -> Sharding {
    let routers = routers(swarm, mongods, history).await;
    let intents = intents(swarm);
    let sharded = |i: &&Intent| i.role != Role::ReplicaSet;
    if routers.is_empty() && !intents.sets.values().any(|i| sharded(&i)) {
        return Sharding::default();
    }
    let places = Places::new(swarm, members);
    let clusters = clusters(swarm, &intents, &routers, &places, mongods).await;
    let contents = contents(&intents, &clusters, &places, mongods).await;
    Sharding {
        routers,
        clusters,
        contents,
    }
}

async fn routers(
    swarm: &Swarm,
    mongods: &Mongods,
    history: &mut History,
) -> BTreeMap<TaskId, Reading<RouterReport>> {
    let asked = router_tasks(swarm)
        .into_iter()
        .map(|(task, at)| async move {
            let answer = mongods.read_router(at).await;
            (task.id.clone(), answer)
        });
    let answers = join_all(asked).await;
    let now = Timestamp::now();
    let readings = answers.into_iter().map(|(id, answer)| {
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
        (id, reading)
    });
    readings.collect()
}

/// Where each service's primary is reached.
struct Places<'a>(BTreeMap<&'a ServiceId, (SocketAddr, &'a str)>);

impl<'a> Places<'a> {
    fn new(swarm: &'a Swarm, members: &'a Members) -> Self {
        let primaries = members.iter().filter_map(|(id, reading)| {
            let report = reading.seen()?.in_set()?;
            let task = swarm.tasks.get(id)?;
            let leads = report.state == MemberState::Primary;
            let host = report.config.member(report.self_id?)?.host.as_str();
            leads.then_some((report.term, &task.service, address(task)?, host))
        });
        let mut primaries: Vec<_> = primaries.collect();
        primaries.sort_by_key(|(term, ..)| *term);
        let by_service = primaries
            .into_iter()
            .map(|(_, s, at, host)| (s, (at, host)));
        Self(by_service.collect())
    }

    fn of(&self, intent: &Intent) -> Option<(SocketAddr, &'a str)> {
        self.0.get(&intent.service).copied()
    }
}

/// Each cluster's books, through its first router that answers, else on the config servers' primary.
async fn clusters(
    swarm: &Swarm,
    intents: &Intents,
    routers: &BTreeMap<TaskId, Reading<RouterReport>>,
    places: &Places<'_>,
    mongods: &Mongods,
) -> BTreeMap<ClusterName, Reading<ClusterReport>> {
    let mut ways: BTreeMap<&ClusterName, Vec<SocketAddr>> = BTreeMap::new();
    for router in &intents.routers {
        let its = |t: &&Task| t.service == router.service;
        let answers = |t: &&Task| routers.get(&t.id).is_some_and(|r| r.seen().is_some());
        let ours = swarm.tasks.values().filter(its).filter(answers);
        ways.entry(&router.cluster)
            .or_default()
            .extend(ours.filter_map(address).take(1));
    }
    for config in intents
        .sets
        .values()
        .filter(|i| i.role == Role::ConfigServer)
    {
        let at = places.of(config).map(|(at, _)| at);
        ways.entry(&config.key.cluster).or_default().extend(at);
    }
    let asked = ways
        .into_iter()
        .map(|(name, ways)| async move { (name.clone(), read(name, &ways, mongods).await) });
    join_all(asked).await.into_iter().collect()
}

async fn read(
    name: &ClusterName,
    ways: &[SocketAddr],
    mongods: &Mongods,
) -> Reading<ClusterReport> {
    let mut why = "neither a router nor the config servers' primary answers".to_owned();
    for at in ways {
        match mongods.read_cluster(name, *at).await {
            Ok(report) => return Reading::Seen(report),
            Err(error) => why = error.to_string(),
        }
    }
    Reading::Unreachable {
        since: Timestamp::now(),
        why,
    }
}

/// What those primaries hold that are no shard yet, that drain, or that the books do not know.
async fn contents(
    intents: &Intents,
    clusters: &BTreeMap<ClusterName, Reading<ClusterReport>>,
    places: &Places<'_>,
    mongods: &Mongods,
) -> BTreeMap<SetKey, Reading<ShardContent>> {
    let shards = intents.sets.values().filter(|i| i.role == Role::Shard);
    let books = clusters
        .iter()
        .filter_map(|(name, r)| Some((name, r.seen()?.by_set())));
    let books: BTreeMap<&ClusterName, _> = books.collect();
    let asked = shards.filter_map(|intent| {
        let entries = books.get(&intent.key.cluster)?;
        let (at, host) = places.of(intent)?;
        let entry = entries.get(&intent.key.set);
        let draining = entry.is_some_and(|e| e.draining);
        let is_known = entry.is_some_and(|e| e.hosts.iter().any(|h| h.as_str() == host));
        (draining || !is_known).then_some((&intent.key, at, draining))
    });
    let asked = asked.map(|(key, at, draining)| async move {
        let answer = mongods.read_content(key, at, draining).await;
        (key.clone(), answer)
    });
    let answers = join_all(asked).await.into_iter();
    answers
        .map(|(key, answer)| (key, reading(answer)))
        .collect()
}

fn reading<T>(answer: Result<T, MongoError>) -> Reading<T> {
    match answer {
        Ok(seen) => Reading::Seen(seen),
        Err(error) => Reading::Unreachable {
            since: Timestamp::now(),
            why: error.to_string(),
        },
    }
}
