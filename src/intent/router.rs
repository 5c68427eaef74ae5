//! Services that run mongos: they hold no data, and are told where the config servers are.

use super::container::{has, has_file, option_value, port, program};
use super::{BadService, IntentError, LABEL_CLUSTER, LABEL_ROLE, ROUTER, Stop, cluster, labels};
use crate::names::{ClusterName, ServiceId, ServiceName, SetName};
use crate::swarm::model::{Service, Swarm};

/// What a service of routers asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterIntent {
    /// The service.
    pub service: ServiceId,
    /// The service's name.
    pub name: ServiceName,
    /// The cluster that they serve.
    pub cluster: ClusterName,
    /// How many it asks for; `None`: one on each node.
    pub replicas: Option<u64>,
    /// Where they find the config servers; `None`: a configuration file tells.
    pub config_db: Option<ConfigDb>,
}

/// The value of `--configdb`: the config servers' set, and hosts where it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigDb {
    /// The set's name.
    pub set: SetName,
    /// `host:port` each.
    pub seeds: Vec<String>,
}

impl ConfigDb {
    /// Reads `<set>/<host>:<port>,...`.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, IntentError> {
        let bad = |why| IntentError::BadConfigDb {
            found: text.to_owned(),
            why,
        };
        let (set, seeds) = text.split_once('/').ok_or_else(|| bad("it names no set"))?;
        if set.is_empty() {
            return Err(bad("it names no set"));
        }
        let seeds: Vec<String> = seeds.split(',').map(str::to_owned).collect();
        let is_seed = |seed: &String| {
            let host = seed.split_once(':');
            host.is_some_and(|(h, p)| !h.is_empty() && p.parse::<u16>().is_ok_and(|p| p > 0))
        };
        if !seeds.iter().all(is_seed) {
            return Err(bad("each seed has to be <host>:<port>"));
        }
        let set = SetName::new(set);
        Ok(Self { set, seeds })
    }
}

/// All services of routers that can be followed.
pub fn routers(swarm: &Swarm) -> Vec<RouterIntent> {
    let services = swarm.services.values();
    services.filter_map(|s| router(s)?.ok()).collect()
}

/// Reads one service; `None` if it is no service of routers.
pub(super) fn router(service: &Service) -> Option<Result<RouterIntent, BadService>> {
    service.labels.get(LABEL_ROLE).filter(|r| *r == ROUTER)?;
    let (container, mut errors) = (&service.container, Vec::new());
    for (label, value) in service
        .labels
        .iter()
        .filter(|(l, _)| l.starts_with("swarmset."))
    {
        match label.as_str() {
            LABEL_ROLE => {}
            LABEL_CLUSTER => errors.extend(labels::check_name(label, value).err()),
            _ => errors.push(IntentError::LabelOfOtherRole {
                label: label.clone(),
                role: ROUTER,
                allowed: "routers take swarmset.role and swarmset.cluster",
            }),
        }
    }
    // Without a word of the program the image would start mongod.
    match program(container) {
        Some("mongos") => {}
        found => errors.push(IntentError::OtherProgram {
            found: found.unwrap_or("mongod (the image's own)").to_owned(),
            role: ROUTER,
            wanted: "mongos",
        }),
    }
    for option in ["--replSet", "--configsvr", "--shardsvr"] {
        if has(container, &[option]) {
            let (option, role) = (option.to_owned(), ROUTER);
            errors.push(IntentError::ShardingOption { option, role });
        }
    }
    if Stop::of(container) == Stop::Held {
        errors.push(IntentError::HeldRouter);
    }
    let config_db = match option_value(&container.command, "--configdb") {
        Some(text) => ConfigDb::parse(text).map_err(|e| errors.push(e)).ok(),
        None if has_file(container) => None,
        None => {
            errors.push(IntentError::NoConfigDb);
            None
        }
    };
    port(container, &mut errors);
    Some(match errors.is_empty() {
        true => Ok(RouterIntent {
            service: service.id.clone(),
            name: service.name.clone(),
            cluster: cluster(service),
            replicas: service.replicas,
            config_db,
        }),
        false => Err(BadService {
            name: service.name.clone(),
            key: None,
            errors,
        }),
    })
}
