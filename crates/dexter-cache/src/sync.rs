//! The locks and atomics of what threads interleave, as a model checker can replace them.
//!
//! `RUSTFLAGS="--cfg shuttle"` builds them so that every step of the unit tests under that flag is a scheduling
//! decision of [shuttle](https://docs.rs/shuttle); without the flag these are those of `std`.

#[cfg(not(shuttle))]
pub(crate) use std::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic};

#[cfg(shuttle)]
pub(crate) use shuttle::sync::{
    Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic,
};
