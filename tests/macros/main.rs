//! What the attributes make of functions, seen from outside.

mod derive;
mod functions;
mod invalidates;
mod keys;
mod matching;
mod sendness;
mod sizes;
mod surroundings;

/// One cache in memory for all tests of this binary.
fn install() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        dexter_cache::Cache::memory()
            .install()
            .expect("nothing else installs a cache");
    });
}
