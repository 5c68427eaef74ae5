//! What the planned steps do to a world where all goes well: a convenience for stories, no simulation.

#[path = "routers.rs"]
mod routers;

use swarmset::mongo::model::{MemberState, SetConfig};
use swarmset::names::TaskId;
use swarmset::plan::plan;
use swarmset::step::{Plan, Step, Target};
use swarmset::swarm::model::{Claim, TaskState};

use crate::world::{ClaimWorld, Membership, Mongod, ServiceWorld, SetWorld, World, identity, now};

impl World {
    /// Plans, and does it.
    pub fn apply_plan(&mut self) -> Plan {
        let plan = plan(&self.observe());
        for step in &plan.steps {
            self.apply(step);
        }
        plan
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Claim {
                key,
                content,
                replica_set_id,
            } => {
                let service = self.of_set(&key.claim_name());
                assert!(service.claim().is_none(), "a claim is made once");
                service.claim = ClaimWorld::Is(Box::new(Claim {
                    id: "claim".into(),
                    version: 10,
                    created: Some(now()),
                    content: Ok(content.clone()),
                    replica_set_id: replica_set_id.clone(),
                }));
            }
            Step::RecordIdentity {
                key,
                claim,
                replica_set_id,
            } => {
                let service = self.of_set(&key.claim_name());
                let mut claim = claim.clone();
                claim.version += 1;
                claim.replica_set_id = Some(replica_set_id.clone());
                service.claim = ClaimWorld::Is(Box::new(claim));
            }
            Step::Initiate { key, config, .. } => {
                self.of_set(&key.claim_name()).initiate(config);
            }
            Step::StandForElection { key, on, .. } => {
                self.of_set(&key.claim_name()).elect(&on.task);
            }
            Step::HandOver { key, to, .. } => {
                self.of_set(&key.claim_name()).elect(&to.task);
            }
            Step::Reconfigure {
                key, base, config, ..
            } => self.of_set(&key.claim_name()).reconfigure(base, config),
            Step::ExtendQuiesce {
                on, milliseconds, ..
            } => {
                for target in on {
                    let (service, at) = self.find(&target.task);
                    service.tasks[at].quiesce_ms = *milliseconds;
                }
            }
            Step::ShutDown { on, .. } => self.shut_down(on),
            Step::Sharding(step) => self.apply_sharding(step),
        }
    }

    /// Time passes: initial syncs end, and the server gives each newcomer its vote.
    pub fn catch_up(&mut self) {
        self.cluster.balance();
        for service in &mut self.services {
            let alive = |t: &&mut crate::world::TaskWorld| t.is_alive();
            for task in service.tasks.iter_mut().filter(alive) {
                if let Mongod::InSet(m) = &mut task.mongod
                    && matches!(m.state, MemberState::Startup2 | MemberState::Recovering)
                {
                    *m = Membership::new(m.of, MemberState::Secondary);
                }
            }
            let ids: Vec<_> = service
                .tasks
                .iter()
                .filter(
                    |t| matches!(&t.mongod, Mongod::InSet(m) if m.state == MemberState::Secondary),
                )
                .filter_map(|t| service.self_id(t))
                .collect();
            for set in service.sets.values_mut() {
                for id in &ids {
                    if set.newly_added.remove(id) {
                        set.config.version += 1;
                    }
                }
            }
        }
    }

    /// This task's mongod is elected.
    pub fn elect(&mut self, name: &str) -> Result<(), String> {
        self.complete();
        let service = self.current()?;
        let task = service.tasks.iter().find(|t| t.name == name);
        let id = service.task_id(task.ok_or_else(|| format!("no task {name}"))?);
        service.elect(&id);
        Ok(())
    }

    pub fn of_set(&mut self, claim: &str) -> &mut ServiceWorld {
        let mut services = self.services.iter_mut();
        let found = services.find(|s| s.claim_name() == claim);
        found.unwrap_or_else(|| panic!("no service with {claim}"))
    }

    fn find(&mut self, id: &TaskId) -> (&mut ServiceWorld, usize) {
        for service in &mut self.services {
            let at = service.tasks.iter().position(|t| service.task_id(t) == *id);
            if let Some(at) = at {
                return (service, at);
            }
        }
        panic!("no task {id}");
    }

    /// It ends, Swarm forgets it, and the task that waited for its name and data starts.
    fn shut_down(&mut self, on: &Target) {
        let (service, at) = self.find(&on.task);
        let ended = service.tasks.remove(at);
        let host = service.host(&ended);
        let waits = |t: &crate::world::TaskWorld| t.is_wanted() && !is_up(&t.mongod);
        let next = service
            .tasks
            .iter()
            .position(|t| waits(t) && service.host(t) == host);
        let Some(next) = next else {
            return;
        };
        let mut mongod = ended.mongod;
        let voters = match &mongod {
            Mongod::InSet(m) => service.sets[&m.of].config.votes(),
            _ => 0,
        };
        if let Mongod::InSet(m) = &mut mongod
            && m.state == MemberState::Primary
            && voters > 1
        {
            m.state = MemberState::Secondary;
        }
        let task = &mut service.tasks[next];
        task.desired = swarmset::swarm::model::DesiredState::Running;
        task.state = TaskState::Running;
        task.mongod = mongod;
    }
}

