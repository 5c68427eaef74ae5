//! The loop: observe, plan, apply, publish, wait.

mod lanes;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep};

use crate::history::History;
use crate::intent::mongod_port;
use crate::mongo::client::Mongods;
use crate::mongo::model::{MemberState, SetReport};
use crate::names::NodeId;
use crate::observation::{Observation, Reading};
use crate::observe::observe;
use crate::plan::plan;
use crate::retry::Retry;
use crate::status::document::{Counts, Cycle, CycleTimes, Document, FaultLog};
use crate::step::Plan;
use crate::swarm::client::{Scope, SwarmClient};
use crate::swarm::model::{Swarm, Task, TaskState, UpdateState};

use lanes::Lanes;
pub use lanes::Report;

/// While something is about to change.
const BUSY_TICK: Duration = Duration::from_millis(100);
/// While something is waited for that has not changed for [`PATIENCE`], and on agents that only watch.
const WAITING_TICK: Duration = Duration::from_secs(1);
/// When all is as it should be: events wake the loop before that.
const SETTLED_TICK: Duration = Duration::from_secs(15);
/// After so many of these in a row it is no longer a matter of moments.
const MANY: u32 = 50;
/// How long `docker stack rm` may take from the agent's service to the last one.
const REMOVAL: Duration = Duration::from_secs(5);
/// In a settled wait: between two looks at the members, through the primary.
const GLANCE: Duration = Duration::from_secs(3);
/// How long nothing must have changed before the loop slows down.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the loop stays busy after news.
const SETTLING: Duration = Duration::from_secs(10);
/// Between a step that could not be done yet and the next look.
const AGAIN: Duration = Duration::from_millis(100);

/// Everything that one agent is.
pub struct Agent {
    swarm: SwarmClient,
    mongods: Arc<Mongods>,
    history: History,
    lanes: Lanes,
    published: watch::Sender<Arc<Document>>,
    cycles: u64,
    times: CycleTimes,
    faults: FaultLog,
}

impl Agent {
    /// Connects to the engine, however long that takes.
    pub async fn start(
        docker_host: &str,
        scope: Scope,
        mongods: Mongods,
        published: watch::Sender<Arc<Document>>,
    ) -> Self {
        let mut retry = Retry::default();
        let swarm = loop {
            match SwarmClient::connect(docker_host, scope.clone()).await {
                Ok(swarm) => break swarm,
                Err(error) => {
                    let delay = retry.next_delay();
                    tracing::warn!(%error, docker_host, ?delay, "docker engine not reached");
                    sleep(delay).await;
                }
            }
        };
        Self {
            swarm,
            mongods: Arc::new(mongods),
            history: History::default(),
            lanes: Lanes::default(),
            published,
            cycles: 0,
            times: CycleTimes::default(),
            faults: FaultLog::default(),
        }
    }

    /// Goes round until `stop` is notified, and then for as long as mongods of a removed stack are left.
    pub async fn run(mut self, stop: Arc<Notify>) {
        let news = Arc::new(Notify::new());
        let listener = tokio::spawn(listen(self.swarm.clone(), Arc::clone(&news)));
        let mut stopping: Option<Instant> = None;
        let mut failures = 0_u32;
        let (mut last, mut changed) = (Plan::default(), Instant::now());
        loop {
            let (observation, plan) = self.cycle().await;
            if plan != last {
                changed = Instant::now();
                last = plan.clone();
            }
            if let Some(since) = stopping
                && !self.has_work_left(&observation, since.elapsed())
            {
                break;
            }
            let tick = if stopping.is_some() {
                BUSY_TICK
            } else {
                self.tick(&observation, changed.elapsed())
            };
            tokio::select! {
                () = rest(tick, &self.mongods, &observation) => {}
                // What an event announces shows in the tasks only a moment later.
                () = news.notified() => changed = Instant::now(),
                outcome = self.lanes.finished() => {
                    failures = if outcome.is_not_yet() { failures + 1 } else { 0 };
                    if failures > MANY {
                        sleep(WAITING_TICK).await;
                    } else if failures > 0 {
                        sleep(AGAIN).await;
                    }
                }
                () = stop.notified(), if stopping.is_none() => stopping = Some(Instant::now()),
            }
        }
        listener.abort();
    }

