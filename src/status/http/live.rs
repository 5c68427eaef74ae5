//! The page, and what keeps it live.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, StreamExt};
use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;

use super::{Published, current};
use crate::status::page;

/// Pages that are kept live at a time; the others reload.
const STREAMS: usize = 32;
/// Between two pictures: a busy agent makes six documents a second.
const PACE: Duration = Duration::from_millis(500);
/// How soon a browser comes back when a stream ends.
const BACK: Duration = Duration::from_secs(1);

/// Room for live pages.
pub(super) fn room() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(STREAMS))
}

pub(super) async fn whole_page(State(published): State<Published>) -> Response {
    let html = page::page(&current(&published), Timestamp::now()).into_string();
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], html).into_response()
}

pub(super) async fn css() -> Response {
    (
        [(header::CONTENT_TYPE, "text/css; charset=utf-8")],
        page::CSS,
    )
        .into_response()
}

pub(super) async fn script() -> Response {
    let kind = "text/javascript; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], page::SCRIPT).into_response()
}

pub(super) async fn icon(Path(name): Path<String>) -> Response {
    let name = name
        .strip_prefix("icon-")
        .and_then(|n| n.strip_suffix(".svg"));
    match name.and_then(page::icon) {
        Some(svg) => ([(header::CONTENT_TYPE, "image/svg+xml")], svg).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// The body of the page, now and whenever it has changed.
pub(super) async fn live(
    State(published): State<Published>,
    State(room): State<Arc<Semaphore>>,
) -> Response {
    let Ok(place) = room.try_acquire_owned() else {
        let text = "enough pages are live already; this one reloads\n";
        return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    };
    let events = stream::unfold(Some((published, place, true)), picture).flat_map(stream::iter);
    let events = events.map(Ok::<_, Infallible>);
    Sse::new(events)
        .keep_alive(KeepAlive::default())
        .into_response()
}

type Watching = Option<(Published, OwnedSemaphorePermit, bool)>;

async fn picture(state: Watching) -> Option<([Event; 2], Watching)> {
    let (mut published, place, first) = state?;
    if !first {
        sleep(PACE).await;
        published.changed().await.ok()?;
    }
    let document = Arc::clone(&published.borrow_and_update());
    let now = Timestamp::now();
    let body = page::body(&document, now).into_string();
    let clock = Event::default().event("now").retry(BACK);
    let events = [
        clock.data(now.as_millisecond().to_string()),
        Event::default().event("page").data(body),
    ];
    Some((events, Some((published, place, false))))
}
