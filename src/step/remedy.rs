//! What to do if a reason stays: plain words for somebody who has just been woken up.

use super::{Fault, ShardingFault, ShardingWait, Waiting};

impl Waiting {
    /// Its name, for metrics: `no-primary` …
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Sharding(of_cluster) => of_cluster.into(),
            other => other.into(),
        }
    }

    /// What to do if it stays.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::SwarmUnreadable { .. } => {
                "Bring a majority of the Swarm's managers back; look at the engine on this node."
            }
            Self::TasksMissing { .. } => {
                "docker service ps --no-trunc shows why tasks are not placed: constraints, resources, image."
            }
            Self::TasksSurplus { .. } | Self::LoadingConfig { .. } => {
                "Nothing: this takes a moment. If it stays, read the service's log."
            }
            Self::NotAnswering { .. } => {
                "Read its log (docker service logs); check the key file and the network that it shares with the agent."
            }
            Self::NoPrimary { .. } => {
                "Bring the missing members' nodes back. Nothing is ever forced."
            }
            Self::PrimaryElsewhere { .. } => "rs.stepDown() there, or give it priority 0.",
            Self::NotCommitted { .. } => "Bring missing members back, so that a majority has it.",
            Self::CatchingUp { .. } => {
                "Wait for the copy. If it takes long, raise stop_grace_period above that time."
            }
            Self::Unhealthy { .. } => "Look at this member: its log, its node, its disk.",
            Self::SuccessorNotReady { .. } => "Look at its successor, which is still on its way.",
            Self::NoWordFromSwarm { .. } | Self::Restarting { .. } => {
                "docker service ps shows what Swarm is about to do. A lost node is given up by: docker node rm --force."
            }
            Self::MajorityAtRisk { .. } => "Bring another member back first.",
            Self::NoCandidate { .. } => {
                "Wait for a member that stays to catch up; look at the members' priorities."
            }
            Self::SuccessorBehind { .. } => {
                "Wait for its successor; if it stays behind, look at its disk and its network."
            }
            Self::RestartInTurn { .. } => "Look at the other member.",
            Self::TwoTasks { .. } => "Wait for the old task to end; look at its node.",
            Self::OldTaskUnheard { .. } => {
                "Bring its node back, or give it up: docker node rm --force."
            }
            Self::Dissolving { .. } => {
                "Wait. If they stay, the agent may not be able to log in: see the last steps."
            }
            Self::HeldBack { .. } => "Please report it: this is a mistake of the agent's.",
            Self::BeyondFifty { .. } => "Scale the service down.",
            Self::Stranger { .. } => "rs.remove() it on the primary if it is not yours.",
            Self::Sharding(of_cluster) => of_cluster.advice(),
        }
    }
}

impl Fault {
    /// Its name, for metrics: `data-missing` …
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Sharding(of_cluster) => of_cluster.into(),
            other => other.into(),
        }
    }

    /// What to do.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::BadService { .. } => {
                "Change the service as the text says; nothing of its set is touched until then."
            }
            Self::ContestedName { .. } => "Give each service its own --replSet.",
            Self::ForeignMember { .. } => "Move its volume away, or deploy it where it belongs.",
            Self::SeveralSets { .. } => "Leave the volumes of one set, move the others away.",
            Self::HoldsData { .. } => {
                "Save its data and empty its volume, or initiate by hand there."
            }
            Self::DataMissing { .. } => {
                "Bring the volumes back: was a task placed on another node? Only if the data is given up for good, remove the config."
            }
            Self::ClaimDiffers { .. } => {
                "If nothing was ever written, remove the config object; else bring the old volumes back."
            }
            Self::ClaimUnreadable { .. } => "Remove the config object if it is not ours.",
            Self::NotReplicated { .. } => "Add --replSet to the command or the configuration file.",
            Self::TooOld { .. } => "Deploy a newer image.",
            Self::OtherSetName { .. } => "Give the set its own name back, or use an empty volume.",
            Self::EmptyDisk { .. } => "Bring another member back first.",
            Self::StepRefused { .. } => {
                "The server's words say why; it is tried again, ever more seldom."
            }
            Self::IdentityDiffers { .. } => {
                "Bring the old volumes back; or, for good, remove the config object."
            }
            Self::Sharding(of_cluster) => of_cluster.advice(),
        }
    }
}

impl ShardingWait {
    /// What to do if it stays.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::RouterNotAnswering { .. } | Self::RoutersMissing { .. } | Self::NoRouter => {
                "Look at the routers: docker service ps --no-trunc, and their log."
            }
            Self::ClusterUnread { .. } | Self::ConfigServersFirst { .. } => {
                "Look at the config servers first: everything else needs them."
            }
            Self::ShardWithoutPrimary { .. } | Self::ContentUnread { .. } => {
                "Look at this shard's own set."
            }
            Self::BooksBehind { .. } => "Nothing for a moment; then restart one router.",
            Self::InTurn { .. } => "Look at the set that is named.",
            Self::Draining { .. } | Self::DrainBegins { .. } | Self::PendingCleanup { .. } => {
                "Wait: the balancer sets the pace."
            }
            Self::MovingDatabase { .. } => "Wait, and leave its unsharded collections alone.",
            Self::BalancerOff { .. } => "Nothing: it is started.",
            Self::BalancerWindow { .. } => {
                "Wait for the window, or widen it (activeWindow in config.settings)."
            }
            Self::DrainInTurn { .. } => "Wait for the other shard.",
            Self::DrainNotAsked { .. } => "Set swarmset.drain: \"true\" on its service.",
            Self::SafeToRemove { .. } => "Remove the service when you like.",
            Self::ConfigShardDrained { .. } => "Take the label away.",
        }
    }
}

impl ShardingFault {
    /// What to do.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::NoConfigServers { .. } => "Deploy a service with swarmset.role: config-server.",
            Self::SeveralConfigServers { .. } => "Give each cluster a swarmset.cluster of its own.",
            Self::NoRouterService => "Deploy a service with swarmset.role: router.",
            Self::OtherConfigServers { .. } => {
                "Make --configdb and the config servers' set the same."
            }
            Self::HoldsData { .. } => "Drop its databases, or deploy it with an empty volume.",
            Self::OtherCluster { .. } => "Deploy it in its own cluster, or with an empty volume.",
            Self::NameTaken { .. } => "Give the service another --replSet.",
            Self::LastShard { .. } => "Deploy another shard first.",
            Self::JumboChunks { .. } => "Split the chunks, refine the key, or clear the mark.",
            Self::NotBalanced { .. } => "sh.enableBalancing() for each.",
            Self::CollectionsToMove { .. } => "Move each by moveCollection.",
            Self::ScaledToZero { .. } => "Scale it back; drain it before it goes.",
            Self::ServiceGone { .. } => "Deploy the service again; drain it before it goes.",
            Self::ConfigServersNeeded { .. } => "Bring the config servers' service back.",
            Self::ConfigShardTooOld { .. } => "Deploy MongoDB 8.0 or later everywhere first.",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_names_as_metrics_have_them() {
        assert_eq!(
            Waiting::TasksMissing {
                found: 0,
                wanted: 3,
                detail: None
            }
            .kind(),
            "tasks-missing"
        );
        let fault = Fault::StepRefused {
            step: String::new(),
            why: String::new(),
        };
        assert_eq!(fault.kind(), "step-refused");
    }
}
