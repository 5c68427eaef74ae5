//! The HTTP end: GET only, answered from the last cycle's document, within limits.

mod guard;
mod live;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{FromRef, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use jiff::Timestamp;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

use super::document::Document;
use super::metrics;
use super::token::Token;

/// The loop is taken for dead when its last cycle is older than this: four settled ticks.
const ALIVE: Duration = Duration::from_secs(60);
/// Open connections; more are closed at once. A browser takes up to six.
const CONNECTIONS: usize = 128;
/// How long a request's head may take, and a connection may be idle.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);
/// How long a connection may live; browsers connect again by themselves.
const LIFETIME: Duration = Duration::from_secs(600);
/// Bytes of a request's head. hyper takes no less than 8 KiB.
const HEAD_BYTES: usize = 16 << 10;
/// Lines of a request's head.
const HEAD_LINES: usize = 64;

type Published = watch::Receiver<Arc<Document>>;

/// A server that listens, and does not answer yet.
pub struct Server {
    listener: TcpListener,
}

impl Server {
    /// Listens.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn bind(at: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(at).await?;
        Ok(Self { listener })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system does not say.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers from what is published, until the process ends; with a token, only those who bring it.
    pub async fn serve(self, published: Published, token: Option<Token>) {
        let router = router(published, token);
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of file descriptors, most likely: it passes when others are closed.
                    tracing::warn!(%error, "a connection was not accepted");
                    sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            if let Ok(place) = Arc::clone(&room).try_acquire_owned() {
                let router = router.clone();
                tokio::spawn(async move {
                    connection(stream, router).await;
                    drop(place);
                });
            }
        }
    }
}

async fn connection(stream: TcpStream, router: Router) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEAD_LINES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    match timeout(LIFETIME, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection broke"),
        Err(_) => tracing::debug!("a connection has lived long enough"),
    }
}

/// What all answers are made from.
#[derive(Clone)]
struct Shared {
    published: Published,
    live: Arc<Semaphore>,
}

impl FromRef<Shared> for Published {
    fn from_ref(shared: &Shared) -> Self {
        shared.published.clone()
    }
}

impl FromRef<Shared> for Arc<Semaphore> {
    fn from_ref(shared: &Shared) -> Self {
        Arc::clone(&shared.live)
    }
}

fn router(published: Published, token: Option<Token>) -> Router {
    let shared = Shared {
        published,
        live: live::room(),
    };
    Router::new()
        .route("/", get(live::whole_page))
        .route("/live", get(live::live))
        .route("/page.css", get(live::css))
        .route("/page.js", get(live::script))
        .route("/{icon}", get(live::icon))
        .route("/status", get(status))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics_page))
        .with_state(shared)
        .layer(from_fn_with_state(Arc::new(token), guard::admit))
}

fn current(published: &Published) -> Arc<Document> {
    Arc::clone(&published.borrow())
}

async fn status(State(published): State<Published>) -> Response {
    match serde_json::to_vec_pretty(&*current(&published)) {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn healthz(State(published): State<Published>) -> Response {
    let document = current(&published);
    let age = Timestamp::now()
        .duration_since(document.cycle.at)
        .unsigned_abs();
    if document.cycle.number > 0 && age <= ALIVE {
        "ok\n".into_response()
    } else {
        let why = format!("the last cycle was {} s ago\n", age.as_secs());
        (StatusCode::SERVICE_UNAVAILABLE, why).into_response()
    }
}

async fn readyz(State(published): State<Published>) -> Response {
    let document = current(&published);
    if document.converged {
        return "converged\n".into_response();
    }
    let of_sets = document
        .sets
        .iter()
        .flat_map(|s| s.faults.iter().chain(&s.waiting));
    let reasons = document
        .faults
        .iter()
        .chain(&document.waiting)
        .chain(of_sets);
    let lines: String = reasons
        .map(|r| format!("{}: {}\n", r.about, r.what))
        .collect();
    (
        StatusCode::SERVICE_UNAVAILABLE,
        format!("not converged\n{lines}"),
    )
        .into_response()
}

async fn metrics_page(State(published): State<Published>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|a| a.to_str().ok());
    let open = accept.is_some_and(|a| a.contains("application/openmetrics-text"));
    match metrics::encode(&current(&published)) {
        Ok(body) if open => ([(header::CONTENT_TYPE, metrics::OPEN_METRICS)], body).into_response(),
        Ok(body) => {
            let body = metrics::as_text(&body);
            ([(header::CONTENT_TYPE, metrics::TEXT)], body).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
