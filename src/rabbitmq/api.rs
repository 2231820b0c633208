//! The management API, asked on the node itself (<https://www.rabbitmq.com/docs/http-api-reference>): no Erlang VM starts
//! for it.

use crate::host::{Content, ExecResult, Hidden, Probe};
use crate::rabbitmq::definitions::{Definitions, Key, Kind, Properties};
use base64::Engine as _;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

/// `$1` scheme, `$2` host, `$3` port, `$4` path, the rest is for curl; the header with the login comes on standard input.
/// Prints the response as it came, with its head. 7, as of curl: nobody listens there.
///
/// Without TLS bash does it: Debian always has it, curl not. HTTP/1.0, so that the end of the connection is that of the
/// answer.
const GET: &str = r#"scheme=$1 host=$2 port=$3 path=$4
shift 4
if [ "$scheme" = http ] && command -v bash >/dev/null; then
  exec bash -c 'exec 3<>"/dev/tcp/$1/$2" || exit 7
read -r login
printf "GET %s HTTP/1.0\r\nHost: %s\r\n%s\r\nConnection: close\r\n\r\n" "$3" "$1" "$login" >&3
exec cat <&3' bash "$host" "$port" "$path"
fi
if ! command -v curl >/dev/null; then
  echo "there is no curl on the host to ask it with" >&2
  exit 7
fi
case $host in *:*) host="[$host]" ;; esac
exec curl -sS -i --http1.0 --noproxy '*' -H @- "$@" "$scheme://$host:$port$path""#;

const NO_HTTP: &str = "what listens there does not speak HTTP (`login_protocol`, `login_port`?)";

/// Longest wait for an answer, seconds.
const LIMIT_S: u32 = 60;

/// Where it is, and who asks.
#[derive(Clone, Debug)]
pub struct Api {
    /// `http` or `https`.
    pub scheme: String,
    pub host: String,
    pub port: u16,
    pub login: Login,
    /// With TLS: the options of curl that name certificates.
    pub certificates: Vec<String>,
}

/// A user of the broker.
#[derive(Clone, Debug)]
pub struct Login {
    pub user: String,
    pub password: Hidden,
}

/// What came of a question.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Status and body.
    Said(u16, Content),
    /// There is no API, or nothing to ask it with.
    Nobody(String),
    /// It is there, and could not be asked.
    Failed(String),
}

impl Api {
    /// A look at what is below this path.
    pub fn get(&self, path: &str) -> Probe {
        let head = ["sh", "-c", GET, "rabbitmq-api", &self.scheme, &self.host].map(str::to_owned);
        let place = [self.port.to_string(), path.to_owned()];
        let rest = self.certificates.iter().cloned();
        Probe::Exec {
            argv: head.into_iter().chain(place).chain(rest).collect(),
            stdin: Some(self.login.header()),
            timeout_s: LIMIT_S,
        }
    }

    /// As a reader finds it.
    pub fn url(&self) -> String {
        format!("{}://{}:{}", self.scheme, self.host, self.port)
    }
}

impl Login {
    fn header(&self) -> Hidden {
        let pair = [self.user.as_bytes(), b":", self.password.as_bytes()].concat();
        let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
        Hidden::new(format!("Authorization: Basic {encoded}\n"))
    }
}

/// A name as one segment of a path.
pub fn segment(name: &str) -> String {
    const ESCAPED: AsciiSet = NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'.')
        .remove(b'_')
        .remove(b'~')
        .remove(b',');
    utf8_percent_encode(name, &ESCAPED).to_string()
}

/// Reads what [`Api::get`] saw.
pub fn answer(result: &ExecResult) -> Answer {
    let said = || {
        let stderr = result.stderr.text();
        let mut lines = stderr.lines().filter(|l| !l.trim().is_empty());
        // curl goes on to explain itself.
        let line = lines
            .clone()
            .find(|l| l.starts_with("curl:"))
            .or_else(|| lines.next_back())
            .unwrap_or_default();
        // `bash: connect: Connection refused`, `bash: line 1: /dev/tcp/...: Connection refused`
        let known = ["Connection refused", "Name or service not known", "No route to host"];
        let short = known.iter().find(|k| stderr.contains(**k));
        short.map_or_else(|| line.trim().to_owned(), |k| k.to_lowercase())
    };
    match result.rc {
        0 => {}
        // Of curl: no such name, refused, too late.
        6 | 7 | 28 => return Answer::Nobody(said()),
        124 => return Answer::Nobody(format!("no answer in {LIMIT_S} s")),
        126 | 127 => return Answer::Nobody(said()),
        _ if said().is_empty() => return Answer::Failed(NO_HTTP.to_owned()),
        _ => return Answer::Failed(said()),
    }
    let bytes = result.stdout.as_bytes();
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n");
    let status = end.and_then(|end| {
        let head = String::from_utf8_lossy(&bytes[..end]);
        let line = head.strip_prefix("HTTP/")?.lines().next()?.to_owned();
        line.split(' ').nth(1)?.parse::<u16>().ok()
    });
    match (end, status) {
        (Some(end), Some(status)) => Answer::Said(status, Content::from(&bytes[end + 4..])),
        _ => Answer::Failed(NO_HTTP.to_owned()),
    }
}

/// What `/api/definitions` tells, but for what [`describe`] adds. `Err`: what is wrong with it.
pub fn definitions(body: &Content) -> Result<Definitions, String> {
    let mut all = Definitions::parse(&body.text())?;
    // Seen of 3.10.8 and 4.0.5: a null in a parameter is `"nil"`.
    for kind in [Kind::Parameter, Kind::GlobalParameter] {
        let list: Vec<_> = all.of(kind).map(|(k, p)| (k.clone(), p.clone())).collect();
        for (key, mut properties) in list {
            properties.values_mut().for_each(nil_is_null);
            all.put(kind, key, properties);
        }
    }
    Ok(all)
}

