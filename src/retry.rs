//! The one place that knows back-off: how long to wait before the engine is tried again.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;

/// Rising delays with some chance in them, from 100 ms to 5 s, without end.
#[derive(Debug)]
pub struct Retry(ExponentialBackoff);

impl Default for Retry {
    fn default() -> Self {
        Self(ExponentialBackoff {
            initial_interval: Duration::from_millis(100),
            current_interval: Duration::from_millis(100),
            max_interval: Duration::from_secs(5),
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        })
    }
}

impl Retry {
    /// How long to wait this time.
    pub fn next_delay(&mut self) -> Duration {
        self.0.next_backoff().unwrap_or(self.0.max_interval)
    }

    /// It worked: the next delay is the shortest again.
    pub fn reset(&mut self) {
        self.0.reset();
    }
}
