//! What becomes of callers when Redis breaks in the middle of their work, each way in which it does.
//!
//! In every drill 64 callers and a few writers go on throughout. No call fails, none pays two budgets, nothing that was
//! removed is read again by this process, and memory stays bounded. What exactly a call pays for an outage is measured
//! where time is simulated: see `budget`.

mod harness;
mod outages;
mod refusals;
mod report;
mod runtimes;
mod tiered;
mod world;
mod writers;

pub(crate) use runtimes::runtime;
