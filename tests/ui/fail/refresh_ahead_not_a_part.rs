use dexter_cache::cached;

#[cached(ttl = 1, refresh_ahead = 80)]
async fn get(id: u64) -> u64 {
    id
}

fn main() {}
