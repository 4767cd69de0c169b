use dexter_cache::invalidates;

#[invalidates(get)]
async fn write(id: u64) -> u64 {
    id
}

fn main() {}
