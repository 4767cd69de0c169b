use dexter_cache::invalidates;

#[invalidates(pattern = "get:*", if = id > 0, if = id < 9)]
async fn write(id: u64) -> Result<u64, String> {
    Ok(id)
}

fn main() {}
