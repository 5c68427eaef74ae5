//! Processes of mongod on free ports, which end with the test.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

/// The key by which all servers of the test know each other.
pub const KEY: &str = "bG9vcGJhY2sga2V5LCBmb3IgdGVzdHMgb25seQ";

/// One process.
pub struct Server {
    child: Child,
    pub port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Starts a program, with what it says in a file.
    pub fn start(command: &mut Command, port: u16, log: &Path) -> Result<Self> {
        let log = std::fs::File::create(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{command:?}"))?;
        Ok(Self { child, port })
    }
}

impl Server {
    /// Whether it has not ended.
    pub fn runs(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }
}

/// A port that nobody has now.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// A mongod: the one that is named, or the one in the offline image's archive.
pub fn mongod() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("SWARMSET_TEST_MONGOD") {
        return Some(path.into());
    }
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    let archive = target.join("images/mongo.tar");
    if !archive.is_file() {
        return None;
    }
    match unpack(&archive, &target.join("tmp/loopback-mongo")) {
        Ok(path) => Some(path),
        Err(why) => panic!("{}: {why:#}", archive.display()),
    }
}

/// The image has one layer (`images/assemble`).
fn unpack(archive: &Path, into: &Path) -> Result<PathBuf> {
    let mongod = into.join("usr/bin/mongod");
    let made = |path: &Path| std::fs::metadata(path).and_then(|m| m.modified());
    if made(&mongod).is_ok_and(|at| made(archive).is_ok_and(|archive| at > archive)) {
        return Ok(mongod);
    }
    std::fs::create_dir_all(into)?;
    let script = "tar --extract --to-stdout --wildcards --file \"$0\" '*/layer.tar' | tar --extract --touch --directory \"$1\"";
    let done = Command::new("sh")
        .args(["-c", script])
        .arg(archive)
        .arg(into)
        .status()?;
    ensure!(done.success() && mongod.is_file(), "it holds no mongod");
    Ok(mongod)
}

/// mongod with its own loader and libraries, so that it runs on any machine.
pub fn command(mongod: &Path) -> Command {
    let root = mongod.ancestors().nth(3).unwrap_or(Path::new("/"));
    let loader = root.join("lib64/ld-linux-x86-64.so.2");
    if !loader.is_file() {
        return Command::new(mongod);
    }
    let mut command = Command::new(loader);
    command
        .arg("--library-path")
        .arg(root.join("lib/x86_64-linux-gnu"))
        .arg(mongod);
    command
}
