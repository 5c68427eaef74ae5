//! What people and scripts see: the status, served by the real HTTP server, and what is made of it.

mod agent;
mod browser;
mod cli;
mod document;
mod http;
mod metrics;
mod page;
mod server;
mod story;
#[path = "../scenarios/text.rs"]
#[expect(dead_code, reason = "the planner's stories use all of it")]
mod text;
#[path = "../scenarios/world.rs"]
#[expect(dead_code, reason = "the planner's stories use all of it")]
mod world;
