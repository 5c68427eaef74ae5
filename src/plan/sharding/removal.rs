//! A shard is emptied and removed: the balancer runs, `removeShard` is asked again and again, databases are moved, and
//! whatever blocks is named.

use std::collections::BTreeSet;

use jiff::SignedDuration;

use super::Cluster;
use crate::intent::Intent;
use crate::mongo::model::{ClusterReport, Remaining, Removal, RemovalReply, ShardEntry};
use crate::names::ShardName;
use crate::step::{
    Plan, RemovalCommand, ShardingFault, ShardingStep, ShardingWait, Step, Subject, Target,
};

/// How often a removal is asked how far it is.
const ASK_AGAIN: SignedDuration = SignedDuration::from_secs(1);

/// One shard that is to go.
struct Leaver<'a> {
    intent: &'a Intent,
    entry: &'a ShardEntry,
    command: RemovalCommand,
}

impl Cluster<'_> {
    /// One shard after the other; one that drains already comes first.
    pub(super) fn drain(&self, report: &ClusterReport, router: Option<&Target>, plan: &mut Plan) {
        let shards = self.shards.iter().filter(|i| i.drain).filter_map(|i| {
            Some(Leaver {
                intent: i,
                entry: self.entries.get(&i.key.set)?,
                command: RemovalCommand::RemoveShard,
            })
        });
        let config = self.config.iter().filter(|i| i.drain).filter_map(|i| {
            Some(Leaver {
                intent: i,
                entry: report.config_shard()?,
                command: RemovalCommand::ToDedicatedConfigServer,
            })
        });
        let mut leavers: Vec<_> = shards.chain(config).collect();
        leavers.sort_by_key(|l| (!l.entry.draining, l.entry.name.clone()));
        if leavers.is_empty() {
            return;
        }
        let names: BTreeSet<_> = leavers.iter().map(|l| &l.entry.name).collect();
        let leaves = |e: &ShardEntry| names.contains(&e.name);
        // One whose service is gone or scaled to zero cannot be counted on.
        let zero = self.shards.iter().filter(|i| i.replicas == 0);
        let zero: BTreeSet<_> = zero.map(|i| &i.key.set).collect();
        let stays = |e: &&ShardEntry| {
            let has_service = self.explained.contains(&e.set) && !zero.contains(&e.set);
            has_service && !e.draining && !leaves(e)
        };
        let staying = report.shards.iter().filter(stays);
        let staying: Vec<&ShardName> = staying.map(|e| &e.name).collect();
        let mut leavers = leavers.iter();
        let Some(first) = leavers.next() else {
            return;
        };
        for later in leavers {
            let subject = Subject::Set(later.intent.key.clone());
            let waiting = ShardingWait::DrainInTurn {
                shard: later.entry.name.clone(),
                other: first.entry.name.clone(),
            };
            plan.waiting.push((subject, waiting.into()));
        }
        if staying.is_empty() {
            let subject = Subject::Set(first.intent.key.clone());
            let shard = first.entry.name.clone();
            let fault = ShardingFault::LastShard { shard };
            plan.faults.push((subject, fault.into()));
            return;
        }
        let mut drain = Drain {
            leaver: first,
            staying,
            report,
            now: self.observation.now,
            plan,
        };
        let step = drain.next(router);
        plan.steps.extend(step.map(Step::Sharding));
    }
}

/// The one shard that drains, and where what it has can go.
struct Drain<'p, 'a> {
    leaver: &'a Leaver<'a>,
    staying: Vec<&'a ShardName>,
    report: &'a ClusterReport,
    now: jiff::Timestamp,
    plan: &'p mut Plan,
}

