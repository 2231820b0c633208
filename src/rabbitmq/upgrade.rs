//! Which upgrades RabbitMQ supports, and what must be so before one (its documentation, "Upgrading RabbitMQ").

use super::Version;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

type Series = (u16, u16);

/// From which series a series can be reached in one step, nodes one after the other.
const PATHS: &[(Series, &[Series])] = &[
    ((3, 9), &[(3, 8)]),
    ((3, 10), &[(3, 9)]),
    ((3, 11), &[(3, 10)]),
    ((3, 12), &[(3, 11)]),
    ((3, 13), &[(3, 12)]),
    ((4, 0), &[(3, 13)]),
    ((4, 1), &[(3, 13), (4, 0)]),
    ((4, 2), &[(3, 13), (4, 0), (4, 1)]),
    ((4, 3), &[(4, 2)]),
];
/// 3.12 wants the last fixes of 3.11.
const FOR_3_12: Version = Version::new(3, 11, 18);
const V4: Version = Version::new(4, 0, 0);

/// What a node tells of itself and its cluster; what is not here is not looked at.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Cluster {
    /// By node that runs.
    #[serde(default)]
    versions: BTreeMap<String, Running>,
    #[serde(default)]
    feature_flags: Vec<Flag>,
}

#[derive(Clone, Debug, Deserialize)]
struct Running {
    rabbitmq_version: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Flag {
    name: String,
    state: String,
    #[serde(default)]
    stability: String,
}

impl Cluster {
    /// Of `rabbitmqctl cluster_status --formatter json`.
    pub fn parse(text: &str) -> Option<Cluster> {
        let cluster: Cluster = serde_json::from_str(text.trim()).ok()?;
        (!cluster.versions.is_empty()).then_some(cluster)
    }

    /// The versions that run, with a node of each.
    pub fn running(&self) -> BTreeMap<Version, &str> {
        let nodes = self.versions.iter();
        nodes
            .filter_map(|(node, running)| Some((running.rabbitmq_version.parse().ok()?, node.as_str())))
            .collect()
    }

    fn disabled(&self) -> Vec<&str> {
        let flags = self.feature_flags.iter();
        flags
            .filter(|f| f.state != "enabled" && f.stability != "experimental")
            .map(|f| f.name.as_str())
            .collect()
    }

    fn enabled(&self, name: &str) -> bool {
        self.feature_flags
            .iter()
            .any(|f| f.name == name && f.state == "enabled")
    }
}

/// Why an upgrade is refused, and what to do instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub why: String,
    pub instead: String,
}

fn refusal(why: impl Into<String>, instead: impl Into<String>) -> Refusal {
    Refusal {
        why: why.into(),
        instead: instead.into(),
    }
}

/// Whether a node of one version may become another while the others go on.
pub fn path(from: Version, to: Version) -> Result<(), Refusal> {
    let text = |(major, minor): Series| format!("{major}.{minor}");
    if to < from {
        return Err(refusal(
            format!("{from} to {to} is a downgrade, which RabbitMQ does not support"),
            "build a new cluster and move the definitions and messages there",
        ));
    }
    if from.series() == to.series() {
        return Ok(());
    }
    let Some((_, sources)) = PATHS.iter().find(|(series, _)| *series == to.series()) else {
        return Err(refusal(
            format!("which versions can become {to} is not known here"),
            "see the upgrade guide of that version",
        ));
    };
    if !sources.contains(&from.series()) {
        let via: Vec<String> = steps(from.series(), to.series()).into_iter().map(text).collect();
        let sources: Vec<String> = sources.iter().map(|s| text(*s)).collect();
        let way = match via.is_empty() {
            true => String::new(),
            false => format!("go step by step ({}), or ", via.join(", ")),
        };
        return Err(refusal(
            format!(
                "RabbitMQ {} cannot become {}: that is reached only from {}",
                text(from.series()),
                text(to.series()),
                sources.join(" or ")
            ),
            format!("{way}build a new cluster beside this one and move definitions and messages there"),
        ));
    }
    if to.series() == (3, 12) && from < FOR_3_12 {
        return Err(refusal(
            format!("{from} cannot become {to}: 3.12 is reached from {FOR_3_12} or later"),
            "upgrade to the last 3.11 first",
        ));
    }
    Ok(())
}

/// The shortest way, the end included, the start not; empty where there is none.
fn steps(from: Series, to: Series) -> Vec<Series> {
    let sources = PATHS.iter().find(|(series, _)| *series == to);
    let ways = sources
        .into_iter()
        .flat_map(|(_, sources)| sources.iter())
        .filter_map(|source| {
            if *source == from {
                return Some(vec![to]);
            }
            let mut way = steps(from, *source);
            (!way.is_empty()).then(|| {
                way.push(to);
                way
            })
        });
    ways.min_by_key(Vec::len).unwrap_or_default()
}

