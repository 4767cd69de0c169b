use dexter_cache::cached;

#[cached(ttl = 1, stale = "1h", soft_timeout = "100ms", detach = false)]
async fn get(id: u64) -> u64 {
    id
}

fn main() {}
