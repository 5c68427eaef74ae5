use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::names::{NodeId, TaskId};
use crate::swarm::model::{
    Availability, DesiredState, EndpointMode, Mount, Node, NodeDetails, ServiceDetails, TaskState,
    UpdateState,
};

fn service(labels: &[(&str, &str)], command: &[&str]) -> Service {
    let own = |(label, value): &(&str, &str)| ((*label).to_owned(), (*value).to_owned());
    Service {
        id: ServiceId::new("id"),
        name: ServiceName::new("app_mongo"),
        labels: labels.iter().map(own).collect(),
        replicas: Some(3),
        container: Arc::new(Container {
            image: "mongo:7.0".into(),
            command: command.iter().map(|w| (*w).to_owned()).collect(),
            hostname: Some("{{.Service.Name}}-{{.Task.Slot}}-{{.Node.ID}}".into()),
            stop_signal: Some("SIGCONT".into()),
            stop_grace_seconds: Some(900),
            mounts: vec![mount(Some("data"), "/data/db")],
            force_update: 0,
        }),
        endpoint_mode: EndpointMode::Dnsrr,
        update: UpdateState::Settled,
        details: ServiceDetails::default(),
    }
}

fn mount(source: Option<&str>, target: &str) -> Mount {
    Mount {
        source: source.map(str::to_owned),
        target: target.to_owned(),
    }
}

const ROLE: (&str, &str) = (LABEL_ROLE, "replica-set");
const REPL_SET: &[&str] = &["mongod", "--replSet", "rs"];

/// The messages for a service with these labels beside the role.
fn mistakes(labels: &[(&str, &str)]) -> Vec<String> {
    errors(&service(&[labels, &[ROLE]].concat(), REPL_SET))
}

fn errors(service: &Service) -> Vec<String> {
    match intent(service) {
        Some(Err(bad)) => bad.errors.iter().map(ToString::to_string).collect(),
        Some(Ok(_)) => Vec::new(),
        None => panic!("it is ours"),
    }
}

fn options(labels: &[(&str, &str)]) -> MemberOptions {
    let service = service(&[labels, &[ROLE]].concat(), REPL_SET);
    match intent(&service) {
        Some(Ok(intent)) => intent.members,
        other => panic!("{other:?}"),
    }
}

// ---- labels -------------------------------------------------------------------------------------

#[test]
fn a_service_without_labels_of_ours_is_not_ours() {
    assert_eq!(intent(&service(&[], &["nginx"])), None);
    assert_eq!(intent(&service(&[("traefik.enable", "true")], &[])), None);
    assert_eq!(intent(&service(&[("swarmsetter.role", "x")], &[])), None);
}

#[test]
fn values_that_are_allowed() {
    for (label, value) in [
        ("swarmset.priority", "0.5"),
        ("swarmset.priority", "1000"),
        ("swarmset.priority.3", "0"),
        ("swarmset.votes.12", "1"),
        ("swarmset.hidden.2", "true"),
        ("swarmset.hidden", "false"),
        ("swarmset.arbiter", "false"),
        ("swarmset.cluster", "shop_2-b"),
        ("swarmset.replica-set", "rs"),
    ] {
        assert_eq!(
            mistakes(&[(label, value)]),
            Vec::<String>::new(),
            "{label}={value}"
        );
    }
}

#[test]
fn values_that_are_not_allowed_are_named_with_those_that_are() {
    for (label, value, allowed) in [
        ("swarmset.priority", "high", "a number from 0 to 1000"),
        ("swarmset.priority", "-1", "a number from 0 to 1000"),
        ("swarmset.priority", "1000.1", "a number from 0 to 1000"),
        ("swarmset.priority", "NaN", "a number from 0 to 1000"),
        ("swarmset.priority", "", "a number from 0 to 1000"),
        ("swarmset.priority.2", "2,5", "a number from 0 to 1000"),
        ("swarmset.votes", "2", "0, 1"),
        ("swarmset.votes.1", "true", "0, 1"),
        ("swarmset.hidden", "yes", "true, false"),
        ("swarmset.hidden.4", "True", "true, false"),
        ("swarmset.arbiter", "1", "true, false"),
        (
            "swarmset.arbiter.3",
            "true",
            "false: an arbiter holds no data",
        ),
        ("swarmset.cluster", "", "1 to 24 letters"),
        ("swarmset.cluster", "a b", "1 to 24 letters"),
        ("swarmset.replica-set", "rs/host", "1 to 24 letters"),
        (
            "swarmset.replica-set",
            "a-name-of-twenty-five-lett",
            "1 to 24 letters",
        ),
    ] {
        let found = mistakes(&[(label, value)]);
        let wanted = format!("label {label}={value:?}: allowed {allowed}");
        let is_named = found.iter().any(|f| f.starts_with(&wanted));
        assert!(is_named, "{label}={value}: {found:?}");
    }
}

