use super::*;

const OLD: &str = include_str!("../../../tests/modules/_rabbitmq/export-3.10.8.json");
const NEW: &str = include_str!("../../../tests/modules/_rabbitmq/export-4.0.5.json");

/// Both brokers were given the same two imports; how they tell of it differs, what they hold differs only where the brokers do.
#[test]
fn exports_of_two_brokers_read_alike() {
    let read = |text: &str| {
        let mut all = Definitions::parse(text).unwrap();
        assert!(all.version.take().is_some());
        // Each new node hashes guest's password anew; the old one has no tags for clusters, keeps an old default type, and gives
        // queues no type.
        all.remove(Kind::User, &["guest"]);
        all.remove(Kind::GlobalParameter, &["cluster_tags"]);
        all.remove(Kind::Vhost, &["app"]);
        all
    };
    let (old, new) = (read(OLD), read(NEW));
    assert_eq!(Differences::between(&old, &new).deltas, []);
}

#[test]
fn an_export_written_again_reads_the_same() {
    for text in [OLD, NEW] {
        let all = Definitions::parse(text).unwrap();
        assert_eq!(Definitions::parse(&all.text()).unwrap(), all);
        assert!(all.all().count() > 15);
    }
}

#[test]
fn what_is_wrong_with_definitions_is_named() {
    let wrong = |text: &str| Definitions::parse(text).unwrap_err();
    assert!(wrong("Error:").starts_with("it is not JSON"));
    assert_eq!(wrong("[]"), "it is not a JSON object");
    assert_eq!(wrong(r#"{"user": []}"#), "`user` is no section of definitions");
    assert_eq!(wrong(r#"{"users": {}}"#), "`users` is not a list");
    assert_eq!(wrong(r#"{"queues": [{"name": "q"}]}"#), "`queues[0]` needs `vhost`");
}

/// A hash that a 4.0.5 made of `guest`, and the example of the documentation.
#[test]
fn password_hashes_are_recomputed() {
    let brokers = "j6QSFR8NyM3TGg7PlfMtoj1rSDqhq9ZCFmljc0Eu49seCkA+";
    assert!(matches(Algorithm::Sha256, brokers, "guest"));
    assert!(!matches(Algorithm::Sha256, brokers, "Guest"));
    assert!(!matches(Algorithm::Md5, brokers, "guest"));
    assert!(!matches(Algorithm::Sha256, "", "guest"));
    assert!(!matches(Algorithm::Sha256, "j6Q", ""));
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512, Algorithm::Md5] {
        assert_eq!(Algorithm::parse(algorithm.name()), Some(algorithm));
        let kept = hash(algorithm, [0x90, 0x8d, 0xc6, 0x0a], "test12");
        assert!(matches(algorithm, &kept, "test12"));
        assert!(!matches(algorithm, &kept, "test1"));
    }
    // The example of <https://www.rabbitmq.com/docs/passwords#computing-password-hash>.
    assert_eq!(
        hash(Algorithm::Sha256, [0x90, 0x8d, 0xc6, 0x0a], "test12"),
        "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"
    );
}

#[test]
fn values_that_mean_the_same_are_the_same() {
    let same = |one: &str, other: &str| {
        same(
            &serde_json::from_str(one).unwrap(),
            &serde_json::from_str(other).unwrap(),
        )
    };
    assert!(same(
        r#"{"a": 1, "b": [true, null, 1.5]}"#,
        r#"[["b", [true, null, 1.5]], ["a", 1.0]]"#
    ));
    assert!(same("{}", "[]"));
    assert!(!same(r#"["a", 1]"#, r#"{"a": 1}"#));
    assert!(!same("1", r#""1""#));
}

#[test]
fn what_falls_with_another_is_not_deleted_twice() {
    let now = Definitions::parse(NEW).unwrap();
    let mut wanted = now.clone();
    wanted.remove(Kind::Vhost, &["app"]);
    wanted.remove(Kind::User, &["alice"]);
    let differences = Differences::between(&now, &wanted);
    assert_eq!(deletions(&differences).len(), 1);
    assert_eq!(import(&differences, &wanted), None);
    let gone: Vec<&str> = differences.deltas.iter().map(|d| d.subject.as_str()).collect();
    assert!(
        gone.contains(&"permissions of alice on vhost app") && gone.contains(&"vhost app"),
        "{gone:?}"
    );
    assert!(differences.deltas.len() > 8);
}
