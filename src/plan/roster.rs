//! Who is who: tasks matched with members. Swarm knows tasks, MongoDB knows members; a host name joins them.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use super::Verdict;
use crate::intent::{Intent, Stop, mongod_port};
use crate::mongo::model::{
    ConfigVersion, MemberConfig, MemberReport, MemberState, MemberStatus, Replication, SetReport,
};
use crate::names::{Host, MemberId, ReplicaSetId, SetKey, Slot};
use crate::observation::{Observation, Reading, TaskSeen};
use crate::step::{Target, Waiting};
use crate::swarm::model::{Claim, DesiredState, Swarm, Task, TaskState};

/// A task of the service, as a place that a member can hold.
#[derive(Clone, Debug)]
pub struct Seat<'a> {
    /// The task.
    pub task: &'a Task,
    /// The host under which it is, or would be, a member.
    pub host: Host,
    /// Where its mongod is reached.
    pub address: Option<SocketAddr>,
    /// What its mongod answered, if it was asked.
    pub reading: Option<&'a Reading<MemberReport>>,
    identity: Option<ReplicaSetId>,
}

impl<'a> Seat<'a> {
    /// What its mongod answered.
    pub fn report(&self) -> Option<&'a MemberReport> {
        self.reading?.seen()
    }

    /// What its mongod answered, as a member of a set.
    pub fn in_set(&self) -> Option<&'a SetReport> {
        self.report()?.in_set()
    }

    /// Whom to talk to.
    pub fn target(&self) -> Option<Target> {
        Some(Target {
            task: self.task.id.clone(),
            host: self.host.clone(),
            address: self.address?,
        })
    }

    /// Told to stop, it serves on until the agent ends it.
    pub fn is_held(&self) -> bool {
        Stop::of(&self.task.container) == Stop::Held
    }

    /// Its `replicaSetId`, if it has one.
    pub fn identity(&self) -> Option<&ReplicaSetId> {
        self.identity.as_ref()
    }
}

/// All seats of one set.
#[derive(Debug)]
pub struct Roster<'a> {
    /// What is asked for.
    pub intent: &'a Intent,
    /// The whole observation, for its date.
    pub observation: &'a Observation,
    /// Seats of tasks that Swarm wants to run.
    pub wanted: Vec<Seat<'a>>,
    /// Seats of tasks that Swarm has told to stop, and that may still serve.
    pub leaving: Vec<Seat<'a>>,
    /// Tasks that are wanted, and have no node yet.
    pub unassigned: Vec<&'a Task>,
    /// The record of this set, if there is one.
    pub claim: Option<&'a Claim>,
    identity: Option<ReplicaSetId>,
}

/// The member that leads, and its report, by which everything is decided.
#[derive(Clone, Copy, Debug)]
pub struct Primary<'a> {
    /// Its seat.
    pub seat: &'a Seat<'a>,
    /// Its report.
    pub report: &'a SetReport,
    /// Its `_id`.
    pub id: MemberId,
    /// Its set.
    pub key: &'a SetKey,
}

/// A member of the configuration, with what Swarm and the primary say of it.
#[derive(Clone, Debug)]
pub struct Member<'a> {
    /// Its entry in the configuration.
    pub config: &'a MemberConfig,
    /// How the primary sees it.
    pub status: Option<&'a MemberStatus>,
    /// What Swarm has in mind for it.
    pub standing: Standing<'a>,
    /// Whether its vote counts today.
    pub votes: bool,
    /// Behind the set's newest position, in seconds.
    pub lag_seconds: Option<i64>,
    /// Whether it was added, and has not done its initial sync.
    pub newly_added: bool,
}

/// What Swarm has in mind for a member.
#[derive(Clone, Debug)]
pub enum Standing<'a> {
    /// Its task is to run on.
    Stays(&'a Seat<'a>),
    /// Its task is to stop, and another waits under the same name and with the same data.
    Restarts {
        /// The one that runs.
        old: &'a Seat<'a>,
    },
    /// Its slot is gone, or another task has its slot under another name.
    Leaves {
        /// Its task, if it still runs.
        seat: Option<&'a Seat<'a>>,
        /// Its slot, as far as task or name tell.
        slot: Option<Slot>,
        /// Whether its slot is gone for good, so that nobody comes in its place.
        scaled_down: bool,
    },
    /// Its task is to stop or is gone, and Swarm has not said what comes instead.
    NoWord {
        /// Its task, if it still runs.
        seat: Option<&'a Seat<'a>>,
    },
    /// It was never a task of this service.
    Stranger,
}

