use dexter_cache::invalidates;

struct Change {
    id: u64,
}

#[invalidates(tag = "issue:{change.id}:{result}")]
async fn update_issue(change: Change) -> u64 {
    change.id
}

fn main() {}
