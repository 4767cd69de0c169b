use dexter_cache::invalidates;

async fn get(id: u64) -> u64 {
    id
}

#[invalidates(get(id))]
async fn write(id: u64) -> u64 {
    id
}

fn main() {}
