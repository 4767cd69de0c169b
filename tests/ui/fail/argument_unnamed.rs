use dexter_cache::cached;

#[cached(ttl = 1)]
async fn get(_: u64) -> u64 {
    1
}

fn main() {}
