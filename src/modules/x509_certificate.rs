//! `x509_certificate`: a certificate, signed by its own key or by a small authority of one's own.

use super::openssl::{self, FORCE, GROUP, OWNER, PATH, RETURN_CONTENT, STATE, Target};
use super::{Action, ArgError, ArgKind, ArgSpec, Args, Change, Decision, Failure, Kind, ModuleSpec, Prepare, Report};
use super::{Seen, Stop, no_guess};
use crate::host::{Outcome, Probe};

pub static SPEC: ModuleSpec = ModuleSpec {
    name: "x509_certificate",
    aliases: &["community.crypto.x509_certificate"],
    summary: "A certificate: self-signed, or of one's own authority",
    description: "\
Signs a request with the host's `openssl`: with the request's own key (`selfsigned`) or with that of an authority on the host \
(`ownca`). A certificate stays if it says what the request asks for, is of its key, was signed by that authority and has not expired.

Unlike community.crypto's: needs `openssl` 3 and no Python; `..._not_after` is a number of days, `+3650d`. Not supported yet: other \
providers, dates, versions, a passphrase, `backup`.",
    args: &[
        PATH,
        STATE,
        ArgSpec::new("provider", ArgKind::Str, "Who signs.").choices(&["selfsigned", "ownca"]),
        ArgSpec::new("csr_path", ArgKind::Path, "The request on the host."),
        ArgSpec::new("csr_content", ArgKind::Str, "The request itself, instead of `csr_path`."),
        ArgSpec::new("privatekey_path", ArgKind::Path, "The request's key, for `selfsigned`."),
        ArgSpec::new("selfsigned_not_after", ArgKind::Str, "How long it is valid.").default("+3650d"),
        ArgSpec::new("ownca_path", ArgKind::Path, "The authority's certificate on the host."),
        ArgSpec::new("ownca_privatekey_path", ArgKind::Path, "The authority's key on the host."),
        ArgSpec::new("ownca_not_after", ArgKind::Str, "How long it is valid.").default("+3650d"),
        FORCE,
        OWNER,
        GROUP,
        ArgSpec::new("mode", ArgKind::Mode, "Permissions; 0644 for a new certificate."),
        RETURN_CONTENT,
    ],
    free_form: None,
    open: false,
    returns: &[("filename", "The file"), ("certificate", "The certificate, with `return_content: true`")],
    examples: "\
- name: a certificate of our own authority
  x509_certificate:
    path: /etc/rabbitmq/tls/certificate.pem
    csr_path: /etc/rabbitmq/tls/request.pem
    provider: ownca
    ownca_path: /etc/rabbitmq/ca/ca.pem
    ownca_privatekey_path: /etc/rabbitmq/ca/key.pem
    ownca_not_after: +365d
",
    local: true,
    kind: Kind::Host(prepare),
    ahead: no_guess,
};

/// The request as a stream: a file `$csr`, or the text `$text`.
const REQUEST: &str = r#"request() { if [ -n "$text" ]; then printf %s "$text"; else cat -- "$csr"; fi; }"#;

/// What the certificate there says, and what the request asks for: subject, key, extensions; then who signed it.
const LOOK: &str = r#"path=$1 csr=$2 text=$3 ca=$4
command -v openssl >/dev/null || { echo 'there is no openssl on the host' >&2; exit 127; }
[ -n "$text" ] || [ -r "$csr" ] || { echo "there is no request \`$csr\`" >&2; exit 66; }
[ -z "$ca" ] || [ -r "$ca" ] || { echo "there is no certificate of the authority, \`$ca\`" >&2; exit 66; }
words() { sed -n '/^ *Subject: /p; /X509v3/,/Signature Algorithm/{/Signature Algorithm/!{/Requested Extensions\|X509v3 extensions\|Key Identifier\|^ *[0-9A-F][0-9A-F]:[0-9A-F][0-9A-F]:/!p;};}' | sed 's/^ *//'; }
key() { openssl pkey -pubin -outform DER | openssl sha256 | sed 's/.*= */key /'; }
if [ -s "$path" ] && openssl x509 -in "$path" -noout 2>/dev/null; then
  openssl x509 -in "$path" -noout -text -nameopt utf8 | words
  openssl x509 -in "$path" -noout -pubkey | key
  if ! openssl x509 -in "$path" -noout -checkend 0 >/dev/null; then echo expired
  elif openssl verify -partial_chain -trusted "${ca:-$path}" "$path" >/dev/null 2>&1; then echo signed
  else echo 'signed by another'
  fi