/// Everything that stands against an upgrade of the cluster to this version. `definitions`: as `export_definitions`
/// has them.
pub fn refusals(cluster: &Cluster, definitions: &Value, to: Version) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    for (from, node) in cluster.running() {
        if let Err(refusal) = path(from, to) {
            refusals.push(Refusal {
                why: format!("{node}: {}", refusal.why),
                ..refusal
            });
        }
        if from.series() == (3, 13) && to >= V4 && cluster.enabled("khepri_db") {
            refusals.push(refusal(
                "the cluster keeps its metadata in Khepri, which 3.13 had as an experiment: it cannot be upgraded",
                "build a new cluster beside this one and move definitions and messages there",
            ));
        }
    }
    let news = cluster.running().keys().any(|from| from.series() != to.series());
    let disabled = cluster.disabled();
    if news && !disabled.is_empty() {
        refusals.push(refusal(
            format!("stable feature flags are not enabled: {}", disabled.join(", ")),
            "`rabbitmqctl enable_feature_flag all`: a newer node refuses to start without them",
        ));
    }
    let mirrored = mirroring(definitions);
    let old = cluster.running().keys().any(|from| *from < V4);
    if old && to >= V4 && !mirrored.is_empty() {
        refusals.push(refusal(
            format!(
                "policies mirror classic queues, which RabbitMQ 4 does not: {}",
                mirrored.join(", ")
            ),
            "make the queues quorum queues and take `ha-...` out of the policies",
        ));
    }
    refusals
}

/// Policies that mirror classic queues, `ha in /`.
fn mirroring(definitions: &Value) -> Vec<String> {
    let list = |key: &str| definitions.get(key).and_then(Value::as_array).into_iter().flatten();
    let of = |policy: &Value, definition: &str| {
        let keys = policy.get(definition)?.as_object()?.keys();
        keys.into_iter().any(|key| key.starts_with("ha-")).then(|| {
            let text = |key: &str| policy.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
            format!("`{}` in `{}`", text("name"), text("vhost"))
        })
    };
    let operators = list("parameters").filter(|p| p.get("component").is_some_and(|c| c == "operator_policy"));
    let operators = operators.filter_map(|p| {
        let mut flat = p.clone();
        flat["definition"] = p.get("value")?.get("definition")?.clone();
        of(&flat, "definition")
    });
    list("policies")
        .filter_map(|p| of(p, "definition"))
        .chain(operators)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn why(from: &str, to: &str) -> String {
        path(from.parse().unwrap(), to.parse().unwrap())
            .map_or_else(|r| format!("{}. {}", r.why, r.instead), |()| "fine".to_owned())
    }

    #[test]
    fn paths() {
        for (from, to) in [
            ("3.10.8", "3.10.25"),
            ("3.12.14", "3.13.7"),
            ("3.13.7", "4.0.5"),
            ("3.13.7", "4.2.1"),
            ("4.0.5", "4.2.0"),
            ("4.2.5", "4.3.0"),
            ("4.0.5", "4.0.5"),
            ("3.11.18", "3.12.0"),
        ] {
            assert_eq!(why(from, to), "fine", "{from} {to}");
        }
        assert_eq!(
            why("3.10.8", "4.0.5"),
            "RabbitMQ 3.10 cannot become 4.0: that is reached only from 3.13. go step by step (3.11, 3.12, 3.13, 4.0), \
             or build a new cluster beside this one and move definitions and messages there"
        );
        assert!(
            why("4.1.0", "4.3.0").starts_with(
                "RabbitMQ 4.1 cannot become 4.3: that is reached only from 4.2. go step by step (4.2, 4.3)"
            )
        );
        assert!(why("4.0.5", "3.13.7").contains("a downgrade"));
        assert!(why("3.11.9", "3.12.0").contains("3.12 is reached from 3.11.18 or later"));
        assert!(why("4.3.0", "5.0.0").contains("not known here"));
    }

    fn cluster(version: &str, flags: Value) -> Cluster {
        let status = json!({"versions": {"rabbit@a": {"rabbitmq_version": version}}, "feature_flags": flags});
        Cluster::parse(&status.to_string()).unwrap()
    }

    fn whys(cluster: &Cluster, definitions: &Value, to: &str) -> Vec<String> {
        let refusals = refusals(cluster, definitions, to.parse().unwrap());
        refusals.into_iter().map(|r| r.why).collect()
    }

    #[test]
    fn flags_and_mirrors() {
        let flags = json!([
            {"name": "khepri_db", "state": "disabled", "stability": "experimental"},
            {"name": "message_containers", "state": "disabled", "stability": "stable"},
            {"name": "stream_queue", "state": "enabled", "stability": "required"},
        ]);
        let old = cluster("3.13.7", flags.clone());
        let definitions = json!({
            "policies": [
                {"vhost": "/", "name": "ha", "definition": {"ha-mode": "all"}},
                {"vhost": "/", "name": "ttl", "definition": {"message-ttl": 1}},
            ],
            "parameters": [{"component": "operator_policy", "vhost": "v", "name": "two", "value": {"definition": {"ha-mode": "exactly"}}}],
        });
        assert_eq!(
            whys(&old, &definitions, "4.0.5"),
            [
                "stable feature flags are not enabled: message_containers",
                "policies mirror classic queues, which RabbitMQ 4 does not: `ha` in `/`, `two` in `v`",
            ]
        );
        // Within a series nothing of it matters.
        assert_eq!(whys(&old, &definitions, "3.13.8"), Vec::<String>::new());
        let khepri = cluster(
            "3.13.7",
            json!([{"name": "khepri_db", "state": "enabled", "stability": "experimental"}]),
        );
        assert!(whys(&khepri, &json!({}), "4.0.5")[0].contains("Khepri"));
    }

    #[test]
    fn real_clusters() {
        let old = Cluster::parse(include_str!("testdata/cluster_status-3.10.json")).unwrap();
        let found = whys(&old, &json!({}), "4.0.5");
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("RabbitMQ 3.10 cannot become 4.0"), "{found:?}");
        let new = Cluster::parse(include_str!("testdata/cluster_status-4.0.json")).unwrap();
        assert_eq!(whys(&new, &json!({}), "4.1.0"), Vec::<String>::new());
    }
}
