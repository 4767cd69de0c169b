use dexter_cache::invalidates;

#[invalidates(pattern = "get:*", before)]
async fn write(id: u64) -> u64 {
    id
}

fn main() {}
