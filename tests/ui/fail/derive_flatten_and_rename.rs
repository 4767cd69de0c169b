use dexter_cache::CacheKey;

#[derive(CacheKey)]
struct Filter {
    #[cache_key(flatten, rename = "state")]
    status: u8,
}

fn main() {}
