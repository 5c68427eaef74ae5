//! Sharded clusters in stories: what `config.*` says, and what a router does.
//!
//! ```text
//! service cfg role=config-server replicas=3      the options and paths of the role come with it
//! service router role=router configdb=cfg/cfg:27017 replicas=1
//! task 1 n1 running router
//! shard s1 hosts=usual draining chunks=12        as in config.shards; `usual`: all members of the service s1
//! cluster balancer=off window=23:00-6:00 databases=shop:s1,blog:s2    or: cluster unreadable "why"
//! removal s2 ongoing chunks=12 dbs=1 jumbo=2 collections=shop.a age=3s first=40@10m
//! content s3 databases=shop of=other name=s3     what the primary of a set holds
//! obstacles s2 jumbo=... not-balanced=shop.orders
//! ```

use std::collections::BTreeMap;

use swarmset::mongo::model::{
    ClusterReport, MemberState, Obstacles, Remaining, Removal, RemovalReply, RouterReport,
    ShardContent, ShardEntry, ShardIdentity,
};
use swarmset::names::{ClusterName, Host, SetKey, SetName, ShardName};
use swarmset::observation::{Observation, Reading};
use swarmset::step::advice;
use swarmset::swarm::model::Service;

use crate::text::{Parsed, duration, host, number, words};
use crate::world::{Mongod, ServiceWorld, World, ago, now};

/// The cluster's identity.
const CLUSTER_ID: &str = "the-cluster";

/// The one sharded cluster of a story, `app`.
#[derive(Clone, Debug)]
pub struct ClusterWorld {
    unreadable: Option<String>,
    /// What `config.*` says.
    pub report: ClusterReport,
    /// Databases, and on which shard each has its primary.
    pub databases: BTreeMap<String, ShardName>,
    chunks: BTreeMap<ShardName, u64>,
    contents: BTreeMap<SetName, Reading<ShardContent>>,
}

impl Default for ClusterWorld {
    fn default() -> Self {
        Self {
            unreadable: None,
            report: ClusterReport {
                cluster_id: Some(CLUSTER_ID.into()),
                ..ClusterReport::default()
            },
            databases: BTreeMap::new(),
            chunks: BTreeMap::new(),
            contents: BTreeMap::new(),
        }
    }
}

/// Label, options and volume of a role.
pub fn role(service: &mut Service, role: &str) {
    service.labels.insert("swarmset.role".into(), role.into());
    let container = std::sync::Arc::make_mut(&mut service.container);
    let set = service.name.as_str().to_owned();
    let (options, path): (&[&str], _) = match role {
        "config-server" => (&["--configsvr", "--port", "27017"], "/data/configdb"),
        "shard" => (&["--shardsvr", "--port", "27017"], "/data/db"),
        _ => {
            container.command = vec!["mongos".into()];
            container.stop_signal = None;
            container.mounts.clear();
            return;
        }
    };
    container.command = vec!["--replSet".into(), set];
    container
        .command
        .extend(options.iter().map(|o| (*o).to_owned()));
    container
        .mounts
        .iter_mut()
        .for_each(|m| m.target = path.into());
}

/// `router says 96 "words"`: what is shown of a refusal.
pub fn refusal(line: &str) -> Parsed<Vec<String>> {
    let words = words(line)?;
    let [_, _, code, message] = words.as_slice() else {
        return Err("router says CODE \"words\"".into());
    };
    let code = number(code)?;
    let advice = advice(code, message).unwrap_or("nothing beyond the router's words");
    Ok(vec![format!("advice: {advice}")])
}

impl World {
    pub fn sharding_line(&mut self, what: &str, words: &[String]) -> Parsed {
        self.complete();
        match what {
            "cluster" => self.cluster_line(words),
            "shard" => self.shard_line(words),
            "removal" => self.removal_line(words),
            "content" => self.content_line(words),
            _ => self.obstacles_line(words),
        }
    }

