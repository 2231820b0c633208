//! The broker's own health checks: by its command line tools, and by its management API from the host itself.

use super::{Check, Verdict};
use crate::diagnostic::similar_name;
use crate::host::{Content, Effect, Exec, ExecResult, Observation, Op, Outcome, Probe};
use crate::modules::args::{Args, plain};
use crate::modules::{ArgError, Failure, Seen, Stop, knob};
use crate::rabbitmq::api::segment;
use crate::rabbitmq::checks::{self, API_CHECKS, ApiCheck, CHECKS, Takes, UNITS};
use crate::rabbitmq::{Version, cli, health};
use base64::Engine as _;
use serde_json::Value;

/// Seconds a command may take: each starts an Erlang VM.
const LIMIT_S: u32 = 120;

/// A check by a command.
pub struct Command {
    check: &'static checks::Check,
    arguments: Vec<String>,
}

/// Checks by the API, in one message.
pub struct Api {
    url: String,
    /// Base64 of `user:password`.
    login: String,
    checks: Vec<(&'static ApiCheck, Vec<String>)>,
}

/// `$1` is the URL, the rest are paths; the login comes on standard input. Prints for each path the answer and its
/// status. There is `curl`, or the `python3` that Debian's package of the broker needs itself.
const ASK: &str = r#"url=$1
shift
read -r login
if command -v curl >/dev/null; then
  for path do
    printf 'header = "Authorization: Basic %s"\n' "$login" |
      curl -s -K - --noproxy '*' --max-time 60 -w '\n%{http_code}\n' "$url/api/health/checks/$path"
  done
elif command -v python3 >/dev/null; then
  printf '%s\n' "$login" | python3 -c 'import sys, urllib.error, urllib.request
login = sys.stdin.readline().strip()
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
for path in sys.argv[2:]:
    request = urllib.request.Request(sys.argv[1] + "/api/health/checks/" + path)
    request.add_header("Authorization", "Basic " + login)
    try:
        answer = opener.open(request, timeout=60)
        print(answer.read().decode(), answer.status, sep="\n")
    except urllib.error.HTTPError as e:
        print(e.read().decode(), e.code, sep="\n")
    except OSError as e:
        print(e, "000", sep="\n")' "$url" "$@"
else
  echo "neither curl nor python3 to ask the API with" >&2
  exit 127
fi
exit 0"#;

/// Names without values, or names with them: `running`, `[running, alarms]`, `{port_listener: 5672}`, lists of these.
fn named(value: &Value) -> Vec<(String, Option<Value>)> {
    match value {
        Value::Array(items) => items.iter().flat_map(named).collect(),
        Value::Object(map) => map.iter().map(|(k, v)| (k.clone(), Some(v.clone()))).collect(),
        value => vec![(plain(value), None)],
    }
}

fn unknown(arg: &'static str, name: &str, all: &[&'static str]) -> ArgError {
    let error = ArgError::new(arg, format!("RabbitMQ has no health check `{name}`"));
    match similar_name(name, all.iter().copied()) {
        Some(near) => error.help(format!("did you mean `{near}`?")),
        None => error.help(format!("it has {}", knob::quoted(all))),
    }
}

