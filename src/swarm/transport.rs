//! The way to the Docker engine: one HTTP client for bollard and for the one field that bollard does not model.

use std::future::Future;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bollard::BollardRequest;
use bollard::errors::Error;
use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Either, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use hyperlocal::UnixConnector;

use super::model::ApiVersion;

/// bollard's request body, as its custom transport hands it over.
type Body = <BollardRequest as RequestBody>::Body;

trait RequestBody {
    type Body;
}

impl<B> RequestBody for Request<B> {
    type Body = B;
}

/// Where the engine listens, and a pool of connections to it.
#[derive(Clone)]
pub(super) struct Transport {
    to: Arc<Engine>,
    calls: Arc<AtomicU64>,
    errors: Arc<AtomicU64>,
    /// `/v1.41`, once it is agreed on. bollard leaves it out of its requests.
    version: Arc<OnceLock<String>>,
}

enum Engine {
    Socket(PathBuf, Client<UnixConnector, Body>),
    Tcp(String, Client<HttpConnector, Body>),
}

impl Transport {
    /// Takes `unix:///path` or `tcp://host:port`, as `DOCKER_HOST` has it. `None` for anything else.
    pub(super) fn to(docker_host: &str) -> Option<Self> {
        let builder = || {
            let mut builder = Client::builder(TokioExecutor::new());
            builder.pool_max_idle_per_host(2);
            builder
        };
        let to = if let Some(path) = docker_host.strip_prefix("unix://") {
            Engine::Socket(path.into(), builder().build(UnixConnector))
        } else {
            let rest = docker_host.strip_prefix("tcp://");
            let authority = rest.or_else(|| docker_host.strip_prefix("http://"))?;
            let authority = authority.trim_end_matches('/').to_owned();
            Engine::Tcp(authority, builder().build(HttpConnector::new()))
        };
        Some(Self {
            to: Arc::new(to),
            calls: Arc::default(),
            errors: Arc::default(),
            version: Arc::default(),
        })
    }

    /// Puts this version before the path of all calls from now on.
    pub(super) fn speak(&self, version: ApiVersion) {
        // Agreed on once, at the start.
        let _ = self.version.set(format!("/v{version}"));
    }

    /// How many calls were made.
    pub(super) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// How many of them failed: no answer, or one that says so. That a name is taken is an answer like any other.
    pub(super) fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    /// Sends one request; its host is ignored.
    pub(super) fn send(
        &self,
        request: BollardRequest,
    ) -> impl Future<Output = Result<Response<hyper::body::Incoming>, Error>> + Send + use<> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let to = Arc::clone(&self.to);
        let errors = Arc::clone(&self.errors);
        let version = self.version.get().cloned().unwrap_or_default();
        async move {
            let (mut head, body) = request.into_parts();
            let path = head.uri.path_and_query().map_or("/", |p| p.as_str());
            let path = &format!("{version}{path}");
            tracing::debug!(method = %head.method, path, "docker call");
            head.uri = match &*to {
                Engine::Socket(socket, _) => hyperlocal::Uri::new(socket, path).into(),
                Engine::Tcp(authority, _) => {
                    let uri = Uri::builder().scheme("http").authority(authority.as_str());
                    uri.path_and_query(path.as_str()).build()?
                }
            };
            let request = Request::from_parts(head, body);
            let answer = match &*to {
                Engine::Socket(_, client) => client.request(request).await,
                Engine::Tcp(_, client) => client.request(request).await,
            };
            let failed = answer.as_ref().map_or(true, |a| {
                let status = a.status();
                status != StatusCode::CONFLICT
                    && (status.is_client_error() || status.is_server_error())
            });
            errors.fetch_add(u64::from(failed), Ordering::Relaxed);
            answer.map_err(Error::from)
        }
    }

    /// The body of a GET that succeeded.
    pub(super) async fn get(&self, path: &str) -> Result<Bytes, Error> {
        let request = Request::get(path).body(Either::Left(Full::new(Bytes::new())))?;
        let answer = self.send(request).await?;
        let status_code = answer.status();
        let collected = answer.into_body().collect().await;
        let bytes = collected.map_err(|err| Error::IOError {
            err: std::io::Error::other(err),
        })?;
        let bytes = bytes.to_bytes();
        if status_code.is_success() {
            Ok(bytes)
        } else {
            Err(Error::DockerResponseServerError {
                status_code: status_code.as_u16(),
                message: String::from_utf8_lossy(&bytes).into_owned(),
            })
        }
    }
}
