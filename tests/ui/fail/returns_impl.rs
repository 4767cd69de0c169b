use dexter_cache::cached;

#[cached(ttl = 1)]
async fn get(id: u64) -> impl std::fmt::Display {
    id
}

fn main() {}
