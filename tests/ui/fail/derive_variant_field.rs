use dexter_cache::CacheKey;

struct Opaque;

#[derive(CacheKey)]
enum Filter {
    None,
    Some(Opaque),
}

fn main() {}
