//! What the benchmarks share. Each file or folder under `benches/` answers one question; `cargo run -p benches --bin
//! report` makes a page of what criterion has written.

mod criterion_dir;
mod issue;
mod latency;
mod requests;
mod threads;
#[cfg(feature = "criterion")]
mod turns;

pub use criterion_dir::{criterion_dir, keep, note};
pub use issue::{ApiError, Issue, loads};
pub use latency::Latencies;
pub use requests::{moving, round_and_round, trace, with_scans, zipf};
pub use threads::on_threads;
#[cfg(feature = "criterion")]
pub use turns::Turns;

/// Keeps the processor from beginning a look-up before the one before it is done: what is timed is a look-up standing
/// alone, as in a request handler. Nothing on processors other than x86-64.
#[inline]
pub fn fence() {
    #[cfg(target_arch = "x86_64")]
    #[expect(unsafe_code, reason = "the instruction has no safe name")]
    // SAFETY: each x86-64 processor has SSE2.
    unsafe {
        core::arch::x86_64::_mm_lfence();
    }
}

/// The coarse monotonic clock in nanoseconds, as the floor reads it: a few nanoseconds, and a few milliseconds late.
#[inline]
pub fn coarse_now() -> u64 {
    #[cfg(target_os = "linux")]
    let id = rustix::time::ClockId::MonotonicCoarse;
    #[cfg(not(target_os = "linux"))]
    let id = rustix::time::ClockId::Monotonic;
    let now = rustix::time::clock_gettime(id);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}
