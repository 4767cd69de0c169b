use dexter_cache::cached;

#[cached(ttl = 1, key(T))]
async fn get<T: Default>() -> T {
    T::default()
}

fn main() {}
