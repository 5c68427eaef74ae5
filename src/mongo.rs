//! MongoDB: what we know of a mongod ([`model`]) and how it is asked and told ([`client`]).

pub mod client;
pub mod model;
