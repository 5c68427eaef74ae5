//! The little of HTTP that the lab needs: a GET, of an agent's status or of a Docker engine.
//!
//! It speaks HTTP/1.0, whose answers end with the connection, so that it needs no client library.

use anyhow::{Context, Result};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(5);

/// An answer: the status code, and the body as it came.
pub struct Answer {
    /// 200, 404, 503 …
    pub code: u16,
    /// What came after the headers.
    pub body: String,
}

impl Answer {
    /// The body read as JSON.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_str(&self.body)
            .with_context(|| format!("not JSON ({}): {}", self.code, self.body))
    }
}

/// Asks a server at a network address.
pub fn get(address: SocketAddr, path: &str) -> Result<Answer> {
    let stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    exchange(stream, path)
}

/// Asks a server behind a Unix socket.
pub fn get_from_socket(socket: &Path, path: &str) -> Result<Answer> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    exchange(stream, path)
}

fn exchange(mut stream: impl Read + Write, path: &str) -> Result<Answer> {
    write!(stream, "GET {path} HTTP/1.0\r\nHost: lab\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .context("an HTTP answer without headers")?;
    let code = head
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .context("no HTTP status code")?;
    Ok(Answer {
        code,
        body: body.to_owned(),
    })
}
