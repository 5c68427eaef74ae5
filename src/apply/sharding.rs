//! Commands to routers, and what their answers mean.

use super::{Applied, mongo_said};
use crate::mongo::client::{MongoError, Mongods};
use crate::step::{ShardingStep, advice};

/// Carries out one step.
pub(super) async fn apply(step: &ShardingStep, mongods: &Mongods) -> Applied {
    match step {
        ShardingStep::AddShard { key, on, seeds } => {
            router_said(mongods.add_shard(on.address, &key.set, seeds).await)
        }
        ShardingStep::StartBalancer { on, .. } => {
            router_said(mongods.start_balancer(on.address).await)
        }
        ShardingStep::Remove {
            key,
            on,
            shard,
            command,
            ..
        } => {
            let answer = mongods
                .remove_shard(on.address, &key.cluster, shard, *command)
                .await;
            match answer {
                // Another agent was faster.
                Err(MongoError::Command { code, .. }) if code == SHARD_NOT_FOUND => {
                    Applied::AlreadyTrue
                }
                answer => router_said(answer),
            }
        }
        ShardingStep::MovePrimary {
            on, database, to, ..
        } => router_said(mongods.move_primary(on.address, database, to).await),
        ShardingStep::AddConfigShard { on, .. } => {
            router_said(mongods.add_config_shard(on.address).await)
        }
    }
}

/// `ShardNotFound` (server, `error_codes.yml`).
const SHARD_NOT_FOUND: i32 = 70;

/// A router's error codes that a step can meet, besides those of every server (`error_codes.yml`).
fn router_said(answer: Result<(), MongoError>) -> Applied {
    const LOCK_BUSY: i32 = 46;
    const CONFLICTING_OPERATION: i32 = 117;
    match answer {
        Err(MongoError::Command { code, message })
            if [LOCK_BUSY, CONFLICTING_OPERATION].contains(&code) =>
        {
            let why = format!("{message} (code {code})");
            Applied::NotYet { why }
        }
        Err(MongoError::Command { code, message }) => {
            let advice = advice(code, &message);
            match mongo_said(Err(MongoError::Command { code, message })) {
                Applied::Refused { why } => Applied::Refused {
                    why: match advice {
                        Some(advice) => format!("{why}; {advice}"),
                        None => why,
                    },
                },
                other => other,
            }
        }
        answer => mongo_said(answer),
    }
}