/// What a check takes, as words; a port for each of a list. Empty: the check is not wanted (`running: false`).
fn words(arg: &'static str, name: &str, takes: Takes, value: Option<&Value>) -> Result<Vec<Vec<String>>, ArgError> {
    let bad = |text: &str| ArgError::new(arg, format!("`{name}` {text}"));
    match (takes, value) {
        (Takes::Nothing, None | Some(Value::Bool(true) | Value::Null)) => Ok(vec![Vec::new()]),
        (Takes::Nothing, Some(Value::Bool(false))) => Ok(Vec::new()),
        (Takes::Nothing, Some(other)) => Err(bad(&format!("takes nothing, not `{}`", plain(other)))),
        (Takes::One, Some(Value::Array(items))) if !items.is_empty() => {
            Ok(items.iter().map(|item| vec![plain(item)]).collect())
        }
        (Takes::One, Some(value @ (Value::String(_) | Value::Number(_)))) => Ok(vec![vec![plain(value)]]),
        (Takes::One, _) => Err(bad("needs a value: which one")),
        (Takes::Within, Some(Value::Object(map))) => {
            if let Some(key) = map.keys().find(|k| !["within", "unit"].contains(&k.as_str())) {
                return Err(bad(&format!("has no `{key}`: it takes `within` and `unit`")));
            }
            let within = map.get("within").map(plain).unwrap_or_default();
            let unit = map.get("unit").map_or_else(|| "days".to_owned(), plain);
            if within.parse::<u32>().is_err() {
                return Err(bad("needs `within`, a whole number"));
            }
            if !UNITS.contains(&unit.as_str()) {
                return Err(bad(&format!("has no unit `{unit}`: it has {}", knob::quoted(&UNITS))));
            }
            Ok(vec![vec![within, unit]])
        }
        (Takes::Within, _) => Err(bad("needs how long: `{within: 30, unit: days}`")),
    }
}

/// `rabbitmq:` → checks.
pub fn commands(value: &Value, out: &mut Vec<Check>) -> Result<(), ArgError> {
    for (name, value) in named(value) {
        let short = name.strip_prefix("check_").unwrap_or(&name);
        let Some(check) = CHECKS.iter().find(|c| c.name == short) else {
            let all: Vec<&'static str> = CHECKS.iter().map(|c| c.name).collect();
            return Err(unknown("rabbitmq", short, &all));
        };
        for mut arguments in words("rabbitmq", short, check.takes, value.as_ref())? {
            if let (Takes::Within, [within, unit]) = (check.takes, arguments.as_slice()) {
                arguments = ["--within", within, "--unit", unit].map(str::to_owned).to_vec();
            }
            arguments.extend(check.fixed.iter().map(|f| (*f).to_owned()));
            out.push(Check::Rabbitmq(Command { check, arguments }));
        }
    }
    Ok(())
}

/// `rabbitmq_api:` and how to ask.
pub fn api(args: &Args, value: &Value) -> Result<Api, ArgError> {
    let mut wanted = Vec::new();
    for (name, value) in named(value) {
        let Some(check) = API_CHECKS.iter().find(|c| c.name == name) else {
            let all: Vec<&'static str> = API_CHECKS.iter().map(|c| c.name).collect();
            return Err(unknown("rabbitmq_api", &name, &all));
        };
        let each = words("rabbitmq_api", &name, check.takes, value.as_ref())?;
        wanted.extend(each.into_iter().map(|words| (check, words)));
    }
    let (user, password) = (args.str("api_user"), args.str("api_password"));
    let login = format!("{}:{}", user.unwrap_or("guest"), password.unwrap_or("guest"));
    Ok(Api {
        url: args.need("api_url")?.trim_end_matches('/').to_owned(),
        login: base64::prelude::BASE64_STANDARD.encode(login),
        checks: wanted,
    })
}

/// The version installed here: checks come and go with it.
pub fn version(seen: &Seen<'_>) -> Result<Option<Version>, Stop> {
    match seen.get(&Version::probe())? {
        Observation::List(paths) => Ok(Version::installed(&paths)),
        _ => Ok(None),
    }
}

impl Command {
    fn probe(&self) -> Probe {
        let command = format!("check_{}", self.check.name);
        let words = ["-q".to_owned(), command]
            .into_iter()
            .chain(self.arguments.iter().cloned());
        Probe::Exec {
            argv: cli::command(self.check.tool, words),
            stdin: None,
            timeout_s: LIMIT_S,
        }
    }

    /// What it asks for, once it is known that this version has it.
    pub fn wants(&self, version: Option<Version>) -> Option<Probe> {
        let missing = version.and_then(|v| checks::missing(self.check.since, self.check.until, v));
        missing.is_none().then(|| self.probe())
    }

