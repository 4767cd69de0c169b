use dexter_cache::invalidates;

struct Pool;

#[invalidates(pattern = "get:{pool}")]
async fn write(pool: Pool) {
    drop(pool);
}

fn main() {}