    fn cluster_line(&mut self, words: &[String]) -> Parsed {
        let cluster = &mut self.cluster;
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            match key {
                "readable" => cluster.unreadable = None,
                "unreadable" => cluster.unreadable = words.next().cloned(),
                "balancer" => cluster.report.balancer.enabled = value == "on",
                "window" => {
                    let (from, to) = value.split_once('-').ok_or("window=23:00-6:00")?;
                    cluster.report.balancer.window = Some((from.into(), to.into()));
                }
                "databases" => {
                    for pair in value.split(',') {
                        let (name, shard) = pair.split_once(':').ok_or("databases=name:shard")?;
                        cluster.databases.insert(name.into(), ShardName::new(shard));
                    }
                }
                _ => return Err(format!("cluster: {word:?}")),
            }
        }
        Ok(())
    }

    fn shard_line(&mut self, words: &[String]) -> Parsed {
        let (name, rest) = words.split_first().ok_or("shard NAME ...")?;
        let shards = &mut self.cluster.report.shards;
        let at = shards.iter().position(|s| s.name.as_str() == name);
        let mut entry = match at {
            Some(at) => shards.remove(at),
            None => ShardEntry::parse(name, "", false),
        };
        for word in rest {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            match key {
                "gone" => return Ok(()),
                "draining" => entry.draining = value != "no",
                "set" => entry.set = SetName::new(value),
                "chunks" => {
                    self.cluster
                        .chunks
                        .insert(entry.name.clone(), number(value)?);
                }
                "hosts" if value == "usual" => {
                    let service = self.services.iter().find(|s| s.set_name() == entry.set);
                    entry.hosts = service.map(members).ok_or("no such service")?;
                }
                "hosts" => entry.hosts = value.split(',').map(|h| host(h, 27017)).collect(),
                _ => return Err(format!("shard: {word:?}")),
            }
        }
        self.cluster.report.shards.push(entry);
        self.cluster
            .report
            .shards
            .sort_by(|a, b| a.name.cmp(&b.name));
        Ok(())
    }

    fn removal_line(&mut self, words: &[String]) -> Parsed {
        let [shard, state, rest @ ..] = words else {
            return Err("removal SHARD STATE ...".into());
        };
        let mut left = Remaining::default();
        let (mut asked, mut first) = (now(), None);
        for word in rest {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            match key {
                "chunks" => left.chunks = number(value)?,
                "dbs" => left.databases = number(value)?,
                "jumbo" => left.jumbo_chunks = number(value)?,
                "collections" => {
                    left.collections_to_move = value.split(',').map(str::to_owned).collect();
                }
                "age" => asked = ago(duration(value)?),
                "first" => {
                    let (chunks, age) = value.split_once('@').ok_or("first=40@10m")?;
                    first = Some((ago(duration(age)?), number(chunks)?));
                }
                _ => return Err(format!("removal: {word:?}")),
            }
        }
        let reply = match state.as_str() {
            "started" => RemovalReply::Started,
            "ongoing" => RemovalReply::Ongoing(left),
            "cleanup" => RemovalReply::PendingCleanup,
            "completed" => RemovalReply::Completed,
            other => return Err(format!("removal: {other:?}")),
        };
        let removal = Removal {
            first,
            asked,
            reply,
        };
        let removals = &mut self.cluster.report.removals;
        removals.insert(ShardName::new(shard), removal);
        Ok(())
    }

    fn content_line(&mut self, words: &[String]) -> Parsed {
        let (set, rest) = words.split_first().ok_or("content SET ...")?;
        let mut content = ShardContent::default();
        let (mut cluster_id, mut name) = (None, set.clone());
        for word in rest {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            match key {
                "unreadable" => {
                    let since = now();
                    let why = "connection refused".into();
                    let reading = Reading::Unreachable { since, why };
                    self.cluster.contents.insert(SetName::new(set), reading);
                    return Ok(());
                }
                "databases" => {
                    let names = value.split(',').map(|d| (d.to_owned(), 4096));
                    content.databases = names.collect();
                }
                "of" if value == "ours" => cluster_id = Some(CLUSTER_ID.to_owned()),
                "of" => cluster_id = Some(value.to_owned()),
                "name" => value.clone_into(&mut name),
                _ => return Err(format!("content: {word:?}")),
            }
        }
        content.identity = cluster_id.map(|cluster_id| ShardIdentity {
            cluster_id,
            shard: ShardName::new(name),
        });
        let reading = Reading::Seen(content);
        self.cluster.contents.insert(SetName::new(set), reading);
        Ok(())
    }

    fn obstacles_line(&mut self, words: &[String]) -> Parsed {
        let (shard, rest) = words.split_first().ok_or("obstacles SHARD ...")?;
        let mut found = Obstacles::default();
        for word in rest {
            match word.split_once('=') {
                Some(("jumbo", what)) => found.jumbo_chunks.push(what.into()),
                Some(("not-balanced", what)) => found.not_balanced.push(what.into()),
                _ => return Err(format!("obstacles: {word:?}")),
            }
        }
        let obstacles = &mut self.cluster.report.obstacles;
        obstacles.insert(ShardName::new(shard), found);
        Ok(())
    }

    /// What an agent sees of it, where there are services of its roles.
    pub fn show_cluster(&self, observation: &mut Observation) {
        let has = |role: &str| self.services.iter().any(|s| s.role() == role && !s.gone);
        if !has("config-server") && !has("router") {
            return;
        }
        let sharding = &mut observation.sharding;
        for service in self.services.iter().filter(|s| s.is_router()) {
            for task in service.tasks.iter().filter(|t| t.is_wanted()) {
                let reading = match &task.mongod {
                    Mongod::Router => Reading::Seen(RouterReport {
                        version: task.version,
                        config_db: None,
                    }),
                    Mongod::Silent(why) => Reading::Unreachable {
                        since: now(),
                        why: why.clone(),
                    },
                    other => panic!("{other:?} is no router"),
                };
                sharding.routers.insert(service.task_id(task), reading);
            }
        }
        let leads = |s: &ServiceWorld| s.tasks.iter().any(is_primary);
        let mut config = self.services.iter().filter(|s| s.role() == "config-server");
        let why = match (&self.cluster.unreadable, config.any(leads)) {
            (Some(why), _) => Some(why.clone()),
            (None, false) => Some("nobody answers".into()),
            (None, true) => None,
        };
        let name = ClusterName::from("app");
        if let Some(why) = why {
            let since = now();
            let reading = Reading::Unreachable { since, why };
            sharding.clusters.insert(name, reading);
            return;
        }
        for service in self
            .services
            .iter()
            .filter(|s| s.role() == "shard" && leads(s))
        {
            let set = service.set_name();
            let given = self.cluster.contents.get(&set).cloned();
            let reading = given.unwrap_or(Reading::Seen(ShardContent::default()));
            let cluster = name.clone();
            sharding.contents.insert(SetKey { cluster, set }, reading);
        }
        let report = Reading::Seen(self.cluster.report());
        sharding.clusters.insert(name, report);
    }
}

