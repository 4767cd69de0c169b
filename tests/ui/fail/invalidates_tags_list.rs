use dexter_cache::invalidates;

#[invalidates(tags = ["issue:{id}"])]
async fn write(id: u64) -> u64 {
    id
}

fn main() {}
