//! `openssl_csr`: a request for a certificate.

use super::openssl::{self, FORCE, GROUP, OWNER, PATH, RETURN_CONTENT, STATE, Target};
use super::{Action, ArgError, ArgKind, ArgSpec, Args, Change, Decision, Failure, Kind, ModuleSpec, Prepare, Report};
use super::{Seen, Stop, no_guess};
use crate::host::{Outcome, Probe};

pub static SPEC: ModuleSpec = ModuleSpec {
    name: "openssl_csr",
    aliases: &["community.crypto.openssl_csr"],
    summary: "A request for a certificate",
    description: "\
Makes a request with the host's `openssl` and a key of the host, if what is there asks for something else or is of another key. The \
difference is shown as `openssl` words it.

Unlike community.crypto's: needs `openssl` and no Python; without `subject_alt_name` none is made of `common_name`. Not supported \
yet: `subject`, name constraints, key identifiers, a passphrase, `version`, `backup`.",
    args: &[
        PATH,
        STATE,
        ArgSpec::new("privatekey_path", ArgKind::Path, "The key on the host."),
        ArgSpec::new("common_name", ArgKind::Str, "CN of the subject.").aliases(&["CN", "commonName"]),
        ArgSpec::new("organization_name", ArgKind::Str, "O of the subject.").aliases(&["O", "organizationName"]),
        ArgSpec::new("organizational_unit_name", ArgKind::Str, "OU of the subject.").aliases(&["OU", "organizationalUnitName"]),
        ArgSpec::new("country_name", ArgKind::Str, "C of the subject, two letters.").aliases(&["C", "countryName"]),
        ArgSpec::new("state_or_province_name", ArgKind::Str, "ST of the subject.").aliases(&["ST", "stateOrProvinceName"]),
        ArgSpec::new("locality_name", ArgKind::Str, "L of the subject.").aliases(&["L", "localityName"]),
        ArgSpec::new("subject_alt_name", ArgKind::List, "Names the certificate is for, `DNS:mq-1` or `IP:10.0.0.1`.")
            .aliases(&["subjectAltName"]),
        ArgSpec::new("key_usage", ArgKind::List, "`digitalSignature`, `keyCertSign`...").aliases(&["keyUsage"]),
        ArgSpec::new("key_usage_critical", ArgKind::Bool, "It must be understood.").default("false"),
        ArgSpec::new("extended_key_usage", ArgKind::List, "`serverAuth`, `clientAuth`...").aliases(&["extendedKeyUsage"]),
        ArgSpec::new("extended_key_usage_critical", ArgKind::Bool, "It must be understood.").default("false"),
        ArgSpec::new("basic_constraints", ArgKind::List, "`CA:TRUE` for an authority, `pathlen:0`.").aliases(&["basicConstraints"]),
        ArgSpec::new("basic_constraints_critical", ArgKind::Bool, "It must be understood.").default("false"),
        ArgSpec::new("digest", ArgKind::Str, "Digest of the signature.").default("sha256"),
        FORCE,
        OWNER,
        GROUP,
        ArgSpec::new("mode", ArgKind::Mode, "Permissions; 0644 for a new request."),
        RETURN_CONTENT,
    ],
    free_form: None,
    open: false,
    returns: &[("filename", "The file"), ("csr", "The request, with `return_content: true`")],
    examples: "\
- name: what the node's certificate shall say
  openssl_csr:
    path: /etc/rabbitmq/tls/request.pem
    privatekey_path: /etc/rabbitmq/tls/key.pem
    common_name: mq-1
    subject_alt_name: [DNS:mq-1, IP:10.0.0.21]
    extended_key_usage: [serverAuth, clientAuth]
",
    local: true,
    kind: Kind::Host(prepare),
    ahead: no_guess,
};

/// What the request there asks for, and what a new one would: two parts, as `openssl` words them. Nothing is written.
const LOOK: &str = r#"path=$1 key=$2 conf=$3 digest=$4
command -v openssl >/dev/null || { echo 'there is no openssl on the host' >&2; exit 127; }
[ -r "$key" ] || { echo "there is no key \`$key\`" >&2; exit 66; }
words() { openssl req -noout -text -nameopt utf8 | sed '/Signature Algorithm/,$d'; }
[ ! -s "$path" ] || words <"$path" 2>/dev/null
echo --
printf %s "$conf" | openssl req -new -key "$key" -config /dev/stdin "-$digest" | words"#;

