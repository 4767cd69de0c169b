use dexter_cache::cached;

#[cached(ttl = 1, stale = "soon")]
async fn get(id: u64) -> u64 {
    id
}

fn main() {}
