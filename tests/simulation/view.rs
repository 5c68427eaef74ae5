//! What an agent sees of the world: its observation, made of readings as the real ones are.

use swarmset::mongo::model::{
    InitialSync, MemberReport, MemberState, MemberStatus, Replication, ServerVersion, SetReport,
};
use swarmset::names::NodeId;
use swarmset::swarm::model::Task;

use crate::mongod::Mongod;
use crate::swarm::number_of;
use crate::world::World;

impl World {
    /// A mongod's answers to the questions of a cycle; `None`: no answer.
    pub fn ask(&self, from: u8, task: &Task) -> Option<MemberReport> {
        let number = number_of(&task.id);
        let mongod = self.mongods.get(&number)?;
        if !mongod.answers(self.now) || !self.nodes_connected(from, mongod.node) {
            return None;
        }
        let replication = match mongod.conf() {
            None => Replication::NotYetInitialised {
                collections: mongod.disk.collections,
            },
            Some(_) if mongod.state == MemberState::Startup => Replication::LoadingConfig,
            Some(_) => Replication::InSet(Box::new(self.set_report(mongod))),
        };
        Some(MemberReport {
            version: ServerVersion(7, 0, 0),
            quiesce_ms: task.is_leaving().then_some(mongod.quiesce_ms),
            replication,
        })
    }

    fn set_report(&self, mongod: &Mongod) -> SetReport {
        let conf = mongod.conf().expect("it has one");
        let leads = mongod.leads();
        let is_removed = mongod.state == MemberState::Removed;
        let statuses = conf.members().iter().map(|m| self.status(mongod, m));
        SetReport {
            state: mongod.state,
            self_id: mongod.self_id,
            term: if is_removed { -1 } else { mongod.term },
            config: conf.config.clone(),
            committed: leads.then(|| self.is_committed(mongod.task)),
            newly_added: if leads {
                conf.newly_added.clone()
            } else {
                Default::default()
            },
            members: if is_removed {
                Vec::new()
            } else {
                statuses.collect()
            },
            initial_sync: (mongod.state == MemberState::Startup2).then(InitialSync::default),
        }
    }

    fn status(&self, of: &Mongod, member: &swarmset::mongo::model::MemberConfig) -> MemberStatus {
        let (id, host) = (member.id, member.host.clone());
        if of.self_id == Some(id) {
            return MemberStatus {
                id,
                host,
                state: of.state,
                healthy: true,
                applied: of.disk.oplog.last().optime(),
                sync_source: of.source.clone(),
                message: None,
            };
        }
        let known = of.known.get(&id);
        let state = known.map_or(MemberState::Unknown, |k| k.state);
        MemberStatus {
            id,
            host,
            state,
            healthy: known.is_some_and(|k| k.healthy),
            applied: known.and_then(|k| k.applied.optime()),
            sync_source: None,
            message: None,
        }
    }

    /// The agent's own node, as tasks name it.
    pub fn node_id(number: u8) -> NodeId {
        NodeId::new(format!("n{number}"))
    }
}
