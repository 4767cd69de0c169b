use dexter_cache::invalidates;

#[invalidates(pattern = "get:*")]
fn write(id: u64) -> u64 {
    id
}

fn main() {}
