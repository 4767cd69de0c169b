use dexter_cache::cached;

#[cached(ttl = 1, refresh_ahead = 0.8)]
async fn get<'a>(name: &'a str) -> usize {
    name.len()
}

fn main() {}