impl ClusterWorld {
    fn report(&self) -> ClusterReport {
        let mut report = self.report.clone();
        for entry in report.shards.iter().filter(|s| s.draining) {
            let on_it = self.databases.iter().filter(|(_, s)| **s == entry.name);
            let names = on_it.map(|(name, _)| name.clone()).collect();
            report.to_move.insert(entry.name.clone(), names);
        }
        report
    }

    /// The balancer takes all chunks from shards that drain.
    pub fn balance(&mut self) {
        if self.report.balancer.enabled {
            for entry in self.report.shards.iter().filter(|s| s.draining) {
                self.chunks.insert(entry.name.clone(), 0);
            }
        }
    }

    /// A router is told to remove it.
    pub fn remove(&mut self, shard: &ShardName) {
        let chunks = self.chunks.get(shard).copied().unwrap_or(0);
        let databases = self.databases.values().filter(|s| *s == shard).count() as u64;
        let mut entries = self.report.shards.iter_mut();
        let entry = entries.find(|s| s.name == *shard).expect("a shard");
        let reply = if !entry.draining {
            entry.draining = true;
            RemovalReply::Started
        } else if chunks + databases > 0 {
            RemovalReply::Ongoing(Remaining {
                chunks,
                databases,
                ..Remaining::default()
            })
        } else {
            self.report.shards.retain(|s| s.name != *shard);
            self.report.removals.remove(shard);
            return;
        };
        let removal = Removal {
            first: None,
            asked: ago(jiff::SignedDuration::from_secs(2)),
            reply,
        };
        self.report.removals.insert(shard.clone(), removal);
    }
}

fn is_primary(task: &crate::world::TaskWorld) -> bool {
    matches!(&task.mongod, Mongod::InSet(m) if m.state == MemberState::Primary)
}

/// All hosts in the configuration of a service's set.
pub fn members(service: &ServiceWorld) -> Vec<Host> {
    let set = service.sets.get(&'A');
    let members = set.into_iter().flat_map(|s| &s.config.members);
    members.map(|m| m.host.clone()).collect()
}