/// What `/api/vhosts` tells. `Err`: what is wrong with it.
pub fn vhosts(body: &Content) -> Result<Vec<(Key, Properties)>, String> {
    let rows: Vec<Map<String, Value>> =
        serde_json::from_slice(body.as_bytes()).map_err(|e| format!("virtual hosts: it is not JSON: {e}"))?;
    rows.iter()
        .map(|row| {
            let (_, key, mut properties) =
                Kind::read("vhosts", row).map_err(|what| format!("a virtual host needs `{what}`"))?;
            // As it is shown where none was given.
            let default = properties.get("default_queue_type").and_then(Value::as_str);
            if matches!(default, Some("classic" | "undefined")) {
                properties.shift_remove("default_queue_type");
            }
            Ok((key, properties))
        })
        .collect()
}

/// Makes of what both tell what an export tells: before 3.11 the API's definitions only name virtual hosts. Tracing is of the
/// node that was asked.
pub fn describe(all: &mut Definitions, vhosts: &[(Key, Properties)]) {
    for (key, properties) in vhosts {
        if all.has(Kind::Vhost, &[&key[0]]) {
            all.put(Kind::Vhost, key.clone(), properties.clone());
        }
    }
}

fn nil_is_null(value: &mut Value) {
    match value {
        Value::String(text) if text == "nil" => *value = Value::Null,
        Value::Array(list) => list.iter_mut().for_each(nil_is_null),
        Value::Object(map) => map.values_mut().for_each(nil_is_null),
        _ => {}
    }
}

/// What [`answer`] reads as this body.
pub fn response(body: &str) -> ExecResult {
    ExecResult {
        stdout: Content::from(format!("HTTP/1.1 200 OK\r\n\r\n{body}")),
        ..ExecResult::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api() -> Api {
        Api {
            scheme: "http".to_owned(),
            host: "localhost".to_owned(),
            port: 15672,
            login: Login {
                user: "admin".to_owned(),
                password: Hidden::new("s3cret"),
            },
            certificates: Vec::new(),
        }
    }

    #[test]
    fn a_login_is_no_argument_and_not_shown() {
        let Probe::Exec { argv, stdin, .. } = api().get("/api/definitions") else {
            panic!("no command")
        };
        let login = "YWRtaW46czNjcmV0";
        assert_eq!(
            String::from_utf8_lossy(stdin.unwrap().as_bytes()),
            format!("Authorization: Basic {login}\n")
        );
        let shown = format!("{argv:?}{:?}{:?}", api(), api().get("/"));
        assert!(!shown.contains("s3cret") && !shown.contains(login), "{shown}");
    }

    #[test]
    fn answers_are_read() {
        let of = |rc: i32, stdout: &str, stderr: &str| {
            answer(&ExecResult {
                rc,
                stdout: Content::from(stdout),
                stderr: Content::from(stderr),
                ..ExecResult::default()
            })
        };
        let said = |status, body: &str| Answer::Said(status, Content::from(body));
        assert_eq!(
            of(0, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", ""),
            said(200, "{}")
        );
        assert_eq!(of(0, "HTTP/1.1 401 Unauthorized\r\n\r\n", ""), said(401, ""));
        let refused = "bash: connect: Connection refused\nbash: line 1: /dev/tcp/localhost/1: Connection refused\n";
        assert_eq!(of(7, "", refused), Answer::Nobody("connection refused".to_owned()));
        assert!(matches!(of(60, "", "curl: (60) SSL certificate problem"), Answer::Failed(why) if why.contains("SSL")));
        assert!(matches!(of(0, "\u{15}\u{3}", ""), Answer::Failed(_)));
        assert_eq!(answer(&response("x")), said(200, "x"));
    }

    /// The same broker, asked at the same time in both ways.
    #[test]
    fn the_api_tells_what_an_export_tells() {
        use crate::rabbitmq::definitions::Differences;
        for looks in [
            include_str!("../../tests/modules/_rabbitmq/looks-3.10.8.json"),
            include_str!("../../tests/modules/_rabbitmq/looks-4.0.5.json"),
        ] {
            let looks: Map<String, Value> = serde_json::from_str(looks).unwrap();
            let text = |name: &str| looks[name].to_string();
            let mut export = Definitions::parse(&text("export")).unwrap();
            let body = |name: &str| Content::from(text(name));
            let mut api = definitions(&body("definitions")).unwrap();
            describe(&mut api, &vhosts(&body("vhosts")).unwrap());
            assert_eq!(api.version, export.version);
            // What an export does not tell: internal exchanges, the cluster's own name for itself, and what is of a node alone.
            let inner = api.get(Kind::Exchange, &["shop", "inner"]).unwrap();
            assert_eq!(inner["internal"], true);
            export.put(
                Kind::Exchange,
                vec!["shop".to_owned(), "inner".to_owned()],
                inner.clone(),
            );
            api.remove(Kind::GlobalParameter, &["internal_cluster_id"]);
            for name in ["/", "set", "shop"] {
                let mut vhost = api.get(Kind::Vhost, &[name]).unwrap().clone();
                assert_eq!(vhost.shift_remove("tracing"), Some(Value::Bool(false)));
                api.put(Kind::Vhost, vec![name.to_owned()], vhost);
            }
            let differences = Differences::between(&export, &api);
            assert!(differences.is_empty(), "{:#?}", differences.deltas);
        }
    }

    #[test]
    fn names_are_segments() {
        assert_eq!(segment("/"), "%2F");
        assert_eq!(segment("a b/é"), "a%20b%2F%C3%A9");
    }
}
