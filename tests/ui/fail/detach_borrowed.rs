use dexter_cache::cached;

#[cached(ttl = 1, detach)]
async fn get<'a>(name: &'a str) -> usize {
    name.len()
}

fn main() {}