    async fn cycle(&mut self) -> (Observation, Plan) {
        let began = Instant::now();
        let observation = observe(&self.swarm, &self.mongods, &mut self.history).await;
        let plan = plan(&observation);
        let acts = self.acts(&observation);
        self.lanes.keep_refused(&plan.steps);
        if acts {
            for step in &plan.steps {
                self.lanes.start(step, &self.swarm, &self.mongods);
            }
        }
        self.cycles += 1;
        let took = began.elapsed();
        self.times.note(took.as_secs_f64());
        let counts = Counts {
            mongo_errors: self.mongods.errors(),
            cycles: self.times.clone(),
            ..Counts::default()
        };
        let cycle = Cycle {
            number: self.cycles,
            at: Timestamp::now(),
            milliseconds: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            acts,
            docker_calls: self.swarm.calls(),
            docker_errors: self.swarm.errors(),
            mongo_errors: counts.mongo_errors.values().sum(),
        };
        let scope = self.swarm.scope();
        let mut document = Document::new(
            &observation,
            &plan,
            &self.lanes.report(),
            cycle,
            scope,
            counts,
            &mut self.history,
        );
        document.remember(&mut self.faults);
        self.published.send_replace(Arc::new(document));
        (observation, plan)
    }

    /// The agent on the Swarm's leader acts, else the one with the lowest node id; the others watch. One that runs outside the Swarm acts.
    fn acts(&self, observation: &Observation) -> bool {
        let Reading::Seen(swarm) = &observation.swarm else {
            return false;
        };
        let scope = self.swarm.scope();
        let Some(own) = &scope.node else {
            return true;
        };
        let runs_an_agent = |node: &NodeId| {
            swarm.tasks.values().any(|t| {
                Some(&t.service) == scope.agent_service.as_ref()
                    && t.node.as_ref() == Some(node)
                    && t.state == TaskState::Running
            })
        };
        let leader = swarm.nodes.values().find(|n| n.leader).map(|n| &n.id);
        match leader {
            Some(leader) if leader == own || runs_an_agent(leader) => leader == own,
            // A drained leader has no agent.
            Some(_) => swarm.nodes.keys().find(|n| runs_an_agent(n)) == Some(own),
            None => false,
        }
    }

    fn tick(&self, observation: &Observation, unchanged: Duration) -> Duration {
        let updating = |swarm: &Swarm| {
            swarm
                .services
                .values()
                .any(|s| s.update == UpdateState::Updating)
        };
        let updating = observation.swarm.seen().is_some_and(updating);
        let settled = self.published.borrow().converged && !updating && unchanged > SETTLING;
        if settled {
            SETTLED_TICK
        } else if unchanged > PATIENCE || !self.acts(observation) {
            WAITING_TICK
        } else {
            BUSY_TICK
        }
    }

    /// Whether a stopping agent still has mongods to end: those of its own stack, when that is being removed. Docker
    /// bounds the wait by the agent's own grace period.
    fn has_work_left(&self, observation: &Observation, stopping: Duration) -> bool {
        let Some(own) = &self.swarm.scope().agent_service else {
            return false;
        };
        match &observation.swarm {
            Reading::Unreachable { .. } => true,
            Reading::Seen(swarm) if swarm.known_services.contains(own) => false,
            Reading::Seen(swarm) => {
                let is_orphan = |t: &&Task| {
                    t.service != *own
                        && t.is_leaving()
                        && !swarm.known_services.contains(&t.service)
                };
                // The services of a stack are removed one after the other.
                let others_may_follow = stopping < REMOVAL && !swarm.services.is_empty();
                swarm.tasks.values().any(|t| is_orphan(&t)) || others_may_follow
            }
        }
    }
}

/// Waits for the next cycle. In a long wait it keeps an eye on the members through the primaries, since neither Swarm
/// nor MongoDB tells of a member that goes down.
async fn rest(tick: Duration, mongods: &Mongods, observation: &Observation) {
    let until = Instant::now() + tick;
    while Instant::now() + GLANCE < until {
        sleep(GLANCE).await;
        for (at, report) in primaries(observation) {
            if mongods.glance(at).await.ok().as_ref() != Some(&report.member_states()) {
                return;
            }
        }
    }
    sleep(until.saturating_duration_since(Instant::now())).await;
}

fn primaries(observation: &Observation) -> impl Iterator<Item = (SocketAddr, &SetReport)> {
    let tasks = observation.swarm.seen().map(|swarm| &swarm.tasks);
    observation.members.iter().filter_map(move |(id, reading)| {
        let report = reading.seen()?.in_set()?;
        let task = tasks?.get(id)?;
        let ip = *task.addresses.first()?;
        let leads = report.state == MemberState::Primary;
        leads.then_some((SocketAddr::new(ip, mongod_port(&task.container)?), report))
    })
}

/// Wakes the loop at news from the Swarm, again and again.
async fn listen(swarm: SwarmClient, news: Arc<Notify>) {
    let mut retry = Retry::default();
    loop {
        let mut events = std::pin::pin!(swarm.events());
        while let Some(event) = events.next().await {
            match event {
                Ok(()) => {
                    retry.reset();
                    news.notify_one();
                }
                Err(error) => {
                    tracing::debug!(%error, "event stream ended");
                    break;
                }
            }
        }
        sleep(retry.next_delay()).await;
    }
}
