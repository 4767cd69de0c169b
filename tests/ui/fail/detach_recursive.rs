use dexter_cache::cached;

#[cached(ttl = 1, detach)]
async fn get(id: u64) -> u64 {
    if id == 0 { 0 } else { Box::pin(get(id - 1)).await }
}

fn main() {}