#[test]
fn labels_that_mean_nothing() {
    for label in [
        "swarmset.priorty",
        "swarmset.priority.0",
        "swarmset.priority.-1",
        "swarmset.priority.1.2",
        "swarmset.role.1",
        "swarmset.cluster.1",
        "swarmset.",
    ] {
        let found = mistakes(&[(label, "1")]);
        assert!(
            found[0].starts_with(&format!("label {label} is not known; known are ")),
            "{found:?}"
        );
    }
}

#[test]
fn the_role_is_what_makes_a_service_ours() {
    let without = service(&[("swarmset.votes", "1")], REPL_SET);
    assert_eq!(
        errors(&without),
        [
            "label swarmset.votes is set, but swarmset.role is not; add swarmset.role: replica-set (or config-server, shard, router)"
        ]
    );
    for role in ["", "replicaset", "Replica-Set", "routers"] {
        let found = errors(&service(&[(LABEL_ROLE, role)], REPL_SET));
        assert!(
            found[0].starts_with(&format!(
                "label swarmset.role={role:?}: allowed replica-set"
            )),
            "{found:?}"
        );
    }
}

#[test]
fn a_slot_goes_before_all() {
    let options = options(&[
        ("swarmset.priority", "2"),
        ("swarmset.priority.1", "10"),
        ("swarmset.hidden.3", "true"),
        ("swarmset.priority.3", "0"),
        ("swarmset.votes.4", "0"),
        ("swarmset.priority.4", "0"),
    ]);
    let of = |slot| {
        let slot = Some(Slot(slot));
        (
            options.priority(slot),
            options.votes(slot),
            options.hidden(slot),
        )
    };
    assert_eq!(of(1), (10.0, true, false));
    assert_eq!(of(2), (2.0, true, false));
    assert_eq!(of(3), (0.0, true, true));
    assert_eq!(of(4), (0.0, false, false));
    assert_eq!(options.priority(None), 2.0);
}

#[test]
fn without_labels_mongodbs_own_defaults() {
    let options = options(&[]);
    let slot = Some(Slot(1));
    assert_eq!(
        (
            options.priority(slot),
            options.votes(slot),
            options.hidden(slot)
        ),
        (1.0, true, false)
    );
}

#[test]
fn who_is_hidden_or_has_no_vote_has_priority_0_by_default() {
    let options = options(&[("swarmset.hidden.2", "true"), ("swarmset.votes.3", "0")]);
    assert_eq!(options.priority(Some(Slot(2))), 0.0);
    assert_eq!(options.priority(Some(Slot(3))), 0.0);
    assert_eq!(options.priority(Some(Slot(1))), 1.0);
}

#[test]
fn combinations_that_the_server_refuses() {
    for labels in [
        &[("swarmset.hidden.2", "true"), ("swarmset.priority.2", "1")][..],
        &[("swarmset.votes.2", "0"), ("swarmset.priority", "3")],
        &[("swarmset.priority", "0")],
        &[("swarmset.hidden", "true")],
        &[("swarmset.votes", "0")],
    ] {
        let found = mistakes(labels);
        assert_eq!(found.len(), 1, "{labels:?}: {found:?}");
        assert!(found[0].starts_with("label swarmset.priority"), "{found:?}");
    }
    let one_may = [("swarmset.priority", "0"), ("swarmset.priority.1", "1")];
    assert_eq!(mistakes(&one_may), Vec::<String>::new());
}

// ---- names --------------------------------------------------------------------------------------

#[test]
fn cluster_and_set() {
    let stack = ("com.docker.stack.namespace", "app");
    let config_file: &[&str] = &["mongod", "--config", "/etc/mongod.conf"];
    for (labels, command, key) in [
        (&[ROLE][..], REPL_SET, "app_mongo/rs"),
        (&[ROLE, stack], REPL_SET, "app/rs"),
        (&[ROLE, stack, (LABEL_CLUSTER, "shop")], REPL_SET, "shop/rs"),
        (&[ROLE, stack], &["--replSet=blue"], "app/blue"),
        (&[ROLE, stack], config_file, "app/app_mongo"),
        (
            &[ROLE, stack, (LABEL_REPLICA_SET, "green")],
            config_file,
            "app/green",
        ),
        (
            &[ROLE, stack, (LABEL_REPLICA_SET, "rs")],
            REPL_SET,
            "app/rs",
        ),
    ] {
        match intent(&service(labels, command)) {
            Some(Ok(intent)) => assert_eq!(intent.key.to_string(), key),
            other => panic!("{labels:?} {command:?}: {other:?}"),
        }
    }
}

