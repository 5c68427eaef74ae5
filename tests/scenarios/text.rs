//! The language in which scenarios say what there is. One line says one thing; a later line about the same thing
//! takes its place.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::SignedDuration;
use swarmset::mongo::model::{
    BEYOND_SEVEN, InitialSync, MemberConfig, MemberState, ServerVersion, SetConfig,
};
use swarmset::names::{Host, MemberId, ServiceId, ServiceName, SetName};
use swarmset::swarm::model::{
    Availability, Claim, ClaimContent, Container, DesiredState, EndpointMode, Mount, Service,
    ServiceDetails, TaskState, UpdateState,
};

use crate::world::{
    Answer, ClaimWorld, Membership, Mongod, ServiceWorld, SetWorld, TaskWorld, World, ago,
    identity, node,
};

const TEMPLATE: &str = "{{.Service.Name}}-{{.Task.Slot}}-{{.Node.ID}}";
const NAME_OF_HELD: &str = "swarmsetName";

pub type Parsed<T = ()> = Result<T, String>;

impl World {
    /// Takes one line.
    pub fn say(&mut self, line: &str) -> Parsed {
        let words = words(line)?;
        let Some((first, rest)) = words.split_first() else {
            return Ok(());
        };
        match first.as_str() {
            "swarm" => self.swarm_line(rest),
            "node" => self.node_line(rest),
            "service" => self.service_line(rest),
            "task" => self.task_line(rest),
            "forget" => self.forget_line(rest),
            "claim" => self.claim_line(rest),
            "config" => self.config_line(rest),
            "cluster" | "shard" | "removal" | "content" | "obstacles" => {
                self.sharding_line(first, rest)
            }
            other => Err(format!("{other:?} is not known")),
        }
    }

    /// The service that was named last.
    pub fn current(&mut self) -> Parsed<&mut ServiceWorld> {
        self.services
            .last_mut()
            .ok_or_else(|| "no service yet".into())
    }

    fn swarm_line(&mut self, words: &[String]) -> Parsed {
        self.swarm = match texts(words).as_slice() {
            ["readable"] => Answer::Seen,
            ["empty"] => Answer::Empty,
            ["unreadable", why] => Answer::Unreadable((*why).into()),
            _ => return Err("readable, empty or unreadable \"why\"".into()),
        };
        Ok(())
    }

    fn node_line(&mut self, words: &[String]) -> Parsed {
        let is_state = |w: &str| ["down", "drain", "up"].contains(&w);
        let (names, states): (Vec<_>, Vec<_>) =
            words.iter().map(String::as_str).partition(|w| !is_state(w));
        for name in names {
            let mut node = node(name);
            node.ready = !states.contains(&"down");
            if states.contains(&"drain") {
                node.availability = Availability::Drain;
            }
            self.nodes.insert(name.to_owned(), node);
        }
        Ok(())
    }

    fn service_line(&mut self, words: &[String]) -> Parsed {
        let (name, rest) = words.split_first().ok_or("service NAME …")?;
        let at = self.services.iter().position(|s| s.key == *name);
        let mut service = match at {
            Some(at) => self.services.remove(at),
            None => new_service(name),
        };
        for word in rest {
            service_word(&mut service, word)?;
        }
        self.services.push(service);
        Ok(())
    }

    /// `1..9 n* …` is nine lines in one.
    fn task_line(&mut self, words: &[String]) -> Parsed {
        if let Some((first, last)) = words.first().and_then(|w| w.split_once("..")) {
            for slot in number::<u64>(first)?..=number(last)? {
                let slot = slot.to_string();
                let mut words = words.to_vec();
                words[0].clone_from(&slot);
                words[1] = words[1].replace('*', &slot);
                self.task_line(&words)?;
            }
            return Ok(());
        }
        let service = self.current()?;
        let task = task(service, words)?;
        match service.tasks.iter_mut().find(|t| t.name == task.name) {
            Some(old) => {
                let address = old.address;
                *old = task;
                old.address = old.address.or(address);
            }
            None => service.tasks.push(task),
        }
        Ok(())
    }

    fn forget_line(&mut self, words: &[String]) -> Parsed {
        let service = self.current()?;
        for name in words {
            let before = service.tasks.len();
            service.tasks.retain(|t| t.name != *name);
            if service.tasks.len() == before {
                return Err(format!("no task {name}"));
            }
        }
        Ok(())
    }

