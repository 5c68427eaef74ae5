//! Which agent to ask.

use bytes::Bytes;

use super::arguments::Ask;
use super::client::{AskError, Asker, base_url};
use crate::status::document::Document;
use crate::swarm::managers;

/// An agent's answer.
pub(super) struct Found {
    /// Who answered.
    pub(super) url: String,
    /// What it said.
    pub(super) document: Document,
    /// The same, as it came.
    pub(super) body: Bytes,
}

/// Asks the agent that is named, else any that is found; then rather the one that acts, for it knows of steps.
///
/// # Errors
/// As [`AskError`] says.
pub(super) async fn find(ask: &Ask) -> Result<Found, AskError> {
    let asker = Asker::new(ask.token_file.as_deref())?;
    if let Some(given) = ask.url.as_deref().filter(|u| !u.is_empty()) {
        return get(&asker, base_url(given, ask.port)?).await;
    }
    let found = any(&asker, ask).await?;
    if found.document.agent.acts {
        return Ok(found);
    }
    let acting = match address_of_leader(&found.document) {
        Some(address) => get(&asker, at(&address, ask.port)).await.ok(),
        None => None,
    };
    Ok(acting.filter(|f| f.document.agent.acts).unwrap_or(found))
}

/// This machine's, then that of the engine's machine, then the managers'.
async fn any(asker: &Asker, ask: &Ask) -> Result<Found, AskError> {
    let mut tried = Vec::new();
    let mut hosts = vec!["127.0.0.1".to_owned()];
    hosts.extend(engine_host(&ask.docker_host));
    let mut next = 0;
    let mut engine_asked = false;
    loop {
        let Some(host) = hosts.get(next) else {
            if engine_asked {
                return Err(AskError::Nobody { tried });
            }
            engine_asked = true;
            match managers::addresses(&ask.docker_host).await {
                Ok(found) => {
                    let new: Vec<_> = found.into_iter().filter(|a| !hosts.contains(a)).collect();
                    hosts.extend(new);
                }
                Err(error) => tried.push(format!("Docker engine {}: {error}", ask.docker_host)),
            }
            continue;
        };
        match get(asker, at(host, ask.port)).await {
            Ok(found) => return Ok(found),
            // It is there: what it lacks is ours to give.
            Err(error @ AskError::Unauthorized { .. }) => return Err(error),
            Err(error) => tried.push(error.to_string()),
        }
        next += 1;
    }
}

async fn get(asker: &Asker, url: String) -> Result<Found, AskError> {
    let (document, body) = asker.status(&url).await?;
    Ok(Found {
        url,
        document,
        body,
    })
}

fn at(host: &str, port: u16) -> String {
    if host.contains(':') && !host.starts_with('[') {
        format!("http://[{host}]:{port}")
    } else {
        format!("http://{host}:{port}")
    }
}

/// The host of an engine that is reached by TCP.
fn engine_host(docker_host: &str) -> Option<String> {
    let authority = docker_host.strip_prefix("tcp://")?;
    let host = authority
        .rsplit_once(':')
        .map_or(authority, |(host, _)| host);
    Some(host.to_owned()).filter(|h| h != "127.0.0.1" && h != "localhost")
}

fn address_of_leader(document: &Document) -> Option<String> {
    let leader = document.swarm.leader.as_ref()?;
    let nodes = document.swarm.nodes.iter();
    let mut named = nodes.filter(|n| n.hostname == *leader);
    named.next()?.address.clone()
}
