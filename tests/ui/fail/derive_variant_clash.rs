use dexter_cache::CacheKey;

#[derive(CacheKey)]
#[cache_key(rename_all = "lowercase")]
enum Order {
    ByName,
    Byname,
}

fn main() {}
