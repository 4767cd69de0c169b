use dexter_cache::CacheKey;

#[derive(CacheKey)]
#[cache_key(rename_all = "snake")]
enum Order {
    ByName,
}

fn main() {}
