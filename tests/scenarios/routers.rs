//! What routers do.

use swarmset::mongo::model::ShardEntry;
use swarmset::step::{RemovalCommand, ShardingStep};

use crate::world::World;
use crate::world::sharding::members;

impl World {
    /// What a router does.
    pub fn apply_sharding(&mut self, step: &ShardingStep) {
        match step {
            ShardingStep::AddShard { key, seeds, .. } => {
                let hosts = members(self.of_set(&key.claim_name()));
                assert!(seeds.iter().all(|s| hosts.contains(s)), "{seeds:?}");
                let mut entry = ShardEntry::parse(key.set.as_str(), "", false);
                entry.hosts = hosts;
                self.cluster.report.shards.push(entry);
            }
            ShardingStep::AddConfigShard { key, .. } => {
                let mut entry = ShardEntry::parse("config", "", false);
                entry.set = key.set.clone();
                entry.hosts = members(self.of_set(&key.claim_name()));
                self.cluster.report.shards.push(entry);
            }
            ShardingStep::StartBalancer { .. } => self.cluster.report.balancer.enabled = true,
            ShardingStep::MovePrimary { database, to, .. } => {
                self.cluster.databases.insert(database.clone(), to.clone());
            }
            ShardingStep::Remove { shard, command, .. } => {
                let is_config = shard.as_str() == "config";
                assert_eq!(
                    is_config,
                    *command == RemovalCommand::ToDedicatedConfigServer
                );
                self.cluster.remove(shard);
            }
        }
    }
}
