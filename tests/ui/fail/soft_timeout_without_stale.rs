use dexter_cache::cached;

#[cached(ttl = 1, soft_timeout = "100ms")]
async fn get(id: u64) -> u64 {
    id
}

fn main() {}
