use dexter_cache::cached;

struct Issue;

#[cached(ttl = 1, local)]
async fn get(id: u64) -> Option<Issue> {
    let _ = id;
    Some(Issue)
}

fn main() {}
