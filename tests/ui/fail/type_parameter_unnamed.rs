use dexter_cache::cached;

#[cached(ttl = 1)]
async fn get<T: dexter_cache::CacheKey>(value: T) -> u64 {
    drop(value);
    1
}

fn main() {}
