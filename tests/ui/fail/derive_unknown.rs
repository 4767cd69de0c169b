use dexter_cache::CacheKey;

#[derive(CacheKey)]
struct Filter {
    #[cache_key(ignore)]
    status: u8,
}

fn main() {}
