//! How a service's container starts MongoDB: program, options, port, volume.

use super::{IntentError, Role};
use crate::swarm::model::{Container, Mount};

/// The port, or 27017 with a mistake noted.
pub(super) fn port(container: &Container, errors: &mut Vec<IntentError>) -> u16 {
    mongod_port(container).unwrap_or_else(|| {
        let found = option_value(&container.command, "--port").unwrap_or_default();
        let found = found.to_owned();
        errors.push(IntentError::BadPort { found });
        27017
    })
}

/// The port that a container's mongod or mongos listens on: `--port`, else MongoDB's default for its role (manual,
/// "Default MongoDB Port"). `None` if `--port` is no port.
pub fn mongod_port(container: &Container) -> Option<u16> {
    match option_value(&container.command, "--port") {
        None => Some(default_port(container)),
        Some(found) => found.parse().ok().filter(|port| *port > 0),
    }
}

fn default_port(container: &Container) -> u16 {
    let default = |word: &String| match word.as_str() {
        "--shardsvr" => Some(27018),
        "--configsvr" => Some(27019),
        _ => None,
    };
    container.command.iter().find_map(default).unwrap_or(27017)
}

/// Whether the command has one of these options.
pub(super) fn has(container: &Container, names: &[&str]) -> bool {
    container.command.iter().any(|word| {
        let name = word.split_once('=').map_or(word.as_str(), |(name, _)| name);
        names.contains(&name)
    })
}

/// Options may stand in a configuration file, which is not read here; mongod itself will tell.
pub(super) fn has_file(container: &Container) -> bool {
    has(container, &["--config", "-f"])
}

/// The program that the command starts, if it names one: the images' entry point takes options alone for mongod's.
pub(super) fn program(container: &Container) -> Option<&str> {
    let mut words = container.command.iter();
    let found =
        words.find(|w| ["mongod", "mongos"].contains(&w.rsplit('/').next().unwrap_or(w)))?;
    found.rsplit('/').next()
}

/// Checks how a set's mongods are started.
pub(super) fn check(container: &Container, role: Role, errors: &mut Vec<IntentError>) {
    if program(container) == Some("mongos") {
        errors.push(IntentError::OtherProgram {
            found: "mongos".into(),
            role: role.name(),
            wanted: "mongod",
        });
        return;
    }
    if !has(container, &["--replSet"]) && !has_file(container) {
        errors.push(IntentError::NoReplSet);
    }
    for option in ["--configsvr", "--shardsvr"] {
        let wanted = role.option() == Some(option);
        if !wanted && has(container, &[option]) {
            errors.push(IntentError::ShardingOption {
                option: option.to_owned(),
                role: role.name(),
            });
        }
        if wanted && !has(container, &[option]) && !has_file(container) {
            errors.push(IntentError::NoRoleOption {
                option,
                role: role.name(),
            });
        }
    }
    check_volume(container, role, errors);
}

fn check_volume(container: &Container, role: Role, errors: &mut Vec<IntentError>) {
    let (path, mount) = data_mount(container, role);
    if mount.is_none_or(|m| m.source.is_none()) {
        let path = path.to_owned();
        errors.push(IntentError::NoVolume { path });
    }
}

/// mongod's data directory, and what is mounted there.
pub(crate) fn data_mount(container: &Container, role: Role) -> (&str, Option<&Mount>) {
    // mongod's own defaults (manual, `storage.dbPath`).
    let default = match role {
        Role::ConfigServer => "/data/configdb",
        Role::ReplicaSet | Role::Shard => "/data/db",
    };
    let path = option_value(&container.command, "--dbpath").unwrap_or(default);
    let holds = |target: &str| {
        let target = target.trim_end_matches('/');
        path == target || path.starts_with(&format!("{target}/"))
    };
    // The innermost mount holds the data: an anonymous volume inside a named one still loses it.
    let innermost = container
        .mounts
        .iter()
        .filter(|m| holds(&m.target))
        .max_by_key(|m| m.target.trim_end_matches('/').len());
    (path, innermost)
}

/// The value of `--name value` or `--name=value`.
pub(crate) fn option_value<'a>(command: &'a [String], name: &str) -> Option<&'a str> {
    let mut words = command.iter().map(String::as_str);
    while let Some(word) = words.next() {
        match word.strip_prefix(name) {
            Some("") => return words.next(),
            Some(rest) if rest.starts_with('=') => return rest.strip_prefix('='),
            Some(_) | None => {}
        }
    }
    None
}
