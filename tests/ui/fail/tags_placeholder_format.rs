use dexter_cache::cached;

#[cached(ttl = 300, tags = ["issue:{id:?}"])]
async fn get_issue(id: u64) -> u64 {
    id
}

fn main() {}
