//! The HTTP end: GET only, answered from the last cycle's document.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::document::Document;
use super::metrics;

/// The loop is taken for dead when its last cycle is older than this: four settled ticks.
const ALIVE: Duration = Duration::from_secs(60);

type Published = watch::Receiver<Arc<Document>>;

/// Serves until the process ends.
///
/// # Errors
/// The address cannot be bound.
pub async fn serve(at: SocketAddr, published: Published) -> std::io::Result<()> {
    let router = Router::new()
        .route("/status", get(status))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics_page))
        .with_state(published);
    axum::serve(TcpListener::bind(at).await?, router).await
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

async fn metrics_page(State(published): State<Published>) -> Response {
    match metrics::encode(&current(&published)) {
        Ok(body) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], body).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
