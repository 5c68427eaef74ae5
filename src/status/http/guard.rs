//! Who is let in, and what every answer says to browsers.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;

use crate::status::token::Token;

/// For everything but this, a token is asked for.
const OPEN: &str = "/healthz";

/// Nothing from elsewhere, nothing inline, in no frame, kept by nobody.
const HEADERS: [(HeaderName, &str); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
];

/// Lets a request through, or says why not.
pub(super) async fn admit(
    State(token): State<Arc<Option<Token>>>,
    request: Request,
    next: Next,
) -> Response {
    let mut answer = match refusal(&request, token.as_ref().as_ref()) {
        Some(refusal) => refusal,
        None => next.run(request).await,
    };
    for (name, value) in HEADERS {
        let headers = answer.headers_mut();
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}

fn refusal(request: &Request, token: Option<&Token>) -> Option<Response> {
    let headers = request.headers();
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let allow = [(header::ALLOW, "GET, HEAD")];
        let text = "this server only shows; allowed are GET and HEAD\n";
        return Some((StatusCode::METHOD_NOT_ALLOWED, allow, text).into_response());
    }
    if has_body(headers) {
        let close = [(header::CONNECTION, "close")];
        let text = "a request with a body is not taken\n";
        return Some((StatusCode::PAYLOAD_TOO_LARGE, close, text).into_response());
    }
    let token = token.filter(|_| request.uri().path() != OPEN)?;
    if bears(headers, token) {
        return None;
    }
    let mut answer = (
        StatusCode::UNAUTHORIZED,
        "a token is needed: Authorization: Bearer <token>, or the token as password of any user\n",
    )
        .into_response();
    // Basic is there for browsers, which ask for a password and know no other way to bring a token.
    for challenge in [r#"Bearer realm="swarmset""#, r#"Basic realm="swarmset""#] {
        let value = HeaderValue::from_static(challenge);
        answer.headers_mut().append(header::WWW_AUTHENTICATE, value);
    }
    Some(answer)
}

fn has_body(headers: &HeaderMap) -> bool {
    let length = headers.get(header::CONTENT_LENGTH);
    headers.contains_key(header::TRANSFER_ENCODING) || length.is_some_and(|l| l != "0")
}

fn bears(headers: &HeaderMap, token: &Token) -> bool {
    let given = headers
        .get(header::AUTHORIZATION)
        .map(HeaderValue::as_bytes);
    let Some((scheme, given)) = given.and_then(|g| split_once(g, b' ')) else {
        return false;
    };
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return token.is(given.trim_ascii());
    }
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return false;
    }
    let decoded = base64::engine::general_purpose::STANDARD.decode(given.trim_ascii());
    decoded.is_ok_and(|pair| split_once(&pair, b':').is_some_and(|(_, word)| token.is(word)))
}

fn split_once(text: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let position = text.iter().position(|b| *b == at)?;
    Some((&text[..position], &text[position + 1..]))
}
