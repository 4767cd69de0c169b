use dexter_cache::cached;

#[cached(ttl = 1, cache = 1_u8)]
async fn get(id: u64) -> u64 {
    id
}

fn main() {}
