use dexter_cache::CacheKey;

struct Opaque;

#[derive(CacheKey)]
struct Filter {
    status: u8,
    opaque: Opaque,
}

fn main() {}
