//! The ground that the lab stands on: a directory, a bridge, a name server, and their clearing away.
//!
//! Everything that outlives a process is written down under [`ROOT`] when it is made, so that
//! [`clear`] needs nothing but what is on disk: it ends this run's lab, a panicking one's, and what a
//! killed predecessor left behind.

use crate::tools::{self, PATIENCE};
use anyhow::{Context, Result, bail};
use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Where the state of all machines is.
pub const ROOT: &str = "/var/tmp/swarmset-lab";
/// The cable between the machines.
pub const BRIDGE: &str = "swarmset-lab";
/// The bridge's ports are called this and the machine's name.
pub const PORT_PREFIX: &str = "lab-";
/// This computer's own address on the bridge.
pub const HOST_ADDRESS: &str = "10.99.0.254";
/// The machines' common parent in every cgroup hierarchy.
const CGROUP: &str = "swarmset-lab";

/// Whether this process has a lab standing. Whoever adds something to the ground holds it meanwhile.
static STANDS: Mutex<bool> = Mutex::new(false);

/// Keeps the ground from being cleared while something is being put on it.
pub fn hold() -> MutexGuard<'static, bool> {
    STANDS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The address of a machine, by its number.
pub fn address(number: usize) -> String {
    format!("10.99.0.{number}")
}

/// Fails unless this computer has all that a lab is made of, and says what to install.
pub fn check_preconditions() -> Result<()> {
    let needed = [
        ("dockerd", "docker.io"),
        ("docker", "docker.io"),
        ("containerd", "docker.io"),
        ("ip", "iproute2"),
        ("iptables", "iptables"),
        ("dnsmasq", "dnsmasq-base"),
        ("nsenter", "util-linux"),
        ("unshare", "util-linux"),
        ("timeout", "coreutils"),
    ];
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = |program: &str| std::env::split_paths(&path).any(|dir| dir.join(program).is_file());
    let mut missing: Vec<&str> = needed
        .iter()
        .filter(|(program, _)| !there(program))
        .map(|(_, package)| *package)
        .collect();
    missing.dedup();
    if !missing.is_empty() {
        bail!(
            "the lab needs programs that are missing here; as root: apt-get install {}",
            missing.join(" ")
        );
    }
    if tools::run(PATIENCE, &["id", "-u"])? != "0" {
        bail!("the lab makes namespaces, bridges and mounts: run it as root");
    }
    Ok(())
}

/// Held while a lab stands: two of them would share names and addresses. Released by the kernel
/// when the process ends, however it ends.
pub struct Claim {
    _listener: UnixListener,
}

/// Waits until no other lab runs on this computer.
pub fn claim() -> Result<Claim> {
    let name = SocketAddr::from_abstract_name("swarmset-lab")?;
    let since = Instant::now();
    loop {
        match UnixListener::bind_addr(&name) {
            Ok(listener) => {
                return Ok(Claim {
                    _listener: listener,
                });
            }
            Err(_) if since.elapsed() < Duration::from_secs(1800) => {
                if since.elapsed() < Duration::from_secs(1) {
                    eprintln!("another lab runs on this computer: waiting for it to end");
                }
                std::thread::sleep(Duration::from_secs(1));
            }
            Err(why) => {
                return Err(why).context("another lab runs on this computer, and does not end");
            }
        }
    }
}

/// Lays the ground: an empty directory, the bridge, and a name server that knows no name.
pub fn lay() -> Result<()> {
    let mut stands = hold();
    clear()?;
    *stands = true;
    fs::create_dir_all(ROOT)?;
    fs::write(
        Path::new(ROOT).join("resolv.conf"),
        format!("nameserver {HOST_ADDRESS}\noptions ndots:0\n"),
    )?;
    ip(&["link", "add", BRIDGE, "type", "bridge"])?;
    ip(&["addr", "add", &format!("{HOST_ADDRESS}/24"), "dev", BRIDGE])?;
    ip(&["link", "set", BRIDGE, "up"])?;
    // A Docker engine on this computer makes the firewall drop what is merely bridged.
    iptables("-I").context("cannot open the bridge in the firewall")?;
    start_name_server()
}

/// Takes this process's lab away, if it has one standing.
pub fn give_up() -> Result<()> {
    let mut stands = hold();
    if *stands {
        clear()?;
        *stands = false;
    }
    Ok(())
}

