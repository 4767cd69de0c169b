use dexter_cache::cached;

#[cached(ttl = 1, hard_timeout = "1s")]
async fn get(id: u64) -> u64 {
    id
}

fn main() {}
