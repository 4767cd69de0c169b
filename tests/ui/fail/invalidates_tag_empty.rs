use dexter_cache::invalidates;

#[invalidates(tag = "")]
async fn write(id: u64) -> u64 {
    id
}

fn main() {}