/// Takes this process's lab away for good: nothing can be put on the ground any more.
pub fn abandon() -> Result<()> {
    let stands = hold();
    let cleared = if *stands { clear() } else { Ok(()) };
    std::mem::forget(stands);
    cleared
}

/// Takes everything away that a lab makes, also that of a run which was killed. Without a lab it
/// does nothing.
fn clear() -> Result<()> {
    for entry in fs::read_dir("/sys/class/net")?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(PORT_PREFIX) {
            ip(&["link", "del", &name])?;
        }
    }
    for entry in fs::read_dir(ROOT).into_iter().flatten().flatten() {
        kill_by_record(&entry.path())?;
    }
    if Path::new("/sys/class/net").join(BRIDGE).exists() {
        ip(&["link", "del", BRIDGE])?;
    }
    while iptables("-D").is_ok() {}
    remove_cgroups();
    if Path::new(ROOT).exists() {
        fs::remove_dir_all(ROOT).with_context(|| format!("cannot remove {ROOT}"))?;
    }
    Ok(())
}

/// Kills the process that a directory's `pid` file names, if that very process still runs.
pub fn kill_by_record(directory: &Path) -> Result<()> {
    let file = directory.join("pid");
    let Ok(record) = fs::read_to_string(&file) else {
        return Ok(());
    };
    let pid = record
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .to_owned();
    if runs(&record) {
        let _ = tools::run(PATIENCE, &["kill", "-KILL", &pid]);
    }
    let since = Instant::now();
    while runs(&record) {
        if since.elapsed() > Duration::from_secs(20) {
            bail!("process {pid} of {} does not end", directory.display());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    fs::remove_file(file)?;
    Ok(())
}

/// Whether the process of a record ("pid start-time") still runs; a zombie does not.
pub fn runs(record: &str) -> bool {
    let mut words = record.split_whitespace();
    let (Some(pid), Some(started)) = (words.next(), words.next()) else {
        return false;
    };
    stat(pid).is_some_and(|(state, start)| state != "Z" && start == started)
}

/// State and start time of a process, as `/proc/PID/stat` has them.
fn stat(pid: &str) -> Option<(String, String)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let after_name: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some((
        (*after_name.first()?).to_owned(),
        (*after_name.get(19)?).to_owned(),
    ))
}

/// With no server at the address in resolv.conf, every unknown name costs a container 5 s. This one
/// answers at once that there is no such name.
fn start_name_server() -> Result<()> {
    let directory = Path::new(ROOT).join("dns");
    fs::create_dir_all(&directory)?;
    let log = fs::File::create(directory.join("log"))?;
    let child = Command::new("dnsmasq")
        .args([
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--no-resolv",
            "--no-hosts",
            "--address=/#/",
        ])
        .args([
            "--bind-interfaces",
            "--except-interface=lo",
            "--user=root",
            "--pid-file=",
        ])
        .arg(format!("--listen-address={HOST_ADDRESS}"))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()
        .context("cannot start dnsmasq")?;
    let pid = child.id().to_string();
    let (_, started) = stat(&pid).context("dnsmasq ended at once")?;
    fs::write(directory.join("pid"), format!("{pid} {started}"))?;
    reap_in_background(child);
    Ok(())
}

/// Lets an ended child go, so that it does not stay as a zombie.
pub fn reap_in_background(mut child: std::process::Child) {
    std::thread::spawn(move || child.wait());
}

/// Runs `ip` on this computer.
pub fn ip(args: &[&str]) -> Result<String> {
    tools::run(PATIENCE, &[&["ip"], args].concat())
}

fn iptables(action: &str) -> Result<String> {
    tools::run(
        PATIENCE,
        &[
            "iptables", "-w", action, "FORWARD", "-i", BRIDGE, "-o", BRIDGE, "-j", "ACCEPT",
        ],
    )
}

/// Containers leave empty cgroups behind when their machine is unplugged.
fn remove_cgroups() {
    let top = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(top)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join(CGROUP));
    for lab in hierarchies
        .chain([top.join(CGROUP)])
        .filter(|path| path.is_dir())
    {
        remove_tree_of_cgroups(&lab);
    }
}

fn remove_tree_of_cgroups(cgroup: &PathBuf) {
    for entry in fs::read_dir(cgroup).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree_of_cgroups(&entry.path());
        }
    }
    let _ = fs::remove_dir(cgroup);
}
