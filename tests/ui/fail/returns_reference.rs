use dexter_cache::cached;

#[cached(ttl = 1)]
async fn get(name: &str) -> &str {
    name
}

fn main() {}
