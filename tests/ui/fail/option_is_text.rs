use dexter_cache::cached;

#[cached("get")]
async fn get(id: u64) -> u64 {
    id
}

fn main() {}
