//! The arguments of the management API: where a task's looks go that has a login.

use super::super::{ArgError, ArgKind, ArgSpec, Args, Failure, Prepare, plain};
use crate::host::{Hidden, Probe};
use crate::rabbitmq::api::{Api, Login};
use crate::rabbitmq::definitions::{Algorithm, Definitions, Kind, matches};
use serde_json::Value;

pub const LOGIN_USER: ArgSpec = ArgSpec::new(
    "login_user",
    ArgKind::Str,
    "An administrator of the broker: looks ask the management API on the node, which starts no tool; where it is not there (the result \
     says so in `looked`), and for changes, the node's own tools do it, which need no login.",
);
pub const LOGIN_PASSWORD: ArgSpec = ArgSpec::new("login_password", ArgKind::Str, "The password.").secret();
pub const LOGIN_HOST: ArgSpec = ArgSpec::new(
    "login_host",
    ArgKind::Str,
    "A name of this host, where the API listens on one address only; unset: `localhost`.",
);
pub const LOGIN_PORT: ArgSpec = ArgSpec::new("login_port", ArgKind::Int, "The API's port.").default("15672");
pub const LOGIN_PROTOCOL: ArgSpec = ArgSpec::new(
    "login_protocol",
    ArgKind::Str,
    "The API's protocol; `https` needs `curl` on the host.",
)
.default("http")
.choices(&["http", "https"]);
pub const CA_CERT: ArgSpec = ArgSpec::new(
    "ca_cert",
    ArgKind::Path,
    "With `https`: who signed the API's certificate, on the host; unset: whom the host trusts.",
)
.aliases(&["cacert"]);
pub const CLIENT_CERT: ArgSpec = ArgSpec::new(
    "client_cert",
    ArgKind::Path,
    "With `https`: a certificate of our own, on the host.",
)
.aliases(&["cert"]);
pub const CLIENT_KEY: ArgSpec = ArgSpec::new("client_key", ArgKind::Path, "With `https`: its key.").aliases(&["key"]);

/// A task's way to the API.
pub struct Access {
    pub api: Api,
    /// The task may be about the login's own user: then it need not be able to log in afterwards.
    pub own: bool,
}

impl Access {
    /// `None`: no login is given.
    pub fn of(args: &Args, context: &dyn Prepare) -> Result<Option<Access>, ArgError> {
        let host = args.str("login_host").unwrap_or("localhost");
        if !is_own(host, context)? {
            return Err(ArgError::new(
                "login_host",
                format!("`{host}` is another host than the one this task runs on"),
            )
            .help(
                "leave it out, and run the task on the broker's nodes: changes are made there, by the node's own tools; a login only \
                 makes looks cheaper",
            ));
        }
        let (user, password) = match (args.str("login_user"), args.str("login_password")) {
            (Some(user), Some(password)) => (user.to_owned(), password),
            (None, None) => return Ok(None),
            (Some(_), None) => {
                return Err(ArgError::new(
                    "login_user",
                    "`login_user` needs `login_password`: no password is guessed",
                ));
            }
            (None, Some(_)) => return Err(ArgError::new("login_password", "`login_password` needs `login_user`")),
        };
        let port = args.int("login_port").unwrap_or_default();
        let port = u16::try_from(port).map_err(|_| ArgError::new("login_port", format!("`{port}` is no port")))?;
        let certificates = [
            ("ca_cert", "--cacert"),
            ("client_cert", "--cert"),
            ("client_key", "--key"),
        ];
        let certificates = certificates
            .into_iter()
            .filter_map(|(name, option)| Some([option.to_owned(), args.str(name)?.to_owned()]));
        Ok(Some(Access {
            own: args.str("user") == Some(&user) || args.given("definitions") || args.given("src"),
            api: Api {
                scheme: args.need("login_protocol")?.to_owned(),
                host: host.to_owned(),
                port,
                login: Login {
                    user,
                    password: Hidden::new(password),
                },
                certificates: certificates.flatten().collect(),
            },
        }))
    }

    pub fn definitions(&self) -> Probe {
        self.api.get("/api/definitions")
    }

    /// All virtual hosts, described.
    pub fn vhosts(&self) -> Probe {
        let columns = "name,description,tags,default_queue_type,metadata,tracing";
        self.api.get(&format!("/api/vhosts?columns={columns}"))
    }

    /// Why the API refused the login, by what another look tells of its user.
    pub fn refused(&self, all: Option<&Definitions>) -> Failure {
        let Login { user, password } = &self.api.login;
        let what = format!("the management API at {} refuses the login of `{user}`", self.api.url());
        let why = all.map(|all| {
            let Some(found) = all.get(Kind::User, &[user]) else {
                return "the broker has no such user";
            };
            let text = |name: &str| found.get(name).and_then(Value::as_str).unwrap_or_default();
            let tags = found.get("tags").and_then(Value::as_array);
            let is_administrator = tags.is_some_and(|tags| tags.iter().any(|tag| tag == "administrator"));
            match Algorithm::parse(text("hashing_algorithm")) {
                Some(algorithm)
                    if !matches(
                        algorithm,
                        text("password_hash"),
                        &String::from_utf8_lossy(password.as_bytes()),
                    ) =>
                {
                    "the password is another"
                }
                _ if !is_administrator => "it has not the tag `administrator`",
                _ => "its user and password are right",
            }
        });
        let failure = match why {
            Some(why) => Failure::new(format!("{what}: {why}")),
            None => Failure::new(what),
        };
        failure
            .help("`login_user` must be a user with the tag `administrator`; without a login the node's own tools look")
    }
}

/// Whether a name is the host's own, as far as the inventory and facts tell.
fn is_own(name: &str, context: &dyn Prepare) -> Result<bool, ArgError> {
    if ["localhost", "::1"].contains(&name) || name.starts_with("127.") {
        return Ok(true);
    }
    for variable in [
        "inventory_hostname",
        "inventory_hostname_short",
        "ansible_host",
        "ansible_hostname",
        "ansible_fqdn",
        "ansible_nodename",
        "ansible_all_ipv4_addresses",
        "ansible_all_ipv6_addresses",
    ] {
        let same = match context.variable(variable)? {
            Some(Value::Array(list)) => list.iter().any(|address| plain(address) == name),
            Some(value) => plain(&value) == name,
            None => false,
        };
        if same {
            return Ok(true);
        }
    }
    Ok(false)
}