fn takes_part(state: MemberState) -> bool {
    state.is_data_bearing() || state == MemberState::Arbiter
}

impl<'a> Member<'a> {
    /// The state that the primary sees.
    pub fn state(&self) -> MemberState {
        self.status.map_or(MemberState::Unknown, |s| s.state)
    }

    /// It takes part with a complete copy of the data, or votes as an arbiter: so says the primary, and so does
    /// its own mongod, if it is a task of ours. The primary notices only after seconds that a member is gone.
    pub fn is_healthy(&self) -> bool {
        let itself = match self.seat() {
            // While it quiesces it replicates and votes, and answers nobody new.
            Some(seat) if !seat.task.is_wanted() && !seat.is_held() => true,
            Some(seat) => seat.in_set().is_some_and(|r| takes_part(r.state)),
            // Its task has ended, as Swarm says: the primary's last heartbeat may be older than that.
            None => matches!(self.standing, Standing::Stranger),
        };
        itself && self.is_seen_healthy()
    }

    /// So says the primary.
    pub fn is_seen_healthy(&self) -> bool {
        takes_part(self.state()) && self.status.is_some_and(|s| s.healthy)
    }

    /// Healthy, past its initial sync and close to the newest write: it can be counted on.
    pub fn is_ready(&self) -> bool {
        let is_arbiter = self.state() == MemberState::Arbiter;
        let allowed = super::MAX_LAG_SECONDS + self.config.delay_seconds();
        let is_close = self.lag_seconds.is_some_and(|lag| lag <= allowed);
        self.is_healthy() && !self.newly_added && (is_close || is_arbiter)
    }

    /// A secondary that has a source to replicate from, as its own mongod says.
    pub fn replicates(&self) -> bool {
        let report = self.seat().and_then(Seat::in_set);
        let own = report.and_then(|r| r.member(r.self_id?));
        own.is_some_and(|o| o.state == MemberState::Secondary && o.sync_source.is_some())
    }

    /// Its seat, if a task of it runs.
    pub fn seat(&self) -> Option<&'a Seat<'a>> {
        match self.standing {
            Standing::Stays(seat) | Standing::Restarts { old: seat } => Some(seat),
            Standing::Leaves { seat, .. } | Standing::NoWord { seat } => seat,
            Standing::Stranger => None,
        }
    }

    /// Whether its task is to run on.
    pub fn stays(&self) -> bool {
        matches!(self.standing, Standing::Stays(_))
    }

    /// Whether it is on its way out of the set.
    pub fn leaves(&self) -> bool {
        matches!(self.standing, Standing::Leaves { .. })
    }
}

impl<'a> Roster<'a> {
    /// Seats the service's tasks, which are all that belong to it.
    pub fn new(
        observation: &'a Observation,
        swarm: &'a Swarm,
        tasks: &[TaskSeen<'a>],
        intent: &'a Intent,
    ) -> Self {
        let (mut wanted, mut leaving, mut unassigned) = (Vec::new(), Vec::new(), Vec::new());
        for (task, reading) in tasks.iter().copied() {
            let Some(host) = intent.host_of(task, swarm) else {
                unassigned.extend(task.is_wanted().then_some(task));
                continue;
            };
            let port = mongod_port(&task.container).unwrap_or(intent.port);
            let address = address(&task.addresses, port);
            let report = reading.and_then(|r| r.seen()?.in_set());
            let seat = Seat {
                task,
                host,
                address,
                reading,
                identity: report.and_then(|r| r.config.replica_set_id()),
            };
            if task.is_wanted() {
                wanted.push(seat);
            } else if task.is_leaving() {
                leaving.push(seat);
            }
        }
        wanted.sort_by(|a, b| (a.task.slot, &a.host).cmp(&(b.task.slot, &b.host)));
        leaving.sort_by(|a, b| (a.task.slot, &a.host).cmp(&(b.task.slot, &b.host)));
        let mut roster = Self {
            intent,
            observation,
            wanted,
            leaving,
            unassigned,
            claim: swarm.claims.get(&intent.key.claim_name()),
            identity: None,
        };
        roster.identity = roster.find_identity();
        roster
    }

    /// All seats, those that are to stop among them.
    pub fn seats(&self) -> impl Iterator<Item = &Seat<'a>> {
        self.wanted.iter().chain(&self.leaving)
    }