    fn claim_line(&mut self, words: &[String]) -> Parsed {
        let service = self.current()?;
        let mut claim = Claim {
            id: "claim".into(),
            version: 10,
            created: Some(ago(SignedDuration::from_hours(720))),
            content: Ok(ClaimContent {
                initiator: None,
                members: Vec::new(),
            }),
            replica_set_id: None,
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.split_once('=').unwrap_or((word, "")) {
                ("missing", "") => {
                    service.claim = ClaimWorld::Missing;
                    return Ok(());
                }
                ("unreadable", "") => {
                    claim.content = Err(words.next().cloned().unwrap_or_default());
                }
                ("age", age) => claim.created = Some(ago(duration(age)?)),
                ("id", id) => claim.replica_set_id = Some(identity(letter(id)?)),
                ("members", hosts) => {
                    let members: Vec<_> = hosts
                        .split(',')
                        .map(|h| host(h, service.port()).to_string())
                        .collect();
                    claim.content = Ok(ClaimContent {
                        initiator: members.first().cloned(),
                        members,
                    });
                }
                ("adopted", "") => {
                    if let Ok(content) = &mut claim.content {
                        content.initiator = None;
                    }
                }
                _ => return Err(format!("claim: {word:?}")),
            }
        }
        service.claim = ClaimWorld::Is(Box::new(claim));
        Ok(())
    }

    /// `config [id=A] version=3 term=1 [uncommitted]: 0=mongo-1-n1 1=mongo-2-n2(votes=0,hidden)`
    fn config_line(&mut self, words: &[String]) -> Parsed {
        self.complete();
        let service = self.current()?;
        let at = words.iter().position(|w| w == ":").unwrap_or(words.len());
        let (fields, members) = words.split_at(at);
        let of = fields.iter().find_map(|w| w.strip_prefix("id="));
        let of = of.map_or(Ok('A'), letter)?;
        let name = service.set_name();
        let mut set = match (service.sets.remove(&of), members.is_empty()) {
            (Some(set), _) => set,
            (None, _) => SetWorld::new(crate::world::new_config(&name, of)),
        };
        for field in fields {
            match field.split_once('=').unwrap_or((field, "")) {
                ("id", _) => {}
                ("version", version) => set.config.version = number(version)?,
                ("term", "none") => set.config.term = None,
                ("term", term) => set.config.term = Some(number(term)?),
                ("set", name) => set.config.set = SetName::new(name),
                ("committed", "") => set.committed = Some(true),
                ("uncommitted", "") => set.committed = Some(false),
                ("commitment-unknown", "") => set.committed = None,
                _ => return Err(format!("config: {field:?}")),
            }
        }
        if !members.is_empty() {
            set.config.members.clear();
            set.newly_added.clear();
            for word in &members[1..] {
                member(&mut set, word, service.port())?;
            }
        }
        service.sets.insert(of, set);
        Ok(())
    }
}

/// `mongo`; `mongo#old` is another service of the same name, from another time.
fn new_service(key: &str) -> ServiceWorld {
    let name = key.split('#').next().unwrap_or(key);
    let stack = ("com.docker.stack.namespace".to_owned(), "app".to_owned());
    let role = ("swarmset.role".to_owned(), "replica-set".to_owned());
    ServiceWorld {
        key: key.to_owned(),
        service: Service {
            id: ServiceId::new(format!("{key}-id")),
            name: ServiceName::new(name),
            labels: BTreeMap::from([stack, role]),
            replicas: Some(3),
            container: Arc::new(Container {
                image: "mongo:7.0".into(),
                command: vec!["--replSet".into(), "rs".into()],
                hostname: Some(TEMPLATE.into()),
                stop_signal: Some("SIGCONT".into()),
                stop_grace_seconds: Some(900),
                mounts: vec![Mount {
                    source: Some(format!("app_{name}-{{{{.Task.Slot}}}}")),
                    target: "/data/db".into(),
                }],
                force_update: 1,
            }),
            endpoint_mode: EndpointMode::Dnsrr,
            update: UpdateState::Settled,
            details: ServiceDetails::default(),
        },
        gone: false,
        tasks: Vec::new(),
        sets: BTreeMap::new(),
        claim: ClaimWorld::Usual,
    }
}

