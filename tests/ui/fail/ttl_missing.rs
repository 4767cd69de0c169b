use dexter_cache::cached;

#[cached(prefix = "get")]
async fn get(id: u64) -> u64 {
    id
}

fn main() {}
