use dexter_cache::{cached, invalidates};
#[cached(ttl = "1m", prefix = "a")]
async fn get(id: u64, project: &str) -> Result<u64, String> {
    let _ = project;
    Ok(id)
}
#[invalidates(get::matching().projekt(project))]
async fn set(project: &str) -> Result<(), String> {
    let _ = project;
    Ok(())
}
fn main() {}