#[test]
fn label_and_option_must_agree() {
    let found = mistakes(&[(LABEL_REPLICA_SET, "shop")]);
    assert_eq!(
        found,
        ["label swarmset.replica-set says shop, --replSet says rs; make them the same"]
    );
}

#[test]
fn options_with_a_space_or_an_equals_sign() {
    for (command, value) in [
        (&["--port", "1"][..], Some("1")),
        (&["--port=1"], Some("1")),
        (&["--port="], Some("")),
        (&["--port"], None),
        (&["--ports", "1"], None),
        (&["--ports=1"], None),
        (&["--dbpath", "--port"], None),
        (&[], None),
    ] {
        let command: Vec<_> = command.iter().map(|w| (*w).to_owned()).collect();
        assert_eq!(option_value(&command, "--port"), value, "{command:?}");
    }
}

#[test]
fn ports() {
    for (command, port) in [
        (&[][..], Some(27017)),
        (&["--port", "27018"], Some(27018)),
        (&["--port=1"], Some(1)),
        (&["--port", "0"], None),
        (&["--port", "65536"], None),
        (&["--port", "x"], None),
        (&["--shardsvr"], Some(27018)),
        (&["--configsvr"], Some(27019)),
        (&["--configsvr", "--port", "27017"], Some(27017)),
    ] {
        let container = service(&[ROLE], command).container;
        assert_eq!(mongod_port(&container), port, "{command:?}");
    }
    let bad = service(&[ROLE], &["--replSet", "rs", "--port", "0"]);
    assert_eq!(errors(&bad), ["--port \"0\": allowed 1 to 65535"]);
}

// ---- the container ------------------------------------------------------------------------------

#[test]
fn a_replica_set_needs_its_option_and_no_role_in_a_sharded_cluster() {
    assert_eq!(
        errors(&service(&[ROLE], &["mongod"])),
        ["command has no --replSet; add --replSet <name>"]
    );
    for option in ["--configsvr", "--shardsvr"] {
        let found = errors(&service(&[ROLE], &["--replSet", "rs", option]));
        assert_eq!(
            found,
            [format!(
                "command has {option}, which role replica-set does not take; remove it"
            )]
        );
    }
}

#[test]
fn the_data_must_be_in_a_volume_with_a_name() {
    let named = || mount(Some("v"), "/data/db");
    let anonymous = |target| mount(None, target);
    for (dbpath, mounts, is_kept) in [
        ("", vec![named()], true),
        ("", vec![mount(Some("v"), "/data/db/")], true),
        ("", vec![mount(Some("v"), "/data")], true),
        ("", vec![mount(Some("/srv/mongo"), "/data/db")], true),
        ("/data/db/rs", vec![named()], true),
        ("", vec![], false),
        ("", vec![anonymous("/data/db")], false),
        ("", vec![mount(Some("v"), "/data/configdb")], false),
        ("", vec![mount(Some("v"), "/data/dbs")], false),
        ("/data/dbs", vec![named()], false),
        ("/bitnami/mongodb", vec![named()], false),
        (
            "",
            vec![mount(Some("v"), "/data"), anonymous("/data/db")],
            false,
        ),
        ("", vec![anonymous("/data"), named()], true),
    ] {
        let mut service = service(&[ROLE], REPL_SET);
        if !dbpath.is_empty() {
            Arc::make_mut(&mut service.container)
                .command
                .push(format!("--dbpath={dbpath}"));
        }
        Arc::make_mut(&mut service.container).mounts = mounts.clone();
        assert_eq!(errors(&service).is_empty(), is_kept, "{dbpath} {mounts:?}");
    }
}

#[test]
fn how_a_stop_is_taken() {
    let mut container = Container::default();
    assert_eq!(Stop::of(&container), Stop::Signalled { grace_seconds: 10 });
    container.stop_grace_seconds = Some(60);
    for (signal, is_held) in [
        ("SIGCONT", true),
        ("CONT", true),
        ("18", true),
        ("SIGWINCH", true),
        ("SIGTERM", false),
        ("SIGQUIT", false),
        ("SIGKILL", false),
        ("SIGUSR1", false),
        ("SIGINT", false),
        ("", false),
    ] {
        container.stop_signal = Some(signal.into());
        let expected = match is_held {
            true => Stop::Held,
            false => Stop::Signalled { grace_seconds: 60 },
        };
        assert_eq!(Stop::of(&container), expected, "{signal}");
    }
}

