//! `openssl_privatekey`: a private key that never leaves its host.

use super::openssl::{self, FORCE, GROUP, OWNER, PATH, STATE, Target};
use super::{Action, ArgError, ArgKind, ArgSpec, Args, Change, Decision, Failure, Kind, ModuleSpec, Prepare, Report};
use super::{Seen, Stop, no_guess};
use crate::host::{Delta, Outcome, Probe};

pub static SPEC: ModuleSpec = ModuleSpec {
    name: "openssl_privatekey",
    aliases: &["community.crypto.openssl_privatekey"],
    summary: "A private key, made on the host",
    description: "\
Makes a key with the host's `openssl`, if there is none, or if it is of another type or size (`regenerate` says what then). It is \
not encrypted, and readable by its owner alone unless `mode` says otherwise. The key is never read by rmqplay.

Unlike community.crypto's: needs `openssl` and no Python. Not supported yet: `passphrase` and `cipher`, types other than RSA, ECC \
and Ed25519, `return_content`, `backup`.",
    args: &[
        PATH,
        STATE,
        ArgSpec::new("type", ArgKind::Str, "Kind of key.").default("RSA").choices(&["RSA", "ECC", "Ed25519"]),
        ArgSpec::new("size", ArgKind::Int, "Bits of an RSA key.").default("4096"),
        ArgSpec::new("curve", ArgKind::Str, "Curve of an ECC key, as `openssl ecparam -list_curves` has it.").default("prime256v1"),
        ArgSpec::new("regenerate", ArgKind::Str, "What if there is another: make a new one, leave it, fail.")
            .default("full_idempotence")
            .choices(&["never", "fail", "partial_idempotence", "full_idempotence", "always"]),
        FORCE,
        OWNER,
        GROUP,
        ArgSpec::new("mode", ArgKind::Mode, "Permissions; 0600 for a new key."),
    ],
    free_form: None,
    open: false,
    returns: &[("filename", "The file")],
    examples: "\
- name: the node's key
  openssl_privatekey:
    path: /etc/rabbitmq/tls/key.pem
    type: ECC
    owner: root
    group: rabbitmq
    mode: '0640'
",
    local: true,
    kind: Kind::Host(prepare),
    ahead: no_guess,
};

/// What kind of key it is: public facts only.
const LOOK: &str = r#"command -v openssl >/dev/null || { echo 'there is no openssl on the host' >&2; exit 127; }
[ -e "$1" ] || exit 0
said=$(openssl pkey -in "$1" -passin pass: -noout -text_pub 2>/dev/null) || { echo 'not a key that can be read'; exit 0; }
echo "$said" | sed -n 's/^\(ED25519 \)\{0,1\}Public-Key:.*/&/p; s/^ASN1 OID: /ECC /p; s/^Exponent:.*/RSA/p'"#;

const MAKE: &str = r#"make() {
  algorithm=$1
  shift
  openssl genpkey -quiet -algorithm "$algorithm" "$@" 2>/dev/null || openssl genpkey -algorithm "$algorithm" "$@"
}"#;

struct Key {
    target: Target,
    algorithm: &'static str,
    option: Option<String>,
    /// As the look says it.
    wanted: String,
    regenerate: String,
}

fn prepare(args: &Args, _: &dyn Prepare) -> Result<Box<dyn Action>, ArgError> {
    let size = args.int("size").unwrap_or_default();
    let (algorithm, option, wanted) = match args.need("type")? {
        "RSA" if !(1024..=16384).contains(&size) => {
            return Err(
                ArgError::new("size", format!("`{size}` is no size of an RSA key")).help("2048 to 4096 bits are usual")
            );
        }
        "RSA" => (
            "RSA",
            Some(format!("rsa_keygen_bits:{size}")),
            format!("RSA, {size} bit"),
        ),
        "ECC" => {
            let curve = args.need("curve")?;
            (
                "EC",
                Some(format!("ec_paramgen_curve:{curve}")),
                format!("ECC, {curve}"),
            )
        }
        _ => ("ED25519", None, "Ed25519".to_owned()),
    };
    Ok(Box::new(Key {
        target: Target::new(args, 0o600)?,
        algorithm,
        option,
        wanted,
        regenerate: args.need("regenerate")?.to_owned(),
    }))
}

/// `RSA, 2048 bit`, from what the look says; `None`: no key is there.
fn kind(said: &str) -> Option<String> {
    let bits = || {
        said.split_once('(')?
            .1
            .split_once(" bit)")
            .map(|(bits, _)| bits.to_owned())
    };
    let curve = said.lines().find_map(|l| l.strip_prefix("ECC "));
    Some(match curve {
        _ if said.trim().is_empty() => return None,
        Some(curve) => format!("ECC, {curve}"),
        None if said.starts_with("ED25519") => "Ed25519".to_owned(),
        None if said.contains("RSA") => format!("RSA, {} bit", bits()?),
        None => said.trim().to_owned(),
    })
}

impl Action for Key {
    fn probes(&self) -> Vec<Probe> {
        let mut probes = self.target.probes();
        probes.push(openssl::probe(LOOK, &[&self.target.path]));
        probes
    }

    fn decide(&self, seen: &Seen<'_>) -> Result<Decision, Stop> {
        seen.want(&self.probes())?;
        let look = openssl::probe(LOOK, &[&self.target.path]);
        let (said, _) = openssl::parts(seen, &look, "the key cannot be looked at")?;
        let there = kind(&said);
        let report = self.target.report("privatekey", seen)?;
        let always = self.target.force || self.regenerate == "always";
        let anew = match &there {
            None => true,
            Some(_) if always => true,
            Some(there) if *there == self.wanted => false,
            Some(_) if self.regenerate == "never" || self.target.absent => false,
            Some(there) if self.regenerate == "fail" => {
                return Ok(Decision::Fail(
                    Failure::new(format!(
                        "the key `{}` is {there}, not {}",
                        self.target.path, self.wanted
                    ))
                    .help("`regenerate: full_idempotence` replaces it"),
                ));
            }
            Some(_) => true,
        };
        let anew = anew.then(|| {
            let arguments: Vec<&str> = std::iter::once(self.algorithm)
                .chain(self.option.iter().flat_map(|option| ["-pkeyopt", option]))
                .collect();
            let before = there.unwrap_or_else(|| "none".to_owned());
            let delta = Delta::value(
                format!("key {}", self.target.path),
                before,
                format!("new, {}", self.wanted),
            );
            (vec![delta], self.target.make(MAKE, &arguments))
        });
        let decision = self.target.decide(anew, report, seen)?;
        Ok(match decision {
            Decision::Change(change) if always => Decision::Change(change.judged_by_outcome()),
            decision => decision,
        })
    }

    fn finish(&self, change: &Change, outcomes: &[Outcome]) -> Result<Report, Failure> {
        openssl::judge("the key cannot be made", change, outcomes)
    }
}
