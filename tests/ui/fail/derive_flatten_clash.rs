use dexter_cache::CacheKey;

#[derive(CacheKey)]
struct Page {
    number: u32,
    size: u32,
}

#[derive(CacheKey)]
struct Filter<'a> {
    size: &'a str,
    #[cache_key(flatten)]
    page: Option<Page>,
}

fn main() {}
