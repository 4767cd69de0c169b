use dexter_cache::cached;

#[cached(ttl = 1, refresh_ahead = 1.5)]
async fn get(id: u64) -> u64 {
    id
}

fn main() {}