fn service_word(world: &mut ServiceWorld, word: &str) -> Parsed {
    let service = &mut world.service;
    let container = Arc::make_mut(&mut service.container);
    let (key, value) = word.split_once('=').unwrap_or((word, ""));
    let text = || value.to_owned();
    let option = |command: &mut Vec<String>, name: &str| {
        if let Some(at) = command.iter().position(|w| w == name) {
            command.drain(at..at + 2);
        }
        if value != "none" {
            command.extend([name.to_owned(), text()]);
        }
    };
    match key {
        "gone" => world.gone = true,
        "role" => crate::world::sharding::role(service, value),
        "configdb" => option(&mut container.command, "--configdb"),
        "replicas" => service.replicas = value.parse().ok(),
        "set" => option(&mut container.command, "--replSet"),
        "port" => option(&mut container.command, "--port"),
        "dbpath" => option(&mut container.command, "--dbpath"),
        "word" => container.command.push(text()),
        "stop" if value == "held" => container.stop_signal = Some("SIGCONT".into()),
        "stop" if value == "sigterm" => {
            container.stop_signal = None;
            container.stop_grace_seconds = Some(60);
        }
        "stop" => container.stop_signal = Some(text()),
        "grace" if value == "default" => container.stop_grace_seconds = None,
        "grace" => container.stop_grace_seconds = Some(number(value)?),
        "hostname" => container.hostname = Some(text()).filter(|t| t != "none"),
        "volume" if value == "none" => container.mounts.clear(),
        "volume" if value == "anonymous" => container.mounts.iter_mut().for_each(|m| {
            m.source = None;
        }),
        "image" => container.image = text(),
        "update" => container.force_update = number(value)?,
        "stack" if value == "none" => {
            service.labels.remove("com.docker.stack.namespace");
        }
        "stack" => {
            service
                .labels
                .insert("com.docker.stack.namespace".into(), text());
        }
        label if label.starts_with("swarmset.") && value == "none" => {
            service.labels.remove(label);
        }
        label if label.starts_with("swarmset.") => {
            service.labels.insert(label.to_owned(), text());
        }
        _ => return Err(format!("service: {word:?}")),
    }
    Ok(())
}

/// `1 n1 running primary lag=3 …`: name (its digits are the slot), node or `-`, what Swarm says, what mongod says.
fn task(service: &ServiceWorld, words: &[String]) -> Parsed<TaskWorld> {
    let [name, node, state, rest @ ..] = words else {
        return Err("task NAME NODE STATE [MONGOD]".into());
    };
    let (desired, state) = match state.as_str() {
        "pending" => (DesiredState::Running, TaskState::Pending),
        "starting" => (DesiredState::Running, TaskState::Starting),
        "running" => (DesiredState::Running, TaskState::Running),
        "ready" => (DesiredState::Ready, TaskState::Pending),
        "stopping" => (DesiredState::Shutdown, TaskState::Running),
        "removing" => (DesiredState::Remove, TaskState::Running),
        "ended" => (DesiredState::Shutdown, TaskState::Ended),
        "failed" => (DesiredState::Running, TaskState::Ended),
        "orphaned" => (DesiredState::Shutdown, TaskState::Orphaned),
        other => return Err(format!("task: state {other:?}")),
    };
    let digits: String = name.chars().take_while(char::is_ascii_digit).collect();
    let mut task = TaskWorld {
        name: name.clone(),
        slot: digits.parse().ok(),
        node: Some(node.clone()).filter(|n| n != "-"),
        desired,
        state,
        address: None,
        created: None,
        error: None,
        container: None,
        mongod: Mongod::Silent("connection refused".into()),
        seen: None,
        version: ServerVersion(7, 0, 5),
        quiesce_ms: 15_000,
    };
    let mut rest = rest.iter();
    while let Some(word) = rest.next() {
        match word.as_str() {
            "silent" => {
                task.mongod = Mongod::Silent("connection refused".into());
            }
            "error" => task.error = rest.next().cloned(),
            word => task_word(service, &mut task, word)?,
        }
    }
    Ok(task)
}