    pub fn judge(&self, seen: &Seen<'_>, out: &mut Vec<Verdict>) -> Result<(), Stop> {
        let what = ["check_", self.check.name].concat();
        let what = [&[what][..], &self.arguments].concat().join(" ");
        if let Some(why) = version(seen)?.and_then(|v| checks::missing(self.check.since, self.check.until, v)) {
            // What can no longer be wrong is right.
            let over = self.check.until.is_some();
            out.push(Verdict::new(what, "passes", why, over));
            return Ok(());
        }
        let (holds, found) = match seen.get(&self.probe())? {
            Observation::Exec(answer) if answer.ok() => (true, "passes".to_owned()),
            Observation::Exec(answer) => (false, health::said(&answer)),
            _ => (false, "no answer".to_owned()),
        };
        out.push(Verdict::new(what, "passes", found, holds));
        Ok(())
    }
}

impl Api {
    fn paths(&self, version: Option<Version>) -> impl Iterator<Item = Result<String, (String, String, bool)>> {
        self.checks.iter().map(move |(check, words)| {
            let path = std::iter::once(check.name.to_owned()).chain(words.iter().map(|w| segment(w)));
            let path = path.collect::<Vec<_>>().join("/");
            match version.and_then(|v| checks::missing(check.since, check.until, v)) {
                Some(why) => Err((path, why, check.until.is_some())),
                None => Ok(path),
            }
        })
    }

    /// Verdicts that need no asking, and the op that asks for the others.
    pub fn plan(&self, version: Option<Version>, out: &mut Vec<Verdict>) -> Option<Op> {
        let mut paths = Vec::new();
        for path in self.paths(version) {
            match path {
                Ok(path) => paths.push(path),
                Err((path, why, over)) => out.push(Verdict::new(path, "passes", why, over)),
            }
        }
        if paths.is_empty() {
            return None;
        }
        let head = ["sh", "-c", ASK, "rabbitmq-api", &self.url].map(str::to_owned);
        Some(Op::Exec(Exec {
            argv: head.into_iter().chain(paths).collect(),
            stdin: Some(Content::from(format!("{}\n", self.login))),
            timeout_s: Some(LIMIT_S),
            ok: vec![0],
            effect: Effect::Nothing,
            secret: true,
            ..Exec::default()
        }))
    }

    /// Of the answers to the op of [`Api::plan`].
    pub fn judge(op: &Op, outcomes: &[Outcome]) -> Result<Vec<Verdict>, Failure> {
        let Op::Exec(exec) = op else { return Ok(Vec::new()) };
        let paths = exec.argv.iter().skip(5);
        let Some(answer) = outcomes.first().and_then(|o| o.exec.as_ref()).filter(|e| e.ok()) else {
            let said = outcomes.first().and_then(|o| o.exec.as_ref()).map(health::said);
            return Err(Failure::new(
                said.unwrap_or_else(|| "the API could not be asked".to_owned()),
            ));
        };
        let answers = answers(answer);
        let verdicts = paths.enumerate().map(|(n, path)| {
            let (status, body) = answers.get(n).cloned().unwrap_or_default();
            let found = match status {
                200 => "passes".to_owned(),
                0 => format!("no answer {body}").trim_end().to_owned(),
                401 | 403 => format!("{status}: the API does not let this user in"),
                404 => "404: this RabbitMQ has no such check".to_owned(),
                _ => reason(&body).unwrap_or_else(|| format!("{status}")),
            };
            Verdict::new(format!("api {path}"), "passes", found, status == 200)
        });
        Ok(verdicts.collect())
    }
}

/// Status and text of each answer: a line that is only a number ends one.
fn answers(said: &ExecResult) -> Vec<(u16, String)> {
    let mut answers = Vec::new();
    let mut body: Vec<String> = Vec::new();
    for line in said.stdout.text().lines() {
        match line.parse::<u16>() {
            Ok(status) if line.len() == 3 => answers.push((status, std::mem::take(&mut body).join(" "))),
            _ => body.push(line.trim().to_owned()),
        }
    }
    answers
}

/// What a failed check says in its `reason`.
fn reason(body: &str) -> Option<String> {
    let value: Value = serde_json::from_str(body).ok()?;
    value.get("reason").map(plain)
}
