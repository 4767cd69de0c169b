use dexter_cache::cached;

const SECONDS: u64 = 300;

#[cached(ttl = SECONDS)]
async fn get(id: u64) -> u64 {
    id
}

fn main() {}
