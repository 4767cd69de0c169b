//! What is counted.

/// The dependencies of one scratch project; `CRATES` stands for the folder of ours.
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    pub(crate) dependencies: &'static str,
}

/// Ours first; then others with the features that give them memory alone, memory and Redis.
pub(crate) const SUBJECTS: &[Subject] = &[
    Subject {
        name: "dexter-cache, memory",
        dependencies: "dexter-cache = { path = \"CRATES/dexter-cache\", default-features = false, features = [\"macros\"] }",
    },
    Subject {
        name: "dexter-cache, Redis",
        dependencies: "dexter-cache = { path = \"CRATES/dexter-cache\" }",
    },
    Subject {
        name: "dexter-cache, Redis and axum",
        dependencies: "dexter-cache = { path = \"CRATES/dexter-cache\", features = [\"axum\"] }",
    },
    Subject {
        name: "tokio, redis and serde_json",
        dependencies: "tokio = { version = \"1\", features = [\"rt-multi-thread\", \"macros\", \"time\"] }\n\
            redis = { version = \"1\", default-features = false, features = [\"tokio-comp\"] }\n\
            serde = { version = \"1\", features = [\"derive\"] }\nserde_json = \"1\"",
    },
    Subject {
        name: "quick_cache",
        dependencies: "quick_cache = \"0.7\"",
    },
    Subject {
        name: "moka",
        dependencies: "moka = { version = \"0.12\", features = [\"future\"] }",
    },
    Subject {
        name: "cached",
        dependencies: "cached = { version = \"4.1\", features = [\"async\"] }",
    },
    Subject {
        name: "cached, Redis",
        dependencies: "cached = { version = \"4.1\", features = [\"async\", \"redis_tokio\"] }",
    },
    Subject {
        name: "cachet",
        dependencies: "cachet = \"0.16\"\ntick = { version = \"0.8\", features = [\"tokio\"] }",
    },
    Subject {
        name: "amalgam-cache",
        dependencies: "amalgam-cache = \"0.4\"",
    },
    Subject {
        name: "amalgam-cache, Redis",
        dependencies: "amalgam-cache = { version = \"0.4\", features = [\"redis\"] }",
    },
    Subject {
        name: "multi-tier-cache, Redis",
        dependencies: "multi-tier-cache = \"0.6\"",
    },
    Subject {
        name: "hitbox",
        dependencies: "hitbox = \"0.2\"\nhitbox-fn = { version = \"0.2\", features = [\"derive\"] }\nhitbox-moka = \"0.2\"",
    },
    Subject {
        name: "hitbox, Redis",
        dependencies: "hitbox = \"0.2\"\nhitbox-fn = { version = \"0.2\", features = [\"derive\"] }\nhitbox-moka = \"0.2\"\n\
            hitbox-redis = \"0.2\"",
    },
    Subject {
        name: "oxcache",
        dependencies: "oxcache = { version = \"0.4\", features = [\"macros\"] }",
    },
    Subject {
        name: "oxcache, Redis",
        dependencies: "oxcache = { version = \"0.4\", features = [\"core\", \"macros\"] }",
    },
];