#[test]
fn replicas_of_a_set() {
    let mut service = service(&[ROLE], REPL_SET);
    for (replicas, message) in [
        (Some(0), None),
        (Some(50), None),
        (
            Some(51),
            Some("51 replicas; a replica set has at most 50 members"),
        ),
        (
            None,
            Some(
                "deploy.mode is not replicated; members need slots: use mode replicated with replicas",
            ),
        ),
    ] {
        service.replicas = replicas;
        assert_eq!(errors(&service).first().map(String::as_str), message);
    }
}

// ---- all services -------------------------------------------------------------------------------

fn named(name: &str, labels: &[(&str, &str)], set: &str) -> Service {
    let mut service = service(
        &[&[ROLE, (LABEL_CLUSTER, "app")], labels].concat(),
        &["--replSet", set],
    );
    service.id = ServiceId::new(name);
    service.name = ServiceName::new(name);
    service
}

fn all(services: &[Service]) -> Intents {
    let mut swarm = Swarm::default();
    for service in services {
        swarm.services.insert(service.id.clone(), service.clone());
    }
    intents(&swarm)
}

#[test]
fn one_name_two_services() {
    let found = all(&[
        named("a", &[], "rs"),
        named("b", &[], "rs"),
        named("c", &[], "other"),
    ]);
    let sets: Vec<_> = found.sets.keys().map(ToString::to_string).collect();
    assert_eq!(sets, ["app/other"]);
    let contested: Vec<_> = found.contested.into_values().flatten().collect();
    assert_eq!(contested, [ServiceName::new("a"), ServiceName::new("b")]);
}

#[test]
fn a_service_with_a_mistake_keeps_its_name() {
    let found = all(&[
        named("a", &[], "rs"),
        named("b", &[("swarmset.votes", "x")], "rs"),
    ]);
    assert!(found.sets.is_empty());
    assert_eq!(found.bad.len(), 1);
    assert_eq!(found.contested.len(), 1);
}

// ---- host names ---------------------------------------------------------------------------------

#[test]
fn templates_that_are_refused() {
    for (template, why) in [
        ("mongo", "all tasks would have the same name"),
        ("{{.Service.Name}}", "all tasks would have the same name"),
        ("{{.Task.ID}}", "is new at each restart"),
        ("{{.Service.Name}}-{{.Task.Name}}", "is new at each restart"),
        (
            "{{.Service.ID}}-{{.Task.Slot}}",
            "{{.Service.ID}} is not known",
        ),
        ("{{.Task.Slot", "{{ without }}"),
        ("", "all tasks would have the same name"),
    ] {
        match HostTemplate::parse(template) {
            Err(IntentError::BadHostname { why: found, .. }) => {
                assert!(found.contains(why), "{template}: {found}");
            }
            other => panic!("{template}: {other:?}"),
        }
    }
}

fn task(slot: u64, node: &str, hostname: &str) -> (Task, Swarm) {
    let id = NodeId::new(node);
    let mut swarm = Swarm::default();
    swarm.nodes.insert(
        id.clone(),
        Node {
            id: id.clone(),
            hostname: hostname.into(),
            ready: true,
            availability: Availability::Active,
            leader: false,
            manager: false,
            details: NodeDetails::default(),
        },
    );
    let task = Task {
        id: TaskId::new("t"),
        service: ServiceId::new("id"),
        slot: Some(Slot(slot)),
        node: Some(id),
        desired: DesiredState::Running,
        state: TaskState::Running,
        container: Arc::default(),
        addresses: Vec::new(),
        created: None,
        reported: None,
        error: None,
    };
    (task, swarm)
}

#[test]
fn names_by_template() {
    let (task, swarm) = task(12, "9x8k", "Worker-3.example");
    let name = ServiceName::new("app_mongo");
    for (template, expected) in [
        (
            "{{.Service.Name}}-{{.Task.Slot}}-{{.Node.ID}}",
            "app_mongo-12-9x8k",
        ),
        ("{{ .Task.Slot }}.db", "12.db"),
        ("db-{{.Node.Hostname}}", "db-Worker-3.example"),
    ] {
        let template = HostTemplate::parse(template).expect("a template");
        assert_eq!(
            template.expand(&name, &task, &swarm).as_deref(),
            Some(expected)
        );
    }
}