fn task_word(service: &ServiceWorld, task: &mut TaskWorld, word: &str) -> Parsed {
    let (key, value) = word.split_once('=').unwrap_or((word, ""));
    let in_set = |mongod: &mut Mongod, change: &dyn Fn(&mut Membership) -> Parsed| match mongod {
        Mongod::InSet(membership) => change(membership),
        _ => Err(format!("task: {word:?} only for a member")),
    };
    match key {
        "empty" => task.mongod = Mongod::Empty(0),
        "holding" => task.mongod = Mongod::Empty(number(value)?),
        "router" => task.mongod = Mongod::Router,
        "standalone" => task.mongod = Mongod::Standalone,
        "loading" => task.mongod = Mongod::Loading,
        "of" => in_set(&mut task.mongod, &|m| {
            m.of = letter(value)?;
            Ok(())
        })?,
        "lag" => in_set(&mut task.mongod, &|m| {
            m.lag = (value != "unknown").then(|| number(value)).transpose()?;
            Ok(())
        })?,
        "term" => in_set(&mut task.mongod, &|m| {
            m.term = Some(number(value)?);
            Ok(())
        })?,
        "self" => in_set(&mut task.mongod, &|m| {
            m.self_id = Some(MemberId(number(value)?));
            Ok(())
        })?,
        "copied" => in_set(&mut task.mongod, &|m| {
            let (done, all) = value.split_once('/').ok_or("copied=40/100")?;
            m.sync = Some(InitialSync {
                bytes_in_all: Some(number::<i64>(all)? * 1_000_000),
                bytes_copied: Some(number::<i64>(done)? * 1_000_000),
            });
            Ok(())
        })?,
        "resumes" => in_set(&mut task.mongod, &|m| {
            m.sync = None;
            Ok(())
        })?,
        "seen" => task.seen = Some(state(value)?),
        "version" => task.version = ServerVersion::parse(value).ok_or("version=7.0.5")?,
        "created" => task.created = Some(ago(duration(value)?)),
        "quiesce" => task.quiesce_ms = number(value)?,
        "address" if value == "none" => task.address = Some(std::net::Ipv4Addr::UNSPECIFIED.into()),
        "address" => task.address = Some(value.parse().map_err(|_| "address=10.0.1.1")?),
        "before-update" => {
            let mut container = service.service.container.clone();
            Arc::make_mut(&mut container).force_update -= 1;
            task.container = Some(container);
        }
        "stop" | "grace" | "port" | "hostname" => {
            let mut other = service.clone();
            other.service.container = task
                .container
                .take()
                .unwrap_or(service.service.container.clone());
            service_word(&mut other, word)?;
            task.container = Some(other.service.container);
        }
        _ => task.mongod = Mongod::InSet(Membership::new('A', state(key)?)),
    }
    Ok(())
}

/// `0=mongo-1-n1(priority=2,hidden,tags.dc=east)`
fn member(set: &mut SetWorld, word: &str, port: u16) -> Parsed {
    let (id, rest) = word.split_once('=').ok_or("ID=HOST")?;
    let (name, attributes) = match rest.split_once('(') {
        Some((name, attributes)) => (name, attributes.trim_end_matches(')')),
        None => (rest, ""),
    };
    let id = MemberId(number(id)?);
    let mut member = MemberConfig::new(id, host(name, port));
    for attribute in attributes.split(',').filter(|a| !a.is_empty()) {
        match attribute.split_once('=').unwrap_or((attribute, "")) {
            ("votes", votes) => member.votes = number(votes)?,
            ("priority", priority) => member.priority = number(priority)?,
            ("hidden", "") => member.hidden = true,
            ("arbiter", "") => member.arbiter_only = true,
            ("newly-added", "") => {
                set.newly_added.insert(id);
            }
            ("beyond-seven", "") => member.put_beyond_seven(),
            ("name", name) => {
                let name = host(name, port);
                member.tags.insert(NAME_OF_HELD, name.as_str());
            }
            ("seen", seen) => {
                set.seen.insert(id, state(seen)?);
            }
            (tag, value) if tag.starts_with("tags.") => {
                member.tags.insert(&tag["tags.".len()..], value);
            }
            (field, value) => {
                member.other.insert(field, number::<i64>(value)?);
            }
        }
        if member.votes == 0 {
            member.priority = 0.0;
        }
    }
    set.config.members.push(member);
    Ok(())
}

