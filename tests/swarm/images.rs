//! The images that every machine holds, since there is no registry.
//!
//! One engine loads them once; the machines get its image store as hard links, which takes no time
//! and lets all mongods share their program's pages in memory.

use crate::machine::Machine;
use crate::tools::{self, PATIENCE, repo};
use anyhow::{Context, Result, bail};
use std::path::PathBuf;

/// The agent under test.
pub const AGENT: &str = "swarmset/agent:test";
/// A mongod without a registry.
pub const MONGO: &str = "swarmset/mongo-offline:6.0.5";
/// The same, with a router beside it.
pub const SHARDED: &str = "swarmset/mongo-sharded:test";
/// A container that only sleeps.
pub const IDLE: &str = "swarmset/lab-idle:latest";

/// The number of the machine that only loads images; it never joins the Swarm.
const LOADER: usize = 200;

/// Where the images' archives are.
fn directory() -> PathBuf {
    std::env::var_os("SWARMSET_IMAGES_DIR")
        .map_or_else(|| repo().join("target/images"), PathBuf::from)
}

/// Whether the agent has been built.
pub fn agent_is_built() -> bool {
    directory().join("agent.tar").is_file()
}

/// Makes the image with a router: the one in `SWARMSET_TEST_MONGOS`, else this very program, which is a stand-in when
/// it is called so.
pub fn make_router() -> Result<()> {
    let directory = directory();
    let (mongo, out) = (directory.join("mongo.tar"), directory.join("router.tar"));
    let given = std::env::var_os("SWARMSET_TEST_MONGOS").map(PathBuf::from);
    let program = given.map_or_else(std::env::current_exe, Ok)?;
    let script = repo().join("tests/swarm/router-image");
    let mut argv = vec![script, mongo, program, out];
    argv.extend(std::env::var_os("SWARMSET_TEST_LIBS").map(PathBuf::from));
    tools::run(PATIENCE, &argv)
        .context("cannot make the image with a router")
        .map(drop)
}

/// Every archive there is; the idle image is made if it is not there yet.
fn archives() -> Result<Vec<PathBuf>> {
    let directory = directory();
    let idle = directory.join("lab-idle.tar");
    if !idle.is_file() {
        let script = repo().join("tests/swarm/idle-image");
        tools::run(PATIENCE, &[script, idle]).context("cannot make the idle image")?;
    }
    let mut archives: Vec<PathBuf> = std::fs::read_dir(&directory)?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "tar"))
        .collect();
    archives.sort();
    Ok(archives)
}

/// The loaded images, ready to be given to machines.
pub struct ImageStore {
    loader: Machine,
}

impl ImageStore {
    /// Loads all images into one engine, and ends it.
    pub fn load() -> Result<Self> {
        let archives = archives()?;
        let loader = Machine::named(LOADER, "images");
        loader.plug_in()?;
        loader.await_engine()?;
        for archive in archives {
            loader.docker(
                PATIENCE,
                &["load", "--quiet", "--input", &archive.display().to_string()],
                &[],
            )?;
        }
        if loader
            .docker(PATIENCE, &["image", "inspect", MONGO], &[])
            .is_err()
        {
            let directory = directory().display().to_string();
            bail!(
                "no archive in {directory} holds {MONGO}: run images/mongo/build {directory}/mongo.tar"
            );
        }
        let engine = loader.run(&["cat", "/run/dockerd.pid"])?;
        loader.signal("TERM", &engine)?;
        while loader.runs() {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        loader.unplug()?;
        Ok(Self { loader })
    }

    /// Puts the images on the disk of a machine that never ran.
    pub fn give(&self, machine: &Machine) -> Result<()> {
        let disk = machine.disk();
        std::fs::create_dir_all(&disk)?;
        let from = self.loader.disk();
        tools::run(
            PATIENCE,
            &[
                "cp".into(),
                "--archive".into(),
                "--link".into(),
                from.join("image"),
                from.join("overlay2"),
                disk,
            ],
        )
        .map(drop)
    }
}