fn is_up(mongod: &Mongod) -> bool {
    !matches!(mongod, Mongod::Silent(_))
}

impl ServiceWorld {
    fn initiate(&mut self, config: &SetConfig) {
        let mut config = config.clone();
        config.settings = crate::world::new_config(&config.set, 'A').settings;
        let hosts: Vec<_> = config.members.iter().map(|m| m.host.clone()).collect();
        let mut set = SetWorld::new(config);
        set.config.term = None;
        self.sets.insert('A', set);
        for at in 0..self.tasks.len() {
            let host = self.host(&self.tasks[at]);
            if host.is_some_and(|h| hosts.contains(&h)) && self.tasks[at].is_wanted() {
                self.tasks[at].mongod = Mongod::InSet(Membership::new('A', MemberState::Secondary));
            }
        }
    }

    fn elect(&mut self, id: &TaskId) {
        let at = self.tasks.iter().position(|t| self.task_id(t) == *id);
        let at = at.expect("the candidate is a task");
        let Mongod::InSet(candidate) = &self.tasks[at].mongod else {
            panic!("{id} is no member");
        };
        let of = candidate.of;
        for task in &mut self.tasks {
            if let Mongod::InSet(m) = &mut task.mongod
                && m.of == of
            {
                m.term = None;
                if m.state == MemberState::Primary {
                    m.state = MemberState::Secondary;
                }
            }
        }
        if let Mongod::InSet(m) = &mut self.tasks[at].mongod {
            m.state = MemberState::Primary;
        }
        let config = &mut self.sets.get_mut(&of).expect("its set").config;
        config.term = Some(config.term.unwrap_or(0) + 1);
    }

    fn reconfigure(&mut self, base: &SetConfig, config: &SetConfig) {
        let of = ('A'..='F')
            .find(|l| Some(identity(*l)) == config.replica_set_id())
            .expect("an identity");
        let set = self.sets.get_mut(&of).expect("a known set");
        assert_eq!(set.config, *base, "it starts from what there is");
        assert_eq!(config.version, base.version + 1);
        for member in &config.members {
            if base.member(member.id).is_none() && member.votes > 0 {
                set.newly_added.insert(member.id);
            }
        }
        set.newly_added.retain(|id| config.member(*id).is_some());
        let was_member = |c: &SetConfig, id| c.member(id).is_some();
        let before: Vec<_> = self.tasks.iter().map(|t| self.self_id(t)).collect();
        self.sets.get_mut(&of).expect("its set").config = config.clone();
        for (at, before) in before.into_iter().enumerate() {
            let host = self.host(&self.tasks[at]);
            let joins = config
                .members
                .iter()
                .any(|m| Some(m.identity()) == host && !was_member(base, m.id));
            let task = &mut self.tasks[at];
            if joins && is_up(&task.mongod) {
                task.mongod = Mongod::InSet(Membership::new(of, MemberState::Startup2));
            } else if before.is_some_and(|id| was_member(base, id) && !was_member(config, id))
                && matches!(&task.mongod, Mongod::InSet(m) if m.of == of)
            {
                task.mongod = Mongod::InSet(Membership::new(of, MemberState::Removed));
            }
        }
    }
}
