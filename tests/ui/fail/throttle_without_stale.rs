use dexter_cache::cached;

#[cached(ttl = 1, throttle = "10s")]
async fn get(id: u64) -> u64 {
    id
}

fn main() {}