fi
echo --
request | openssl req -noout -text -nameopt utf8 | words
request | openssl req -noout -pubkey | key
echo signed"#;

const MAKE: &str = r#"make() {
  csr=$1 text=$2 days=$3 ca=$4 key=$5
  if [ -n "$ca" ]; then
    request | openssl x509 -req -CA "$ca" -CAkey "$key" -set_serial "0x$(openssl rand -hex 16)" -days "$days" -copy_extensions copyall -sha256
  else
    request | openssl x509 -req -signkey "$key" -days "$days" -copy_extensions copyall -sha256
  fi
}"#;

struct Certificate {
    target: Target,
    csr: String,
    text: String,
    days: u32,
    /// The authority; empty: signed by its own key.
    ca: String,
    key: String,
}

fn prepare(args: &Args, _: &dyn Prepare) -> Result<Box<dyn Action>, ArgError> {
    let target = Target::new(args, 0o644)?;
    let need = |name: &str| match args.str(name) {
        _ if target.absent => Ok(String::new()),
        Some(value) => Ok(value.to_owned()),
        None => Err(ArgError::task(format!(
            "module `x509_certificate` needs the argument `{name}`"
        ))),
    };
    let own = need("provider")? == "ownca";
    let limit = if own { "ownca_not_after" } else { "selfsigned_not_after" };
    let text = args.str("csr_content").unwrap_or_default().to_owned();
    Ok(Box::new(Certificate {
        csr: if text.is_empty() {
            need("csr_path")?
        } else {
            String::new()
        },
        text,
        days: days(limit, args.need(limit)?)?,
        ca: if own { need("ownca_path")? } else { String::new() },
        key: need(if own {
            "ownca_privatekey_path"
        } else {
            "privatekey_path"
        })?,
        target,
    }))
}

/// `+365d`, `+52w`.
fn days(argument: &str, text: &str) -> Result<u32, ArgError> {
    let number = text.strip_prefix('+').and_then(|rest| {
        let (number, unit) = rest.split_at_checked(rest.len().checked_sub(1)?)?;
        let per = match unit {
            "d" => 1,
            "w" => 7,
            _ => return None,
        };
        number.parse::<u32>().ok()?.checked_mul(per)
    });
    number.filter(|days| *days > 0).ok_or_else(|| {
        ArgError::new(argument, format!("not supported yet: the time `{text}`")).help("write days, `+365d`")
    })
}

impl Certificate {
    fn look(&self) -> Probe {
        let script = format!("{REQUEST}\n{LOOK}");
        openssl::probe(&script, &[&self.target.path, &self.csr, &self.text, &self.ca])
    }
}

impl Action for Certificate {
    fn probes(&self) -> Vec<Probe> {
        let mut probes = self.target.probes();
        if !self.target.absent {
            probes.push(self.look());
        }
        probes
    }

    fn decide(&self, seen: &Seen<'_>) -> Result<Decision, Stop> {
        seen.want(&self.probes())?;
        let report = self.target.report("certificate", seen)?;
        if self.target.absent {
            return self.target.decide(None, report, seen);
        }
        let (there, wanted) = openssl::parts(seen, &self.look(), "the certificate cannot be looked at")?;
        let anew = (self.target.force || there != wanted).then(|| {
            let days = self.days.to_string();
            let make = format!("{REQUEST}\n{MAKE}");
            let op = self
                .target
                .make(&make, &[&self.csr, &self.text, &days, &self.ca, &self.key]);
            (vec![openssl::delta(&self.target.path, &there, &wanted)], op)
        });
        self.target.decide(anew, report, seen)
    }

    fn finish(&self, change: &Change, outcomes: &[Outcome]) -> Result<Report, Failure> {
        openssl::judge("the certificate cannot be signed", change, outcomes)
    }
}
