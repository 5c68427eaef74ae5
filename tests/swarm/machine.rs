//! One machine of the lab: namespaces on this computer with a Docker engine of their own.

use crate::ground::{self, BRIDGE, ROOT};
use crate::http;
use crate::tools::{self, PATIENCE};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A machine that may be running, unplugged or plugged in again; its disk stays over all of that.
pub struct Machine {
    /// 1, 2 …: also the last part of its address.
    pub number: usize,
    /// `node1` …: its host name, and the node's name in the Swarm.
    pub name: String,
    directory: PathBuf,
}

impl Machine {
    /// A machine that does not run yet; its disk is empty.
    pub fn new(number: usize) -> Self {
        Self::named(number, &format!("node{number}"))
    }

    /// Like [`Machine::new`], with another name than `node<number>`.
    pub fn named(number: usize, name: &str) -> Self {
        Self {
            number,
            name: name.to_owned(),
            directory: Path::new(ROOT).join(name),
        }
    }

    /// Its address on the bridge.
    pub fn address(&self) -> String {
        ground::address(self.number)
    }

    /// Where the Docker engine keeps its data.
    pub fn disk(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// What the Docker engine wrote to its log.
    pub fn engine_log(&self) -> PathBuf {
        self.directory.join("dockerd.log")
    }

    /// Plugs the machine in. Returns before its Docker engine is up: see [`Machine::await_engine`].
    pub fn plug_in(&self) -> Result<()> {
        let _held = ground::hold();
        fs::create_dir_all(&self.directory)?;
        let script = self.directory.join("machine-init");
        fs::write(&script, include_str!("machine-init"))?;
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.directory.join("console.log"))?;
        let child = Command::new("unshare")
            .args([
                "--mount", "--uts", "--ipc", "--net", "--pid", "--fork", "sh",
            ])
            .arg(script)
            .args([&self.name, &format!("{}/24", self.address())])
            .arg(&self.directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .context("cannot start unshare")?;
        ground::reap_in_background(child);
        let since = Instant::now();
        while !self.runs() {
            if since.elapsed() > Duration::from_secs(10) {
                bail!(
                    "{} does not start: see {}",
                    self.name,
                    self.directory.join("console.log").display()
                );
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.plug_in_cable()
    }

    /// A network card whose hardware address stays the same over restarts, as a real one's does.
    fn plug_in_cable(&self) -> Result<()> {
        let port = self.port();
        let hardware = format!("02:99:00:00:00:{:02x}", self.number);
        let card = [
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "address",
            &hardware,
            "netns",
            &self.pid()?,
        ];
        ground::ip(&[&["link", "add", port.as_str()], &card[..]].concat())?;
        ground::ip(&["link", "set", &port, "master", BRIDGE, "up"])?;
        Ok(())
    }

    /// Pulls the plug: engine, shims and containers end at once and unwarned. The disk stays.
    ///
    /// The cable goes first, else the kernel would close the dead machine's connections in its name,
    /// and others would learn of the death sooner than they do in earnest.
    pub fn unplug(&self) -> Result<()> {
        if Path::new("/sys/class/net").join(self.port()).exists() {
            ground::ip(&["link", "del", &self.port()])?;
        }
        ground::kill_by_record(&self.directory)
    }

    fn port(&self) -> String {
        format!("{}{}", ground::PORT_PREFIX, self.name)
    }

    /// Whether the machine is plugged in.
    pub fn runs(&self) -> bool {
        fs::read_to_string(self.directory.join("pid")).is_ok_and(|record| ground::runs(&record))
    }

    /// The process id of the machine's first process, as this computer counts.
    pub fn pid(&self) -> Result<String> {
        let record = fs::read_to_string(self.directory.join("pid"))
            .with_context(|| format!("{} is not plugged in", self.name))?;
        Ok(record
            .split_whitespace()
            .next()
            .unwrap_or_default()
            .to_owned())
    }

    /// Waits until the Docker engine answers.
    pub fn await_engine(&self) -> Result<()> {
        let since = Instant::now();
        while !self.engine("/_ping").is_ok_and(|answer| answer == "OK") {
            if since.elapsed() > Duration::from_secs(40) {
                bail!(
                    "the Docker engine of {} does not start: see {}",
                    self.name,
                    self.engine_log().display()
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Runs `docker …` against this machine's engine.
    pub fn docker(&self, limit: Duration, args: &[&str], env: &[(&str, &str)]) -> Result<String> {
        let host = format!("unix://{}", self.socket().display());
        let config = self.directory.join("docker-cli").display().to_string();
        let env = [env, &[("DOCKER_CONFIG", &config)]].concat();
        tools::run_with(limit, &[&["docker", "--host", &host], args].concat(), &env)
    }

    /// Runs `docker …` with everything that it prints going to a file.
    pub fn docker_to(&self, file: fs::File, args: &[&str]) -> Result<()> {
        let host = format!("unix://{}", self.socket().display());
        let docker = ["20s", "docker", "--host", &host];
        Command::new("timeout")
            .args(docker)
            .args(args)
            .stdout(file.try_clone()?)
            .stderr(file)
            .status()?;
        Ok(())
    }

    /// Asks the Docker engine's own interface for a piece of JSON.
    pub fn ask(&self, path: &str) -> Result<Value> {
        let body = self.engine(&format!("/v1.41{path}"))?;
        serde_json::from_str(&body).with_context(|| format!("{path}: {body}"))
    }

    fn engine(&self, path: &str) -> Result<String> {
        let answer = http::get_from_socket(&self.socket(), path)
            .with_context(|| format!("{} does not answer", self.name))?;
        if answer.code != 200 {
            bail!(
                "{} answers {} to {path}: {}",
                self.name,
                answer.code,
                answer.body.trim()
            );
        }
        Ok(answer.body)
    }

    fn socket(&self) -> PathBuf {
        self.directory.join("docker.sock")
    }

    /// Runs a program on the machine: its processes, its mounts, its network.
    pub fn run(&self, argv: &[&str]) -> Result<String> {
        let pid = self.pid()?;
        let enter = [
            "nsenter", "--target", &pid, "--mount", "--uts", "--ipc", "--net", "--pid", "--",
        ];
        tools::run(PATIENCE, &[&enter, argv].concat())
    }

    /// Sends a signal to a process, by its number on the machine.
    pub fn signal(&self, signal: &str, pid: &str) -> Result<()> {
        self.run(&["sh", "-c", "kill -$0 $1", signal, pid])
            .map(drop)
    }

    /// Drops what comes in from an address, all of it or only what matches some more conditions.
    pub fn drop_from(&self, address: &str, conditions: &[&str]) -> Result<()> {
        let rule = [
            "iptables",
            "-w",
            "-t",
            "raw",
            "-A",
            "PREROUTING",
            "-i",
            "eth0",
            "-s",
            address,
        ];
        self.run(&[&rule, conditions, &["-j", "DROP"]].concat())
            .map(drop)
    }

    /// Takes back every [`Machine::drop_from`].
    pub fn drop_nothing(&self) -> Result<()> {
        self.run(&["iptables", "-w", "-t", "raw", "-F", "PREROUTING"])
            .map(drop)
    }
}
