//! Keys of ordinary size.

use std::borrow::Cow;
use std::net::Ipv4Addr;
use std::time::Duration;

use dexter_cache::__private::KeyBuilder;
use dexter_cache::{CacheKey, Key, KeyWriter};

use crate::so_far;

fn allocations<T>(run: impl FnOnce() -> T) -> usize {
    let before = so_far();
    let value = run();
    let count = so_far() - before;
    drop(value);
    count
}

struct Filter<'a> {
    status: Option<&'a str>,
    tags: [&'a str; 2],
}

impl CacheKey for Filter<'_> {
    fn write_key(&self, out: &mut KeyWriter<'_>) {
        out.field("status", &self.status);
        out.field("tags", &self.tags);
    }
}

fn build() -> Key {
    let mut key = KeyBuilder::new("list_issues");
    key.part("age", &Duration::from_millis(1500));
    let filter = Filter {
        status: Some("a b"),
        tags: ["x,y", "z"],
    };
    key.part("filter", &filter);
    key.part("id", &-71_i64);
    key.part("ip", &Ipv4Addr::LOCALHOST);
    key.part("project", &Cow::Borrowed("web*"));
    key.finish()
}

#[test]
fn keys_of_ordinary_size_are_built_without_the_heap() {
    // The seed of the hash is drawn with the first key.
    assert_eq!(
        build().as_str(),
        "list_issues:age=1.5s&filter.status=a%20b&filter.tags=x%2Cy,z&id=-71&ip=127.0.0.1&project=web%2A"
    );
    assert_eq!(allocations(build), 0);
    assert_eq!(allocations(|| build().clone()), 0);
    let parts = || Key::new("p").part("b", &[1, 2]).part("a", &Some("x"));
    assert_eq!(allocations(parts), 0, "sorting included");
    assert_eq!(allocations(|| Key::raw("session:1")), 0);
    assert_ne!(
        allocations(|| Key::raw("x".repeat(113))),
        0,
        "the counter counts"
    );
}
