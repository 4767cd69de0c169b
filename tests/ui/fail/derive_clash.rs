use dexter_cache::CacheKey;

#[derive(CacheKey)]
struct Filter {
    status: u8,
    #[cache_key(rename = "status")]
    state: u8,
}

fn main() {}
