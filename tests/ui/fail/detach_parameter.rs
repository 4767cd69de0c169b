use dexter_cache::cached;

#[cached(ttl = 1, detach, key(T))]
async fn get<T>(id: u64) -> u64 {
    id
}

fn main() {}
