use dexter_cache::cached;

mod get {}

#[cached(ttl = 1)]
async fn get(id: u64) -> u64 {
    id
}

fn main() {}
