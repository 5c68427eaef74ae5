//! What people and scripts see: `/status`, `/healthz`, `/readyz`, `/metrics`. All read-only.

pub mod document;
pub mod http;
mod metrics;
mod page;
pub mod timeline;
pub mod token;
pub mod words;
