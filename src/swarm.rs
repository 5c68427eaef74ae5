//! Docker Swarm: what we know of it ([`model`]) and how it is read ([`client`]).

pub mod client;
pub mod managers;
pub mod model;
mod transport;
