//! What the tests share: real Redis servers on free ports, and things that stand between them and a client.
//!
//! Nothing here is async on the outside, so that it serves tests with one runtime, with two in a row and with none.
//! A server or a proxy lives as long as its handle: keep it in a local variable of the test.

mod cut;
mod fake;
mod monitor;
mod port;
mod proxy;
mod redis;
mod resp;
mod silent;

pub use cut::cut_off;
pub use fake::FakeRedis;
pub use monitor::{Monitor, Seen};
pub use proxy::Proxy;
pub use redis::RedisServer;
pub use resp::{Client, Reply};
pub use silent::SilentListener;

use std::time::{Duration, Instant};

/// What takes this long never happens: nothing on a healthy machine comes near it, and a starved one may need it.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Asks `condition` every few milliseconds until it holds.
///
/// # Panics
///
/// If it does not hold within `limit`; `what` says what was waited for.
pub fn wait_until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < end, "waited {limit:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
