//! What every backend must do (`dexter_cache::test_util::behavior`), run against each of them, and what is particular
//! to one.

mod memory;
mod redis;
mod test_kit;