#[test]
fn no_name_without_a_node() {
    let (mut task, swarm) = task(1, "n1", "one");
    let name = ServiceName::new("mongo");
    let expand = |template: &str, task: &Task, swarm: &Swarm| {
        HostTemplate::parse(template)
            .expect("a template")
            .expand(&name, task, swarm)
    };
    assert_eq!(expand("{{.Node.Hostname}}", &task, &Swarm::default()), None);
    task.node = None;
    assert_eq!(expand("{{.Task.Slot}}-{{.Node.ID}}", &task, &swarm), None);
    assert_eq!(
        expand("{{.Service.Name}}-{{.Task.Slot}}", &task, &swarm).as_deref(),
        Some("mongo-1")
    );
    task.slot = None;
    assert_eq!(
        expand("{{.Service.Name}}-{{.Task.Slot}}", &task, &swarm),
        None
    );
}

#[test]
fn names_of_others_are_not_recognised() {
    let Some(Ok(intent)) = intent(&service(&[ROLE], REPL_SET)) else {
        panic!("a good service");
    };
    let slot = |host: &str| intent.recognises(&Host::from(host));
    assert_eq!(slot("app_mongo-3-abc1:27017"), Some(Some(Slot(3))));
    for host in [
        "app_mongo-3-abc1:27018",
        "app_mongo-3-abc1",
        "app_mongo-3:27017",
        "app_mongo-x-abc1:27017",
        "app_mongo--abc1:27017",
        "app_mongo-3-ABC1:27017",
        "app_mongo-3-abc1.example:27017",
        "other_mongo-3-abc1:27017",
        "app_mongo2-3-abc1:27017",
        "10.0.1.7:27017",
        "app_mongo-99999999999999999999999-abc1:27017",
    ] {
        assert_eq!(slot(host), None, "{host}");
    }
}

/// Templates whose parts can be told apart: something stands between two placeholders.
fn template() -> impl Strategy<Value = String> {
    let placeholder = prop::sample::subsequence(
        vec!["{{.Service.Name}}", "{{.Task.Slot}}", "{{.Node.ID}}"],
        1..=3,
    );
    let order = placeholder.prop_shuffle();
    let between = prop::sample::select(vec!["-", ".", "_", "-x-"]);
    (order, between, "[a-z]{0,3}", any::<bool>()).prop_map(|(parts, between, first, hostname)| {
        let mut parts: Vec<_> = parts.into_iter().map(str::to_owned).collect();
        if hostname {
            parts.push("{{.Node.Hostname}}".into());
        }
        let joined = parts.join(between);
        if first.is_empty() {
            joined
        } else {
            format!("{first}{between}{joined}")
        }
    })
}

proptest! {
    /// Whose name it is can be told from the name alone.
    #[test]
    fn a_name_leads_back_to_its_slot(
        text in template(),
        slot in 1u64..100,
        node in "[a-z0-9]{1,25}",
        hostname in "[a-zA-Z0-9][a-zA-Z0-9.-]{0,12}",
        service in "[a-z][a-z0-9_-]{0,10}",
    ) {
        prop_assume!(HostTemplate::parse(&text).is_ok());
        let template = HostTemplate::parse(&text).expect("a template");
        let service = ServiceName::new(service);
        let (task, swarm) = task(slot, &node, &hostname);
        let name = template.expand(&service, &task, &swarm).expect("a name");
        let expected = text.contains("Slot").then_some(Slot(slot));
        prop_assert_eq!(template.recognise(&service, &name), Some(expected), "{} made {}", text, name);
    }

    /// No two tasks have one name, where the template tells both slot and node.
    #[test]
    fn names_are_told_apart(slots in prop::collection::btree_set(1u64..60, 2..6), nodes in prop::collection::btree_set("[a-z0-9]{25}", 2..4)) {
        let template = HostTemplate::parse("{{.Service.Name}}-{{.Task.Slot}}-{{.Node.ID}}").expect("a template");
        let service = ServiceName::new("mongo");
        let mut names = BTreeSet::new();
        for slot in &slots {
            for node in &nodes {
                let (task, swarm) = task(*slot, node, "host");
                names.extend(template.expand(&service, &task, &swarm));
            }
        }
        prop_assert_eq!(names.len(), slots.len() * nodes.len());
    }

    /// Any text is a template or a mistake, and any name is recognised or not: nothing panics.
    #[test]
    fn any_text_is_taken(text in "(\\{\\{|\\}\\}|\\.Task\\.Slot|\\.Node\\.ID|[a-z0-9 .-]){0,8}", name in "\\PC{0,20}") {
        if let Ok(template) = HostTemplate::parse(&text) {
            let _ = template.recognise(&ServiceName::new("mongo"), &name);
        }
    }
}
