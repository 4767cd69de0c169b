use dexter_cache::cached;

#[derive(Clone)]
struct Issue;

#[cached(ttl = 1)]
async fn get(id: u64) -> Result<Issue, std::fmt::Error> {
    let _ = id;
    Ok(Issue)
}

fn main() {}