const MAKE: &str = r#"make() { printf %s "$2" | openssl req -new -key "$1" -config /dev/stdin "-$3"; }"#;

struct Csr {
    target: Target,
    key: String,
    conf: String,
    digest: String,
}

fn prepare(args: &Args, _: &dyn Prepare) -> Result<Box<dyn Action>, ArgError> {
    let target = Target::new(args, 0o644)?;
    if !target.absent && args.str("privatekey_path").is_none() {
        return Err(ArgError::task(
            "module `openssl_csr` needs the argument `privatekey_path`",
        ));
    }
    Ok(Box::new(Csr {
        target,
        key: args.str("privatekey_path").unwrap_or_default().to_owned(),
        conf: conf(args)?,
        digest: args.need("digest")?.to_owned(),
    }))
}

/// The request as `openssl req` reads it.
fn conf(args: &Args) -> Result<String, ArgError> {
    let mut subject = String::new();
    for (argument, name) in [
        ("country_name", "C"),
        ("state_or_province_name", "ST"),
        ("locality_name", "L"),
        ("organization_name", "O"),
        ("organizational_unit_name", "OU"),
        ("common_name", "CN"),
    ] {
        if let Some(value) = args.str(argument) {
            subject += &format!("{name} = {}\n", quoted(argument, value)?);
        }
    }
    let mut extensions = String::new();
    for (argument, name) in [
        ("basic_constraints", "basicConstraints"),
        ("key_usage", "keyUsage"),
        ("extended_key_usage", "extendedKeyUsage"),
        ("subject_alt_name", "subjectAltName"),
    ] {
        let values = args.list(argument);
        if let Some(bad) = values.iter().find(|v| v.contains([',', '\n', '$', '#', '\\', '"'])) {
            return Err(ArgError::new(argument, format!("`{bad}` is no value of `{argument}`")));
        }
        if !values.is_empty() {
            let critical = if args.bool(&format!("{argument}_critical")) {
                "critical, "
            } else {
                ""
            };
            extensions += &format!("{name} = {critical}{}\n", values.join(", "));
        }
    }
    let extended = if extensions.is_empty() {
        ""
    } else {
        "req_extensions = extensions\n"
    };
    Ok(format!(
        "[req]\nprompt = no\nutf8 = yes\nstring_mask = utf8only\ndistinguished_name = subject\n{extended}\
         [subject]\n{subject}[extensions]\n{extensions}"
    ))
}

/// A value as `openssl`'s configuration reads it back.
fn quoted(argument: &str, value: &str) -> Result<String, ArgError> {
    if value.contains('\n') || value.is_empty() {
        return Err(ArgError::new(argument, format!("`{argument}` has to be one line")));
    }
    let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$");
    Ok(format!("\"{escaped}\""))
}

impl Csr {
    fn look(&self) -> Probe {
        openssl::probe(LOOK, &[&self.target.path, &self.key, &self.conf, &self.digest])
    }
}

impl Action for Csr {
    fn probes(&self) -> Vec<Probe> {
        let mut probes = self.target.probes();
        if !self.target.absent {
            probes.push(self.look());
        }
        probes
    }

    fn decide(&self, seen: &Seen<'_>) -> Result<Decision, Stop> {
        seen.want(&self.probes())?;
        let report = self.target.report("csr", seen)?;
        if self.target.absent {
            return self.target.decide(None, report, seen);
        }
        let (there, wanted) = openssl::parts(seen, &self.look(), "the request cannot be made")?;
        let anew = (self.target.force || there != wanted).then(|| {
            let op = self.target.make(MAKE, &[&self.key, &self.conf, &self.digest]);
            (vec![openssl::delta(&self.target.path, &there, &wanted)], op)
        });
        self.target.decide(anew, report, seen)
    }

    fn finish(&self, change: &Change, outcomes: &[Outcome]) -> Result<Report, Failure> {
        openssl::judge("the request cannot be made", change, outcomes)
    }
}
