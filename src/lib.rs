//! **swarmset** organises MongoDB on Docker Swarm.
//!
//! ```text
//! observe ──► Observation ──► plan ──► Plan ──► apply ──► wait (event, step done, or tick) ──► again
//! ```
//!
//! [`observation`] holds what was seen; [`plan`] decides, without clock, client or memory; [`step`] is what may be
//! done. Swarm proposes (tasks start and are told to stop), the agent disposes (members join, vote, leave).
//!
//! Who may import whom: `names ← swarm::model, mongo::model, intent ← observation ← step ← plan`. These are pure:
//! no tokio, no bollard, no driver; and so is [`doctor`], which reads observations and changes nothing. I/O is in
//! `swarm::client`, `mongo::client`, `observe`, `apply`, `agent`, `status::http` and `cli`. What people see is made from
//! one [`status::document::Document`] a cycle: JSON, page, metrics, and the command line's text.
//!
//! Words: Swarm's (service, task, slot, node, manager, desired state) and MongoDB's (replica set, member, primary,
//! voter, configuration version and term, initiate, reconfigure). Ours: *intent*, what labels and specification
//! ask for; *observation*; *plan*; *step*, one change; *cycle*, once around.

pub mod agent;
pub mod apply;
pub mod cli;
pub mod doctor;
pub mod history;
pub mod intent;
pub mod mongo;
pub mod names;
pub mod observation;
pub mod observe;
pub mod plan;
pub mod retry;
pub mod status;
pub mod step;
pub mod swarm;