impl Drain<'_, '_> {
    /// Says how far it is and what blocks; and what the router is to be told.
    fn next(&mut self, router: Option<&Target>) -> Option<ShardingStep> {
        let entry = self.leaver.entry;
        let (key, shard) = (self.leaver.intent.key.clone(), entry.name.clone());
        let balancer = &self.report.balancer;
        if !balancer.enabled {
            self.wait(ShardingWait::BalancerOff { shard });
            let on = router?.clone();
            return Some(ShardingStep::StartBalancer { key, on });
        }
        if let Some((start, stop)) = balancer.window.clone() {
            let shard = shard.clone();
            self.wait(ShardingWait::BalancerWindow { shard, start, stop });
        }
        let removal = self.report.removals.get(&shard);
        let removal = removal.filter(|_| entry.draining);
        let ask = ShardingStep::Remove {
            key,
            on: router?.clone(),
            shard: shard.clone(),
            command: self.leaver.command,
            draining: entry.draining,
        };
        let Some(removal) = removal else {
            // Not begun, or begun before this agent: its first question tells.
            self.wait(ShardingWait::DrainBegins { shard });
            return Some(ask);
        };
        self.tell(removal);
        let is_due = self.now.duration_since(removal.asked) >= ASK_AGAIN;
        match &removal.reply {
            RemovalReply::Ongoing(left) => match self.next_move(left) {
                Move::Database { database, to } => {
                    self.wait(ShardingWait::MovingDatabase {
                        database: database.clone(),
                        shard: entry.name.clone(),
                        to: to.clone(),
                    });
                    Some(ShardingStep::MovePrimary {
                        key: self.leaver.intent.key.clone(),
                        on: router?.clone(),
                        database,
                        to,
                    })
                }
                Move::AllDone => Some(ask),
                Move::Later => is_due.then_some(ask),
            },
            RemovalReply::Started | RemovalReply::PendingCleanup | RemovalReply::Completed => {
                is_due.then_some(ask)
            }
        }
    }

    /// Databases go when no chunk is left (manual, "Remove Shards from a Sharded Cluster").
    fn next_move(&self, left: &Remaining) -> Move {
        let databases = self.report.to_move.get(&self.leaver.entry.name);
        match databases.and_then(|d| d.first()) {
            _ if left.chunks > 0 || !left.collections_to_move.is_empty() => Move::Later,
            Some(database) => Move::Database {
                database: database.clone(),
                to: self.destination(database),
            },
            None if left.databases > 0 => Move::AllDone,
            None => Move::Later,
        }
    }

    /// Spread over the shards that stay, and the same each time for the same database: a move that may be under way is
    /// thus only ever asked for again, never sent elsewhere.
    fn destination(&self, database: &str) -> ShardName {
        let sum: usize = database.bytes().map(usize::from).sum();
        self.staying[sum % self.staying.len()].clone()
    }

    fn tell(&mut self, removal: &Removal) {
        let shard = self.leaver.entry.name.clone();
        match &removal.reply {
            RemovalReply::Started => self.wait(ShardingWait::DrainBegins { shard }),
            RemovalReply::Completed => {}
            RemovalReply::PendingCleanup => self.wait(ShardingWait::PendingCleanup { shard }),
            RemovalReply::Ongoing(left) => {
                self.wait(ShardingWait::Draining {
                    shard,
                    chunks: left.chunks,
                    jumbo: left.jumbo_chunks,
                    databases: left.databases,
                    rate: removal.chunks_a_minute(),
                    left: removal.time_left(),
                });
                self.tell_obstacles(left);
            }
        }
    }

    fn tell_obstacles(&mut self, left: &Remaining) {
        let shard = &self.leaver.entry.name;
        let obstacles = self
            .report
            .obstacles
            .get(shard)
            .cloned()
            .unwrap_or_default();
        if left.jumbo_chunks > 0 {
            self.fault(ShardingFault::JumboChunks {
                shard: shard.clone(),
                count: left.jumbo_chunks,
                chunks: obstacles.jumbo_chunks,
            });
        }
        if left.chunks > 0 && !obstacles.not_balanced.is_empty() {
            self.fault(ShardingFault::NotBalanced {
                shard: shard.clone(),
                collections: obstacles.not_balanced,
            });
        }
        if !left.collections_to_move.is_empty() {
            self.fault(ShardingFault::CollectionsToMove {
                shard: shard.clone(),
                collections: left.collections_to_move.clone(),
            });
        }
    }

    fn wait(&mut self, waiting: ShardingWait) {
        let subject = Subject::Set(self.leaver.intent.key.clone());
        self.plan.waiting.push((subject, waiting.into()));
    }

    fn fault(&mut self, fault: ShardingFault) {
        let subject = Subject::Set(self.leaver.intent.key.clone());
        self.plan.faults.push((subject, fault.into()));
    }
}

/// What becomes of the databases.
enum Move {
    Database {
        database: String,
        to: ShardName,
    },
    /// All are gone, and the router does not know yet: ask at once.
    AllDone,
    Later,
}
