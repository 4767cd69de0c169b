//! What is asked, in the order of the page, and who does less than a cache.

/// The first word of its groups, what it asks, and whether shorter bars are better times.
pub(crate) const QUESTIONS: &[(&str, &str)] = &[
    ("l1_hit", "A hit in memory, through the macro"),
    ("oxcache", "The same against oxcache, in a run of its own"),
    ("redis_hit", "A hit in Redis"),
    ("tiered_hit", "A hit in memory in front of Redis"),
    ("load", "A miss, and the fill that follows"),
    ("stampede", "1000 concurrent misses of one key"),
    ("churn", "Get or load where most does not fit"),
    ("hit_ratio", "How often a small cache hits"),
    ("tags", "Tags"),
    ("bulk", "Reading 50 keys at once"),
    ("full", "A full cache"),
    ("invalidate", "Removal by pattern"),
    ("memory", "Memory"),
    ("outages", "A call while Redis is away"),
    ("cold", "Loads that cold callers cause"),
    ("footprint", "Dependencies"),
];

/// The pictures that the README shows: group, and what stands above it.
pub(crate) const OVERVIEW: &[(&str, &str)] = &[
    (
        "l1_hit borrowed arc 1",
        "A hit in memory: borrowed strings, Arc<T>",
    ),
    (
        "l1_hit owned value 1",
        "A hit in memory: owned strings, 1 KB cloned",
    ),
    ("tiered_hit 1", "A hit in memory in front of Redis"),
    ("redis_hit 16", "A hit in Redis, 16 tasks: time a hit"),
    ("churn zipf 10% 1", "Get or load, room for 10 % (zipf)"),
    ("stampede 1000", "1000 concurrent misses, a load of 20 ms"),
];

/// The question that a group belongs to.
pub(crate) fn question(group: &str) -> &str {
    group.split(' ').next().unwrap_or(group)
}

/// Whose times all others are divided by.
pub(crate) const OURS: &str = "dexter-cache";

/// Who a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The row that ratios are of.
    Ours,
    /// `dexter-cache` used in another way.
    Variant,
    /// What does less than a cache: a floor, a bare client, the load alone.
    Floor,
    Other,
}

/// Who the row `name` is.
pub(crate) fn kind(name: &str) -> Kind {
    const FLOORS: &[&str] = &[
        "floor",
        "GET and serde_json",
        "GET and serde_json, TCP_NODELAY",
        "GET alone",
        "fred and serde_json",
        "rustis and serde_json",
        "MGET and serde_json",
        "GET, SET EX and serde_json",
        "SCAN COUNT 1000 and UNLINK",
        "the load alone",
        "nobody sweeping",
        "HashMap",
        "loop and fence",
        "two strings made",
        "clone of the value",
        "tokio, redis and serde_json",
    ];
    if name == OURS {
        Kind::Ours
    } else if name.starts_with(OURS) || name.starts_with("get, ") {
        Kind::Variant
    } else if FLOORS.contains(&name) {
        Kind::Floor
    } else {
        Kind::Other
    }
}