    /// The set's identity: the one recorded, else the only one seen.
    pub fn identity(&self) -> Option<&ReplicaSetId> {
        self.identity.as_ref()
    }

    fn find_identity(&self) -> Option<ReplicaSetId> {
        let recorded = self.claim.and_then(|c| c.replica_set_id.clone());
        recorded.or_else(|| {
            let named = |s: &&Seat<'_>| {
                s.in_set()
                    .is_some_and(|r| r.config.set == self.intent.key.set)
            };
            let ids: BTreeSet<_> = self
                .seats()
                .filter(named)
                .filter_map(Seat::identity)
                .collect();
            (ids.len() == 1)
                .then(|| ids.first().copied().cloned())
                .flatten()
        })
    }

    /// Whether a seat is a member of this very set, by name and identity.
    pub fn is_ours(&self, seat: &Seat<'_>) -> bool {
        let same_name = |r: &SetReport| r.config.set == self.intent.key.set;
        seat.in_set().is_some_and(same_name) && seat.identity() == self.identity()
    }

    /// Whether any mongod has a configuration, or may have one.
    pub fn exists(&self) -> bool {
        let may_have = |r: &MemberReport| {
            matches!(
                r.replication,
                Replication::InSet(_) | Replication::LoadingConfig
            )
        };
        self.seats().filter_map(Seat::report).any(may_have)
    }

    /// The primary of the newest term that anybody knows. A deposed one that does not know it yet has an older term.
    pub fn primary(&'a self) -> Option<Primary<'a>> {
        let leads = |seat: &'a Seat<'a>| {
            let report = seat.in_set().filter(|r| r.state == MemberState::Primary)?;
            let id = report.self_id?;
            self.is_ours(seat).then_some(Primary {
                seat,
                report,
                id,
                key: &self.intent.key,
            })
        };
        let ours = self.seats().filter(|s| self.is_ours(s));
        let newest = ours.filter_map(Seat::in_set).map(|r| r.term).max();
        self.seats()
            .filter_map(leads)
            .find(|p| Some(p.report.term) == newest)
    }

    /// The most recent configuration that any member of ours has.
    pub fn newest_report(&self) -> Option<&'a SetReport> {
        let ours = self.seats().filter(|s| self.is_ours(s));
        let version = |r: &&SetReport| -> ConfigVersion { r.config.config_version() };
        ours.filter_map(Seat::in_set).max_by_key(version)
    }

    /// The configuration's members, with what becomes of each.
    pub fn members(&'a self, primary: Primary<'a>) -> Vec<Member<'a>> {
        let report = primary.report;
        let voters = report.voters();
        let member = |config: &'a MemberConfig| Member {
            config,
            status: report.member(config.id),
            standing: self.standing(config),
            votes: voters.contains(&config.id),
            lag_seconds: report.lag_seconds(config.id),
            newly_added: report.newly_added.contains(&config.id),
        };
        report.config.members.iter().map(member).collect()
    }

    fn standing(&'a self, member: &MemberConfig) -> Standing<'a> {
        let identity = member.identity();
        let by_name = self.seats().any(|s| s.host == identity);
        let holds = |seat: &&Seat<'a>| {
            let named = seat.host == identity;
            let says_so = seat.in_set().is_some_and(|r| r.self_id == Some(member.id));
            named || (!by_name && says_so && self.is_ours(seat))
        };
        let wanted = self.wanted.iter().find(holds);
        let leaving = self.leaving.iter().find(holds);
        match (wanted, leaving) {
            (Some(next), Some(old)) => {
                // Without the node in its name the next may run elsewhere, while the old one cannot be reached.
                if next.report().is_some() || old.report().is_none() {
                    Standing::Stays(next)
                } else {
                    Standing::Restarts { old }
                }
            }
            (Some(seat), None) => Standing::Stays(seat),
            (None, Some(seat)) => self.without_place(Some(seat), seat.task.slot),
            (None, None) => match self.intent.recognises(&identity) {
                Some(slot) => self.without_place(None, slot),
                None => Standing::Stranger,
            },
        }
    }

    /// A member for whose name there is no wanted task: is that Swarm's last word?
    fn without_place(&self, seat: Option<&'a Seat<'a>>, slot: Option<Slot>) -> Standing<'a> {
        let is_removed = seat.is_some_and(|s| s.task.desired == DesiredState::Remove);
        let has_slot = |s: &Seat<'_>| slot.is_some() && s.task.slot == slot;
        let replaced = self.wanted.iter().any(has_slot);
        let slots: BTreeSet<_> = self.wanted.iter().map(|s| s.task.slot).collect();
        let complete = slots.len() as u64 >= self.intent.replicas;
        let scaled_down = is_removed || (complete && !replaced && slot.is_some());
        if is_removed || replaced || complete {
            Standing::Leaves {
                seat,
                slot,
                scaled_down,
            }
        } else {
            Standing::NoWord { seat }
        }
    }

    /// Whether another task has the same name: one that is to run, too, or one that may still be alive on another
    /// node. On the same node the old one's lock on the data keeps the new one from answering.
    pub fn has_twin(&self, seat: &Seat<'_>) -> bool {
        let is_twin = |other: &Seat<'_>| {
            let elsewhere = other.task.node != seat.task.node;
            other.host == seat.host
                && other.task.id != seat.task.id
                && (elsewhere || (other.task.is_wanted() && seat.task.is_wanted()))
        };
        seat.report().is_some() && self.seats().any(is_twin)
    }

    /// Says which tasks Swarm has not made or placed yet.
    pub(super) fn tell_missing_tasks(&self, verdict: &mut Verdict) {
        let found = self.wanted.len();
        if (found as u64) < self.intent.replicas {
            let detail = self.unassigned.iter().find_map(|t| t.error.clone());
            verdict.wait(Waiting::TasksMissing {
                found,
                wanted: self.intent.replicas,
                detail,
            });
        }
        if found as u64 > self.intent.replicas {
            let wanted = self.intent.replicas;
            verdict.wait(Waiting::TasksSurplus { found, wanted });
        }
        for seat in self.wanted.iter().filter(|s| self.has_twin(s)) {
            let host = seat.host.clone();
            verdict.wait(Waiting::TwoTasks { host });
        }
        for seat in &self.wanted {
            let behind_old = self.leaving.iter().any(|l| l.host == seat.host);
            match seat.reading {
                Some(Reading::Seen(_)) => {
                    if let Some(Replication::LoadingConfig) = seat.report().map(|r| &r.replication)
                    {
                        let host = seat.host.clone();
                        verdict.wait(Waiting::LoadingConfig { host });
                    }
                }
                _ if behind_old => {}
                Some(Reading::Unreachable { why, .. }) => verdict.wait(Waiting::NotAnswering {
                    host: seat.host.clone(),
                    why: seat.task.error.clone().unwrap_or_else(|| why.clone()),
                }),
                None => verdict.wait(Waiting::NotAnswering {
                    host: seat.host.clone(),
                    why: seat.not_asked(),
                }),
            }
        }
    }
}

impl Seat<'_> {
    fn not_asked(&self) -> String {
        match (self.task.state, self.address) {
            (TaskState::Pending | TaskState::Starting, _) => "its task is not running yet".into(),
            (_, None) => "it shares no network with the agent".into(),
            (_, Some(_)) => "it was not asked".into(),
        }
    }
}

fn address(addresses: &[IpAddr], port: u16) -> Option<SocketAddr> {
    addresses.first().map(|ip| SocketAddr::new(*ip, port))
}
