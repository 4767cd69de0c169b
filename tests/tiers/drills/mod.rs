//! What becomes of callers when Redis breaks in the middle of their work, each way in which it does.
//!
//! In every drill 64 callers and a few writers go on throughout. No call fails, none pays much more than one budget,
//! nothing that was removed is read again by this process, and memory stays bounded.

mod harness;
mod outages;
mod refusals;
mod report;
mod runtimes;
mod tiered;
mod world;
mod writers;
