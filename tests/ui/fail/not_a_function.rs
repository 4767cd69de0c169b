use dexter_cache::cached;

#[cached(ttl = 1)]
struct Get;

fn main() {}