/// A configuration, in the words in which one is said.
pub fn show_config(config: &SetConfig) -> String {
    let members: Vec<_> = config.members.iter().map(show_member).collect();
    format!("version={} : {}", config.version, members.join(" "))
}

fn show_member(member: &MemberConfig) -> String {
    let mut attributes = Vec::new();
    let beyond = member.is_beyond_seven();
    if beyond {
        attributes.push("beyond-seven".to_owned());
    }
    if member.votes == 0 && !beyond {
        attributes.push("votes=0".to_owned());
    }
    if member.priority != 1.0 && member.votes > 0 {
        attributes.push(format!("priority={}", member.priority));
    }
    if member.hidden {
        attributes.push("hidden".to_owned());
    }
    if member.arbiter_only {
        attributes.push("arbiter".to_owned());
    }
    for (tag, value) in &member.tags {
        let value = value.as_str().unwrap_or_default();
        match tag.as_str() {
            NAME_OF_HELD => attributes.push(format!("name={}", short(value))),
            BEYOND_SEVEN => {}
            tag => attributes.push(format!("tags.{tag}={value}")),
        }
    }
    for (field, value) in &member.other {
        attributes.push(format!("{field}={value}"));
    }
    let host = short(member.host.as_str());
    match attributes.is_empty() {
        true => format!("{}={host}", member.id),
        false => format!("{}={host}({})", member.id, attributes.join(",")),
    }
}

fn short(host: &str) -> &str {
    host.trim_end_matches(":27017")
}

pub fn host(name: &str, port: u16) -> Host {
    match name.contains(':') {
        true => Host::new(name),
        false => Host::new(format!("{name}:{port}")),
    }
}

fn state(name: &str) -> Parsed<MemberState> {
    Ok(match name {
        "startup" => MemberState::Startup,
        "primary" => MemberState::Primary,
        "secondary" => MemberState::Secondary,
        "recovering" => MemberState::Recovering,
        "startup2" => MemberState::Startup2,
        "unknown" => MemberState::Unknown,
        "arbiter" => MemberState::Arbiter,
        "down" => MemberState::Down,
        "rollback" => MemberState::Rollback,
        "removed" => MemberState::Removed,
        other => return Err(format!("{other:?} is not known")),
    })
}

pub fn letter(text: &str) -> Parsed<char> {
    let mut letters = text.chars();
    match (letters.next(), letters.next()) {
        (Some(letter @ 'A'..='F'), None) => Ok(letter),
        _ => Err(format!("an identity is A to F, not {text:?}")),
    }
}

pub fn number<T: std::str::FromStr>(text: &str) -> Parsed<T> {
    text.parse().map_err(|_| format!("{text:?} is no number"))
}

pub fn duration(text: &str) -> Parsed<SignedDuration> {
    let (count, unit) = text.split_at(text.len().saturating_sub(1));
    let count = number(count)?;
    Ok(match unit {
        "s" => SignedDuration::from_secs(count),
        "m" => SignedDuration::from_mins(count),
        "h" => SignedDuration::from_hours(count),
        "d" => SignedDuration::from_hours(24 * count),
        _ => return Err(format!("{text:?} is no time")),
    })
}

pub fn texts(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

/// Words, with "quoted ones" kept whole; a comma or colon after a word is one of its own where it ends it.
pub fn words(line: &str) -> Parsed<Vec<String>> {
    let (mut words, mut word, mut quoted, mut any) = (Vec::new(), String::new(), false, false);
    for c in line.chars() {
        match c {
            '"' => (quoted, any) = (!quoted, true),
            '#' if !quoted && word.is_empty() => break,
            c if c.is_whitespace() && !quoted => {
                if any || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                any = false;
            }
            c => word.push(c),
        }
    }
    if quoted {
        return Err("a quote is not closed".into());
    }
    if any || !word.is_empty() {
        words.push(word);
    }
    let split = |w: String| match w.strip_suffix(':') {
        Some(before) if !before.is_empty() => vec![before.to_owned(), ":".into()],
        _ => vec![w],
    };
    Ok(words.into_iter().flat_map(split).collect())
}
