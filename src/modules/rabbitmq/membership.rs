//! Which cluster a host's node belongs to, seen without starting a VM.

use crate::host::Probe;
use crate::modules::{Seen, Shared, Stop};

/// Mnesia's list of members, `{['rabbit@mq-1','rabbit@mq-2'],['rabbit@mq-1']}.`, after its path; before it the enabled
/// feature flags: with Khepri the list is no longer kept.
const SCRIPT: &str = r#"cd /var/lib/rabbitmq/mnesia 2>/dev/null || exit 0
for file in *-feature_flags; do [ -r "$file" ] && grep -o khepri_db "$file"; done
for file in */cluster_nodes.config; do [ -r "$file" ] && echo "node ${file%/*}" && cat "$file"; done
exit 0"#;

pub fn probe() -> Probe {
    Probe::script(SCRIPT, &[])
}

/// The cluster, if it is one and its members are known without doubt.
pub fn shared(seen: &Seen<'_>) -> Result<Option<Shared>, Stop> {
    let crate::host::Observation::Exec(result) = seen.get(&probe())? else {
        return Ok(None);
    };
    Ok(read(&result.stdout.text()))
}

fn read(text: &str) -> Option<Shared> {
    let mut lines = text.lines();
    let own = lines.next()?.strip_prefix("node ")?;
    let rest: String = lines.collect();
    if rest.contains("node ") {
        return None;
    }
    let mut members = crate::rabbitmq::cluster::members(&rest)?;
    members.sort_unstable();
    (members.len() > 1 && members.iter().any(|member| member == own)).then(|| Shared {
        what: members.join(" "),
        part: own.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_read_and_doubt_is_nobody_s_cluster() {
        let of = |text: &str| read(text).map(|s| format!("{} in {}", s.part, s.what));
        let two = "node rabbit@mq-2\n{['rabbit@mq-2','rabbit@mq-1'],['rabbit@mq-2']}.\n";
        assert_eq!(of(two).as_deref(), Some("rabbit@mq-2 in rabbit@mq-1 rabbit@mq-2"));
        // Alone; with Khepri; two nodes on a host; the directory of a node of another name; nothing.
        for doubt in [
            "node rabbit@mq-1\n{['rabbit@mq-1'],['rabbit@mq-1']}.\n",
            &format!("khepri_db\n{two}"),
            &format!("{two}{two}"),
            "node rabbit@old\n{['rabbit@mq-2','rabbit@mq-1'],['rabbit@mq-2']}.\n",
            "",
        ] {
            assert_eq!(of(doubt), None, "{doubt}");
        }
    }
}
