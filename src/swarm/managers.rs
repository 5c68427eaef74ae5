//! Where the managers are, as any node's engine knows: for the command line, which looks for an agent there.

use bollard::errors::Error;
use serde::Deserialize;

use super::transport::Transport;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Info {
    swarm: Option<SwarmInfo>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SwarmInfo {
    node_addr: Option<String>,
    remote_managers: Option<Vec<Peer>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Peer {
    addr: Option<String>,
}

/// The managers' addresses without ports, the engine's own node first. By one `GET /info`.
///
/// # Errors
/// The address is not `unix://…` or `tcp://…`, or the engine does not answer.
pub async fn addresses(docker_host: &str) -> Result<Vec<String>, Error> {
    let transport = Transport::to(docker_host).ok_or_else(|| Error::UnsupportedURISchemeError {
        uri: docker_host.to_owned(),
    })?;
    let info: Info = serde_json::from_slice(&transport.get("/info").await?)?;
    Ok(from_info(info))
}

fn from_info(info: Info) -> Vec<String> {
    let Some(swarm) = info.swarm else {
        return Vec::new();
    };
    let own = swarm.node_addr.filter(|a| !a.is_empty());
    let managers = swarm.remote_managers.into_iter().flatten();
    let managers = managers.filter_map(|m| Some(m.addr?.rsplit_once(':')?.0.to_owned()));
    let mut found: Vec<String> = Vec::new();
    for address in own.into_iter().chain(managers) {
        if !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_the_node_and_of_the_managers() {
        let info = r#"{"Name": "n2", "Swarm": {"NodeID": "x", "NodeAddr": "10.0.0.2", "RemoteManagers": [
            {"NodeID": "x", "Addr": "10.0.0.2:2377"}, {"NodeID": "y", "Addr": "[fd00::1]:2377"}]}}"#;
        let info = serde_json::from_str(info).expect("an answer of the engine");
        assert_eq!(from_info(info), ["10.0.0.2", "[fd00::1]"]);
        let none = r#"{"Swarm": {"NodeAddr": "", "RemoteManagers": null}}"#;
        assert_eq!(
            from_info(serde_json::from_str(none).expect("JSON")),
            [""; 0]
        );
    }
}
