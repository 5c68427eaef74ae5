//! Sets become shards: when config servers and set have a primary, and nothing speaks against it.

use super::super::roster::{Member, Primary, Roster};
use super::Cluster;
use crate::intent::Role;
use crate::mongo::model::{ClusterReport, ServerVersion, ShardContent, ShardEntry};
use crate::names::{Host, SetName};
use crate::observation::Reading;
use crate::step::{Plan, ShardingFault, ShardingStep, ShardingWait, Step, Subject, Target};

/// The first version whose config servers can be a shard (manual, "Config Shards").
const FIRST_WITH_CONFIG_SHARD: ServerVersion = ServerVersion(8, 0, 0);

/// Why a set is not added.
enum Verdict {
    Wait(ShardingWait),
    Refuse(ShardingFault),
    Add(Vec<Host>),
}

impl Cluster<'_> {
    pub(super) fn add_shards(
        &self,
        report: &ClusterReport,
        router: Option<&Target>,
        plan: &mut Plan,
    ) {
        let is_shard = |r: &&Roster<'_>| r.intent.role == Role::Shard && r.intent.replicas > 0;
        for roster in self.sets.iter().filter(is_shard) {
            let intent = roster.intent;
            let verdict = match self.entries.get(&intent.key.set) {
                Some(entry) => self.look_after(report, entry, roster),
                None if intent.drain => Some(Verdict::Wait(ShardingWait::SafeToRemove {
                    set: intent.key.set.clone(),
                    service: intent.name.clone(),
                })),
                None => Some(self.judge(report, roster)),
            };
            let key = || intent.key.clone();
            match verdict {
                None => {}
                Some(Verdict::Wait(waiting)) => {
                    plan.waiting.push((Subject::Set(key()), waiting.into()));
                }
                Some(Verdict::Refuse(fault)) => {
                    plan.faults.push((Subject::Set(key()), fault.into()));
                }
                Some(Verdict::Add(seeds)) => plan.steps.extend(router.map(|on| {
                    Step::Sharding(ShardingStep::AddShard {
                        key: key(),
                        on: on.clone(),
                        seeds,
                    })
                })),
            }
        }
    }

    /// What there is to say of a shard that stands in the books.
    fn look_after(
        &self,
        report: &ClusterReport,
        entry: &ShardEntry,
        roster: &Roster<'_>,
    ) -> Option<Verdict> {
        let intent = roster.intent;
        if let Some(hosts) = self.taken_by(report, entry, roster) {
            return Some(Verdict::Refuse(ShardingFault::NameTaken {
                set: intent.key.set.clone(),
                hosts,
                service: intent.name.clone(),
            }));
        }
        (entry.draining && !intent.drain).then(|| {
            let shard = entry.name.clone();
            Verdict::Wait(ShardingWait::DrainNotAsked { shard })
        })
    }

    fn content(&self, roster: &Roster<'_>) -> Option<&Reading<ShardContent>> {
        let contents = &self.observation.sharding.contents;
        contents.get(&roster.intent.key)
    }

    /// Another set has this one's name in the books: no host is the same, and this one never was that shard.
    fn taken_by(
        &self,
        report: &ClusterReport,
        entry: &ShardEntry,
        roster: &Roster<'_>,
    ) -> Option<Vec<Host>> {
        // Asked only of a set whose primary the books do not know.
        let content = self.content(roster)?.seen()?;
        let primary = roster.primary()?;
        let mut members = primary.report.config.members.iter();
        if members.any(|m| entry.hosts.contains(&m.host) || entry.hosts.contains(&m.identity())) {
            return None;
        }
        let ours = content.identity.as_ref().map(|i| &i.cluster_id);
        let is_it = ours.is_some() && ours == report.cluster_id.as_ref();
        (!is_it).then(|| entry.hosts.clone())
    }

    fn judge(&self, report: &ClusterReport, roster: &Roster<'_>) -> Verdict {
        let set: SetName = roster.intent.key.set.clone();
        let Some(primary) = roster.primary() else {
            return Verdict::Wait(ShardingWait::ShardWithoutPrimary { set });
        };
        let content = match self.content(roster) {
            Some(Reading::Seen(content)) => content,
            Some(Reading::Unreachable { why, .. }) => {
                let why = why.clone();
                return Verdict::Wait(ShardingWait::ContentUnread { set, why });
            }
            None => {
                let why = "it was not asked yet".to_owned();
                return Verdict::Wait(ShardingWait::ContentUnread { set, why });
            }
        };
        if let Some(identity) = &content.identity
            && let Some(ours) = &report.cluster_id
            && identity.cluster_id != *ours
        {
            return Verdict::Refuse(ShardingFault::OtherCluster {
                set,
                shard: identity.shard.clone(),
                found: identity.cluster_id.clone(),
                ours: ours.clone(),
            });
        }
        if !content.databases.is_empty() {
            let databases = content.databases.keys().cloned().collect();
            return Verdict::Refuse(ShardingFault::HoldsData { set, databases });
        }
        Verdict::Add(seeds(roster, primary))
    }

    /// Config servers that are to be a shard, too: 8.0 and later, everywhere.
    pub(super) fn add_config_shard(
        &self,
        report: &ClusterReport,
        router: Option<&Target>,
        plan: &mut Plan,
    ) {
        let Some(config) = self.config_servers() else {
            return;
        };
        let (intent, subject) = (config.intent, Subject::Set(config.intent.key.clone()));
        if intent.drain && report.config_shard().is_none() {
            let set = intent.key.set.clone();
            let waiting = ShardingWait::ConfigShardDrained { set };
            plan.waiting.push((subject.clone(), waiting.into()));
        }
        if !intent.config_shard || report.config_shard().is_some() || config.primary().is_none() {
            return;
        }
        if let Some((host, found)) = self.too_old_for_config_shard() {
            let fault = ShardingFault::ConfigShardTooOld { host, found };
            plan.faults.push((subject, fault.into()));
            return;
        }
        plan.steps.extend(router.map(|on| {
            Step::Sharding(ShardingStep::AddConfigShard {
                key: intent.key.clone(),
                on: on.clone(),
            })
        }));
    }

    fn too_old_for_config_shard(&self) -> Option<(Host, ServerVersion)> {
        let members = self.sets.iter().flat_map(Roster::seats);
        let members = members.filter_map(|s| Some((s.host.clone(), s.report()?.version)));
        let routers = self.router_reports().map(|(host, r)| (host, r.version));
        let mut all = members.chain(routers);
        all.find(|(_, version)| *version < FIRST_WITH_CONFIG_SHARD)
    }
}

/// The members that the router is told: those that clients see too, since the server checks each of them.
fn seeds(roster: &Roster<'_>, primary: Primary<'_>) -> Vec<Host> {
    let members = roster.members(primary);
    let known = members.iter().filter(|m| is_visible(m) && m.is_healthy());
    known.map(|m| m.config.host.clone()).collect()
}

/// Whether clients, and so the cluster, learn of this member (server, `fillHelloForReplSet`).
pub(super) fn is_visible(member: &Member<'_>) -> bool {
    let config = member.config;
    !config.hidden && !config.arbiter_only && config.delay_seconds() == 0 && !member.newly_added
}
