//! The agent itself, beside an engine that is none: what it asks, and what it never tells.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::server::file;

const PATIENCE: Duration = Duration::from_secs(20);
/// In every place where a person might keep a secret. It is to come out nowhere.
const CANARY: &str = "canary-in-a-coal-mine";

/// An engine with one service, which wants three tasks and has one, whose mongod nobody reaches.
struct Engine {
    path: PathBuf,
    calls: Arc<Mutex<BTreeSet<String>>>,
}

impl Engine {
    fn start() -> Self {
        let path = std::env::temp_dir().join(format!("swarmset-engine-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).expect("a socket");
        let calls = Arc::new(Mutex::new(BTreeSet::new()));
        let heard = Arc::clone(&calls);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let heard = Arc::clone(&heard);
                std::thread::spawn(move || answer(stream, &heard));
            }
        });
        Self { path, calls }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn answer(mut stream: UnixStream, calls: &Mutex<BTreeSet<String>>) {
    let mut reader = BufReader::new(stream.try_clone().expect("the stream"));
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|n| n > 0) {
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let call = path.split('?').next().unwrap_or_default().to_owned();
        let method = line.split(' ').next().unwrap_or_default().to_owned();
        calls
            .lock()
            .expect("the calls")
            .insert(format!("{method} {call}"));
        while reader.read_line(&mut line).is_ok_and(|n| n > 2) {}
        line.clear();
        let body = match call.trim_start_matches("/v1.41") {
            "/version" => {
                json!({ "ApiVersion": "1.41", "MinAPIVersion": "1.12", "Version": "20.10.24" })
            }
            "/services" => json!([service()]),
            "/tasks" => json!([task()]),
            "/nodes" => json!([node()]),
            "/configs" => json!([]),
            "/events" => {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n");
                continue;
            }
            _ => json!({ "message": "no such path" }),
        };
        let body = body.to_string();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        if stream.write_all((head + &body).as_bytes()).is_err() {
            return;
        }
    }
}

fn service() -> Value {
    json!({
        "ID": "service1",
        "Spec": {
            "Name": "app_mongo",
            "Labels": { "com.docker.stack.namespace": "app", "swarmset.role": "replica-set", "password": CANARY },
            "TaskTemplate": { "ContainerSpec": container() },
            "Mode": { "Replicated": { "Replicas": 3 } },
        },
    })
}

fn container() -> Value {
    json!({
        "Image": "mongo:7.0",
        "Labels": { "password": CANARY },
        "Command": ["mongod", "--setParameter", CANARY],
        "Args": ["--replSet", "rs"],
        "Env": [format!("MONGO_INITDB_ROOT_PASSWORD={CANARY}")],
        "Hostname": "{{.Service.Name}}-{{.Task.Slot}}-{{.Node.ID}}",
        "Mounts": [{ "Type": "volume", "Source": "{{.Service.Name}}-{{.Task.Slot}}", "Target": "/data/db",
            "VolumeOptions": { "DriverConfig": { "Name": "local", "Options": { "o": format!("password={CANARY}") } } } }],
        "Healthcheck": { "Test": ["CMD-SHELL", format!("mongosh -p {CANARY} --eval 'rs.status()'")] },
    })
}

fn task() -> Value {
    json!({
        "ID": "task1", "ServiceID": "service1", "Slot": 1, "NodeID": "node1", "DesiredState": "running",
        "Status": { "State": "running" },
        "Spec": { "ContainerSpec": container() },
        "NetworksAttachments": [{ "Network": { "ID": "net1" }, "Addresses": ["127.0.0.9/8"] }],
    })
}

fn node() -> Value {
    json!({
        "ID": "node1",
        "Spec": { "Availability": "active", "Labels": { "password": CANARY } },
        "Description": { "Hostname": "n1" },
        "Status": { "State": "ready", "Addr": "10.0.0.1" },
        "ManagerStatus": { "Leader": true },
    })
}

/// The agent, and all that it writes to its log.
struct Agent {
    child: Child,
    log: Arc<Mutex<String>>,
    address: SocketAddr,
}

impl Agent {
    fn start(engine: &Engine, level: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .expect("a port")
            .local_addr()
            .expect("it")
            .port();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let secret = |name: &str| file(name, CANARY);
        let mut child = Command::new(env!("CARGO_BIN_EXE_swarmset"))
            .args(["agent", "--docker-host"])
            .arg(format!("unix://{}", engine.path.display()))
            .args(["--listen", &address.to_string(), "--token-file"])
            .arg(secret("agent-token"))
            .arg("--key-file")
            .arg(secret("agent-key"))
            .env("SWARMSET_LOG", level)
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("the program");
        let log = Arc::new(Mutex::new(String::new()));
        let kept = Arc::clone(&log);
        let mut stderr = child.stderr.take().expect("its log");
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = stderr.read(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..n]).into_owned();
                kept.lock().expect("the log").push_str(&text);
            }
        });
        Self {
            child,
            log,
            address,
        }
    }

    fn get(&self, path: &str, token: &str) -> String {
        let ask = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect(self.address)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            write!(
                stream,
                "GET {path} HTTP/1.0\r\nAuthorization: Bearer {token}\r\n\r\n"
            )?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        ask().unwrap_or_default()
    }

    fn until(&self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        let began = Instant::now();
        loop {
            let status = self.get("/status", CANARY);
            if is_so(&status) {
                return status;
            }
            let log = self.log.lock().expect("the log");
            assert!(
                began.elapsed() < PATIENCE,
                "{what}: not within {PATIENCE:?}\n{status}\n{log}"
            );
            drop(log);
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_tells_what_it_sees_and_no_secret_and_asks_only_what_the_readme_lists() {
    let engine = Engine::start();
    let agent = Agent::start(&engine, "trace");
    let status = agent.until("two cycles", |s| {
        s.contains("not-answering") && !s.contains("\"number\": 1,")
    });
    for part in [
        "\"about\": \"service app_mongo\"",
        "virtual-ip",
        "health-check-needs-set",
        "entrypoint-bypassed",
        "1 of 3 tasks",
        "\"address\": \"10.0.0.1\"",
    ] {
        assert!(status.contains(part), "no {part} in\n{status}");
    }
    let mut said = status;
    for path in [
        "/", "/status", "/readyz", "/metrics", "/healthz", "/nowhere",
    ] {
        for token in [CANARY, "canary-in-a-coal-mint", ""] {
            said.push_str(&agent.get(path, token));
        }
    }
    assert!(
        said.contains("401 Unauthorized") && said.contains("swarmset_converged 0"),
        "{said}"
    );
    said.push_str(&agent.log.lock().expect("the log"));
    assert!(
        said.contains("docker call"),
        "the log has nothing at this level:\n{said}"
    );
    let at = said.find(CANARY);
    assert!(
        at.is_none(),
        "a secret came out: {}",
        &said[at.unwrap_or(0).saturating_sub(300)..][..400]
    );

    let calls = engine.calls.lock().expect("the calls").clone();
    let listed = [
        "/version",
        "/v1.41/services",
        "/v1.41/tasks",
        "/v1.41/nodes",
        "/v1.41/configs",
        "/v1.41/events",
    ];
    let listed: BTreeSet<_> = listed.iter().map(|path| format!("GET {path}")).collect();
    assert_eq!(calls, listed);
}
