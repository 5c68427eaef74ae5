//! GET from an agent.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use thiserror::Error;
use tokio::time::timeout;

use crate::status::document::{Document, VERSION};

/// How long an agent may take to answer.
const DEADLINE: Duration = Duration::from_secs(5);
/// More than the status of a thousand sets.
const LARGEST: usize = 64 << 20;

/// Why an agent's status could not be had.
#[derive(Debug, Error)]
pub enum AskError {
    /// Not an address of an agent.
    #[error("--url {found:?}: allowed http://<host>[:<port>], as in http://10.0.0.1:27080")]
    BadUrl {
        /// What was given.
        found: String,
    },
    /// The token's file.
    #[error("--token-file {}: {why}", path.display())]
    NoToken {
        /// The file.
        path: PathBuf,
        /// The error.
        why: String,
    },
    /// Nobody answers, or not in time.
    #[error("{url}: {why}")]
    NoAnswer {
        /// Where.
        url: String,
        /// The error.
        why: String,
    },
    /// It wants a token, or another one.
    #[error("{url} wants a token: give --token-file with the file that its agent was given")]
    Unauthorized {
        /// Where.
        url: String,
    },
    /// Somebody else answers there.
    #[error("{url} answers, but not as an agent of this version: {why}")]
    NotAnAgent {
        /// Where.
        url: String,
        /// What is wrong.
        why: String,
    },
    /// Nobody was found.
    #[error("no agent answers ({}); give its address by --url or SWARMSET_URL", tried.join("; "))]
    Nobody {
        /// All that were tried, with their errors.
        tried: Vec<String>,
    },
}

/// Asks agents.
pub struct Asker {
    client: Client<HttpConnector, Empty<Bytes>>,
    token: Option<String>,
}

impl Asker {
    /// With the token in this file, if any.
    ///
    /// # Errors
    /// The file cannot be read, or is empty.
    pub fn new(token_file: Option<&Path>) -> Result<Self, AskError> {
        let named = token_file.filter(|path| !path.as_os_str().is_empty());
        let token = named.map(|path| {
            crate::status::token::read(path).map_err(|error| AskError::NoToken {
                path: path.to_owned(),
                why: error.to_string(),
            })
        });
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build_http(),
            token: token.transpose()?,
        })
    }

    /// The document, and the text that it came in.
    ///
    /// # Errors
    /// As [`AskError`] says.
    pub async fn status(&self, url: &str) -> Result<(Document, Bytes), AskError> {
        let asked = timeout(DEADLINE, self.get(url)).await;
        let body = asked.unwrap_or_else(|_| {
            Err(AskError::NoAnswer {
                url: url.to_owned(),
                why: format!("nothing within {} s", DEADLINE.as_secs()),
            })
        })?;
        let not_ours = |why: String| AskError::NotAnAgent {
            url: url.to_owned(),
            why,
        };
        let value: serde_json::Value =
            serde_json::from_slice(&body).map_err(|e| not_ours(e.to_string()))?;
        match value.get("version").and_then(serde_json::Value::as_u64) {
            Some(version) if version == u64::from(VERSION) => {}
            Some(other) => {
                let why = format!("its document has version {other}, known is {VERSION}");
                return Err(not_ours(why));
            }
            None => return Err(not_ours("no document".into())),
        }
        let document = serde_json::from_value(value).map_err(|e| not_ours(e.to_string()))?;
        Ok((document, body))
    }

    async fn get(&self, url: &str) -> Result<Bytes, AskError> {
        let failed = |why: String| AskError::NoAnswer {
            url: url.to_owned(),
            why,
        };
        let mut request = Request::get(format!("{url}/status"));
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request
            .body(Empty::new())
            .map_err(|e| failed(e.to_string()))?;
        let answer = self.client.request(request).await;
        let answer = answer.map_err(|e| failed(root_of(&e)))?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED => {
                return Err(AskError::Unauthorized {
                    url: url.to_owned(),
                });
            }
            other => {
                return Err(AskError::NotAnAgent {
                    url: url.to_owned(),
                    why: format!("GET /status: {other}"),
                });
            }
        }
        let body = Limited::new(answer.into_body(), LARGEST).collect().await;
        Ok(body.map_err(|e| failed(e.to_string()))?.to_bytes())
    }
}

/// The innermost error: "connection refused" rather than "client error".
fn root_of(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// `http://host:port` from what was given: `http://` may be left out, as may the port.
///
/// # Errors
/// It is no such thing.
pub fn base_url(given: &str, port: u16) -> Result<String, AskError> {
    let bad = || AskError::BadUrl {
        found: given.to_owned(),
    };
    let text = if given.contains("://") {
        given.to_owned()
    } else {
        format!("http://{given}")
    };
    let uri: Uri = text.trim_end_matches('/').parse().map_err(|_| bad())?;
    let authority = uri.authority().ok_or_else(bad)?;
    let path = uri.path();
    let plain = uri.scheme_str() == Some("http")
        && uri.query().is_none()
        && (path.is_empty() || path == "/")
        && !authority.as_str().contains('@')
        && !authority.host().is_empty();
    if !plain {
        return Err(bad());
    }
    let port = authority.port_u16().unwrap_or(port);
    Ok(format!("http://{}:{port}", authority.host()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let ok = |given| base_url(given, 27080).unwrap_or_else(|e| e.to_string());
        assert_eq!(ok("http://10.0.0.1:8080/"), "http://10.0.0.1:8080");
        assert_eq!(ok("node1"), "http://node1:27080");
        assert_eq!(ok("[::1]"), "http://[::1]:27080");
        for bad in [
            "https://a",
            "http://a/status",
            "http://u:p@a",
            "",
            "ftp://a",
            "http://a b",
            "http://a?x",
        ] {
            let error = base_url(bad, 27080).expect_err(bad).to_string();
            assert_eq!(
                error,
                format!(
                    "--url {bad:?}: allowed http://<host>[:<port>], as in http://10.0.0.1:27080"
                )
            );
        }
    }
}
