//! The text of keys.

use dexter_cache::cached;

#[cached(ttl = 300, prefix = "list_issues")]
async fn list_issues(organization: &str, project: &str, status: Option<&str>) -> Vec<String> {
    vec![
        organization.to_owned(),
        project.to_owned(),
        status.unwrap_or_default().to_owned(),
    ]
}

#[cached(ttl = 300, prefix = "derived", key(day = at / 86_400, id = id % 10), skip(at))]
async fn derived(id: u64, at: u64, r#type: &str) -> u64 {
    id + at + u64::from(r#type.is_empty())
}

#[test]
fn names_are_sorted_and_none_is_left_out() {
    assert_eq!(
        list_issues::key("myorg", "myproject", Some("unresolved")).as_str(),
        "list_issues:organization=myorg&project=myproject&status=unresolved"
    );
    assert_eq!(
        list_issues::key("a", "b", None).as_str(),
        "list_issues:organization=a&project=b"
    );
}

#[test]
fn parts_can_be_computed() {
    assert_eq!(
        derived::key(17, 86_401, "x").as_str(),
        "derived:day=1&id=7&type=x"
    );
}
