//! What is on a member's disk: all that a mongod still knows when it comes back.

use std::collections::BTreeSet;
use std::rc::Rc;

use swarmset::mongo::model::{ConfigVersion, MemberConfig, SetConfig};
use swarmset::names::{Host, MemberId, ReplicaSetId, Slot};

use crate::oplog::Oplog;

/// A volume: a name with the slot in it, on one node, or one that follows its task to any node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Volume {
    pub slot: Slot,
    pub node: Option<u8>,
}

/// Where a volume's data is.
#[derive(Clone, Debug)]
pub enum Shelf {
    /// On the disk; nobody has it open.
    Free(Box<Disk>),
    /// A mongod of this task has it open, and its lock.
    InUse(u32),
}

#[derive(Clone, Debug, Default)]
pub struct Disk {
    /// Which data this is: another number after it was emptied.
    pub generation: u32,
    pub conf: Option<Rc<Conf>>,
    /// The last term in which it voted. An empty disk has forgotten it.
    pub voted: i64,
    pub oplog: Oplog,
    /// It has a complete copy: an initial sync was finished.
    pub synced: bool,
    /// Collections that are not MongoDB's own, and not a set's.
    pub collections: u64,
}

impl Disk {
    pub fn empty(generation: u32) -> Self {
        Self {
            generation,
            ..Self::default()
        }
    }
}

/// A configuration, as members store it.
#[derive(Debug, PartialEq)]
pub struct Conf {
    pub config: SetConfig,
    /// Members that do not vote yet.
    pub newly_added: BTreeSet<MemberId>,
    pub set: ReplicaSetId,
}

impl Conf {
    /// # Panics
    /// Without an identity.
    pub fn new(config: SetConfig, newly_added: BTreeSet<MemberId>) -> Rc<Self> {
        let set = config.replica_set_id().expect("an initiated set");
        Rc::new(Self {
            config,
            newly_added,
            set,
        })
    }

    pub fn version(&self) -> ConfigVersion {
        self.config.config_version()
    }

    pub fn members(&self) -> &[MemberConfig] {
        &self.config.members
    }

    pub fn votes(&self, member: &MemberConfig) -> bool {
        member.votes > 0 && !self.newly_added.contains(&member.id)
    }

    /// Those whose votes count.
    pub fn voters(&self) -> impl Iterator<Item = &MemberConfig> {
        self.members().iter().filter(|m| self.votes(m))
    }

    pub fn majority(&self) -> usize {
        self.voters().count() / 2 + 1
    }

    pub fn is_voter(&self, id: MemberId) -> bool {
        self.config.member(id).is_some_and(|m| self.votes(m))
    }

    /// The member that is found under this name or address.
    pub fn find(&self, name: &Host, address: &Host) -> Option<MemberId> {
        let here = |m: &&MemberConfig| m.host == *name || m.host == *address;
        self.members().iter().find(here).map(|m| m.id)
    }
}
