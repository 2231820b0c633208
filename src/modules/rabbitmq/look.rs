//! What a task about objects looks at besides the definitions.

use super::login::Access;
use super::{ctl, run, unexpected};
use crate::host::{Observation, Probe};
use crate::modules::{Failure, Seen, Stop};
use crate::rabbitmq::api::{Answer, answer, segment};
use crate::rabbitmq::definitions::Kind;
use serde_json::{Map, Value};

/// Further looks at the broker.
pub struct Look<'a, 'b> {
    pub seen: &'a Seen<'b>,
    pub(super) node: Option<&'a str>,
    /// Where it tells the same.
    pub(super) api: Option<&'a Access>,
}

impl Look<'_, '_> {
    fn listing(&self, arguments: &[&str]) -> Probe {
        ctl(self.node, &[&["-q", "--formatter", "json"], arguments].concat())
    }

    /// What a queue or an exchange is declared as, if it is there, and the look that told.
    pub fn declared(&self, kind: Kind, vhost: &str, name: &str) -> Result<(Option<Map<String, Value>>, Probe), Stop> {
        let columns = match kind {
            Kind::Exchange => &["type", "durable", "auto_delete", "internal", "arguments"][..],
            _ => &["durable", "auto_delete", "arguments"],
        };
        let (row, probe) = match self.api {
            Some(access) => {
                let path = [kind.section(), &segment(vhost), &segment(name)].join("/");
                let probe = access.api.get(&format!("/api/{path}"));
                (self.asked(&probe)?, probe)
            }
            None => self.listed(kind, vhost, name, columns)?,
        };
        let row = row.map(|mut row| {
            row.retain(|name, _| columns.contains(&name.as_str()));
            row
        });
        Ok((row, probe))
    }

    /// The messages in a queue and its consumers, as the queue itself tells: the API is seconds behind.
    pub fn load(&self, vhost: &str, name: &str) -> Result<[u64; 2], Stop> {
        let columns = ["messages", "consumers"];
        let (row, _) = self.listed(Kind::Queue, vhost, name, &columns)?;
        let count = |column| row.as_ref().and_then(|row| row.get(column)?.as_u64()).unwrap_or(0);
        Ok(columns.map(count))
    }

    /// The object that the API answers; `None`: not found.
    fn asked(&self, probe: &Probe) -> Result<Option<Map<String, Value>>, Stop> {
        let Observation::Exec(result) = self.seen.get(probe)? else {
            return Ok(None);
        };
        match answer(&result) {
            Answer::Said(200, body) => serde_json::from_slice(body.as_bytes())
                .map_err(|e| Failure::new(format!("the management API answered no object: {e}")).into()),
            Answer::Said(404, _) => Ok(None),
            other => Err(unexpected(&other).into()),
        }
    }

    /// One queue or exchange as `rabbitmqctl` lists it; its arguments as an export writes them.
    fn listed(
        &self,
        kind: Kind,
        vhost: &str,
        name: &str,
        columns: &[&str],
    ) -> Result<(Option<Map<String, Value>>, Probe), Stop> {
        let list = if kind == Kind::Exchange {
            "list_exchanges"
        } else {
            "list_queues"
        };
        let arguments = [&["-p", vhost, list, "name"], columns].concat();
        let rows = self.rows(&arguments)?;
        let mut row = rows
            .into_iter()
            .find(|row| row.get("name").and_then(Value::as_str) == Some(name));
        if let Some(row) = &mut row {
            if let Some(list) = row.get("arguments").and_then(Value::as_array) {
                // Each argument is `[name, type, value]`.
                let pairs = list
                    .iter()
                    .filter_map(|a| Some((a.get(0)?.as_str()?.to_owned(), a.get(2)?.clone())));
                let arguments: Map<String, Value> = pairs.collect();
                row.insert("arguments".to_owned(), Value::Object(arguments));
            }
            row.shift_remove("name");
        }
        Ok((row, self.listing(&arguments)))
    }

    /// Whether this node traces a virtual host's messages, and the look that told.
    pub fn traces(&self, vhost: &str) -> Result<(bool, Probe), Stop> {
        let arguments = ["list_vhosts", "name", "tracing"];
        let mut rows = self.rows(&arguments)?.into_iter();
        let row = rows.find(|row| row.get("name").and_then(Value::as_str) == Some(vhost));
        let on = row.and_then(|row| row.get("tracing")?.as_bool());
        Ok((on.unwrap_or(false), self.listing(&arguments)))
    }

    /// The rows that a command of `rabbitmqctl` lists; starts a VM of its own.
    fn rows(&self, arguments: &[&str]) -> Result<Vec<Map<String, Value>>, Stop> {
        rows(self.seen, &self.listing(arguments))
    }
}

/// The rows that a command with `--formatter json` lists.
pub fn rows(seen: &Seen<'_>, probe: &Probe) -> Result<Vec<Map<String, Value>>, Stop> {
    let rows = serde_json::from_slice(run(seen, probe)?.as_bytes());
    rows.map_err(|e| Failure::new(format!("`rabbitmqctl` answered no list: {e}")).into())
}
