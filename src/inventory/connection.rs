//! The variables that say how to reach a host, read once they are templated.

use crate::transport::{Method, Secret};
use serde_json::Value;

/// What a host's variables say about its connection; unset is left to keywords, options and ssh_config.
///
/// Where Ansible knows several names for one thing, the one it prefers wins, whatever the precedence of the
/// variables' layers: `ansible_ssh_host` over `ansible_host`, `ansible_become_pass` over `ansible_become_password`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionVars {
    pub host: Option<String>,
    pub port: Option<u16>,
    pub user: Option<String>,
    /// `ansible_connection: local`, not `ssh`.
    pub local: Option<bool>,
    pub private_key_file: Option<String>,
    /// `ansible_ssh_common_args`, split as a shell would.
    pub common_args: Vec<String>,
    /// `ansible_ssh_extra_args`, split as a shell would.
    pub extra_args: Vec<String>,
    pub host_key_checking: Option<bool>,
    pub connect_timeout_s: Option<u32>,
    pub become_: Option<bool>,
    pub become_user: Option<String>,
    pub become_method: Option<Method>,
    pub become_password: Option<Secret>,
    /// Split as a shell would.
    pub become_flags: Option<Vec<String>>,
}

/// A variable and what is wrong with its value, in words that follow "variable `name`:".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadVariable {
    pub name: &'static str,
    pub message: String,
}

/// Ansible knows these; they are refused rather than not obeyed.
const UNSUPPORTED: [(&str, &str); 15] = [
    ("ansible_password", "passwords for SSH are not supported, use keys"),
    ("ansible_ssh_pass", "passwords for SSH are not supported, use keys"),
    ("ansible_ssh_password", "passwords for SSH are not supported, use keys"),
    (
        "ansible_private_key",
        "not supported yet, use `ansible_ssh_private_key_file`",
    ),
    (
        "ansible_ssh_private_key",
        "not supported yet, use `ansible_ssh_private_key_file`",
    ),
    ("ansible_private_key_passphrase", "not supported yet, use ssh-agent"),
    ("ansible_ssh_private_key_passphrase", "not supported yet, use ssh-agent"),
    (
        "ansible_ssh_pkcs11_provider",
        "not supported yet, use `PKCS11Provider` in ssh_config",
    ),
    ("ansible_ssh_args", "not supported yet, use `ansible_ssh_common_args`"),
    ("ansible_ssh_executable", "not supported yet"),
    ("ansible_control_path", "not supported yet"),
    ("ansible_ssh_use_tty", "not supported yet"),
    ("ansible_become_exe", "not supported yet"),
    ("ansible_sudo_exe", "not supported yet"),
    ("ansible_su_exe", "not supported yet"),
];

impl ConnectionVars {
    /// Reads the variables through `get`, which gives the templated value of one, or nothing if it is not defined.
    ///
    /// # Errors
    /// Every value that makes no sense, and every variable that is not supported.
    pub fn read(mut get: impl FnMut(&str) -> Option<Value>) -> Result<ConnectionVars, Vec<BadVariable>> {
        let mut reader = Reader {
            get: &mut get,
            bad: Vec::new(),
        };
        for (name, why) in UNSUPPORTED {
            if reader.first(&[name]).is_some_and(|(_, value)| value != "") {
                reader.refuse(name, why);
            }
        }
        let become_method = reader.parse(&["ansible_become_method"], |value| {
            match text(value)?.rsplit('.').next() {
                Some("sudo") => Ok(Method::Sudo),
                Some("su") => Ok(Method::Su),
                _ => Err(format!("{value} is not supported yet; supported are `sudo` and `su`")),
            }
        });
        let method = match become_method {
            Some(Method::Su) => "su",
            _ => "sudo",
        };
        let become_names = |sudo: &'static str, su: &'static str| if method == "su" { su } else { sudo };
        let vars = ConnectionVars {
            host: reader.parse(&["ansible_ssh_host", "ansible_host"], filled),
            port: reader.parse(&["ansible_ssh_port", "ansible_port"], port),
            user: reader.parse(&["ansible_ssh_user", "ansible_user"], filled),
            local: reader.parse(&["ansible_connection"], |value| match text(value)?.rsplit('.').next() {
                Some("local") => Ok(true),
                Some("ssh" | "smart") => Ok(false),
                _ => Err(format!("{value} is not supported yet; supported are `ssh` and `local`")),
            }),
            private_key_file: reader.parse(&["ansible_ssh_private_key_file", "ansible_private_key_file"], filled),
            common_args: reader.parse(&["ansible_ssh_common_args"], words).unwrap_or_default(),
            extra_args: reader.parse(&["ansible_ssh_extra_args"], words).unwrap_or_default(),
            host_key_checking: reader.parse(&["ansible_ssh_host_key_checking", "ansible_host_key_checking"], boolean),
            connect_timeout_s: reader.parse(&["ansible_ssh_timeout", "ansible_timeout"], |value| {
                integer(value).and_then(|n| u32::try_from(n).map_err(|_| format!("{value} is no number of seconds")))
            }),
            become_: reader.parse(&["ansible_become"], boolean),
            become_user: reader.parse(
                &[
                    become_names("ansible_sudo_user", "ansible_su_user"),
                    "ansible_become_user",
                ],
                filled,
            ),
            become_method,
            become_password: reader.parse(
                &[
                    become_names("ansible_sudo_pass", "ansible_su_pass"),
                    "ansible_become_pass",
                    "ansible_become_password",
                ],
                |value| text(value).map(Secret),
            ),
            become_flags: reader.parse(
                &[
                    become_names("ansible_sudo_flags", "ansible_su_flags"),
                    "ansible_become_flags",
                ],
                words,
            ),
        };
        if reader.bad.is_empty() {
            Ok(vars)
        } else {
            Err(reader.bad)
        }
    }
}

struct Reader<'a> {
    get: &'a mut dyn FnMut(&str) -> Option<Value>,
    bad: Vec<BadVariable>,
}

impl Reader<'_> {
    /// The first of the names that is defined and not null.
    fn first(&mut self, names: &[&'static str]) -> Option<(&'static str, Value)> {
        names
            .iter()
            .find_map(|name| Some((*name, (self.get)(name).filter(|v| !v.is_null())?)))
    }

    fn refuse(&mut self, name: &'static str, message: impl Into<String>) {
        let message = message.into();
        self.bad.push(BadVariable { name, message });
    }

    fn parse<T>(&mut self, names: &[&'static str], parse: impl FnOnce(&Value) -> Result<T, String>) -> Option<T> {
        let (name, value) = self.first(names)?;
        match parse(&value) {
            Ok(value) => Some(value),
            Err(message) => {
                self.refuse(name, message);
                None
            }
        }
    }
}

/// Without showing the value: it may be a password.
fn text(value: &Value) -> Result<String, String> {
    match value {
        Value::String(s) => Ok(s.clone()),
        Value::Number(n) => Ok(n.to_string()),
        _ => Err("must be a string".to_owned()),
    }
}

fn filled(value: &Value) -> Result<String, String> {
    text(value).and_then(|s| {
        if s.is_empty() {
            Err("must not be empty".to_owned())
        } else {
            Ok(s)
        }
    })
}

fn words(value: &Value) -> Result<Vec<String>, String> {
    shlex::split(&text(value)?).ok_or_else(|| format!("{value} has a quotation that is not closed"))
}

fn integer(value: &Value) -> Result<i64, String> {
    let number = match value {
        Value::Number(n) => n.as_i64(),
        Value::String(s) => s.trim().parse().ok(),
        _ => None,
    };
    number.ok_or_else(|| format!("{value} is not an integer"))
}

fn port(value: &Value) -> Result<u16, String> {
    match u16::try_from(integer(value)?) {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(format!("{value} is not a port, which is 1 to 65535")),
    }
}

/// What Ansible takes for a boolean.
fn boolean(value: &Value) -> Result<bool, String> {
    let word = match value {
        Value::Bool(b) => return Ok(*b),
        Value::Number(n) => n.to_string(),
        Value::String(s) => s.trim().to_lowercase(),
        _ => String::new(),
    };
    match word.as_str() {
        "yes" | "on" | "1" | "1.0" | "true" | "t" | "y" => Ok(true),
        "no" | "off" | "0" | "0.0" | "false" | "f" | "n" => Ok(false),
        _ => Err(format!("{value} is not a boolean")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(vars: Value) -> Result<ConnectionVars, Vec<BadVariable>> {
        ConnectionVars::read(|name| vars.get(name).cloned())
    }

    #[test]
    fn reads_what_is_there() {
        assert_eq!(read(json!({})).unwrap(), ConnectionVars::default());
        let vars = read(json!({
            "ansible_host": "10.0.0.1", "ansible_port": "2222", "ansible_user": "a", "ansible_ssh_user": "b",
            "ansible_connection": "ssh", "ansible_ssh_common_args": "-o 'ProxyCommand=x y'", "ansible_become": "yes",
            "ansible_become_method": "ansible.builtin.su", "ansible_become_pass": "geheim", "ansible_su_user": "rabbitmq",
            "ansible_become_flags": "-H", "ansible_host_key_checking": false, "ansible_timeout": 7,
        }))
        .unwrap();
        let expected = ConnectionVars {
            host: Some("10.0.0.1".into()),
            port: Some(2222),
            user: Some("b".into()),
            local: Some(false),
            common_args: vec!["-o".into(), "ProxyCommand=x y".into()],
            host_key_checking: Some(false),
            connect_timeout_s: Some(7),
            become_: Some(true),
            become_user: Some("rabbitmq".into()),
            become_method: Some(Method::Su),
            become_password: Some(Secret("geheim".into())),
            become_flags: Some(vec!["-H".into()]),
            ..ConnectionVars::default()
        };
        assert_eq!(vars, expected);
    }

    #[test]
    fn names_every_bad_variable() {
        let bad = read(json!({
            "ansible_port": 70000, "ansible_connection": "winrm", "ansible_become": "maybe", "ansible_ssh_pass": "x",
            "ansible_become_method": "doas", "ansible_ssh_extra_args": "'", "ansible_host": "",
        }))
        .unwrap_err();
        let names: Vec<&str> = bad.iter().map(|b| b.name).collect();
        let expected = [
            "ansible_ssh_pass",
            "ansible_become_method",
            "ansible_host",
            "ansible_port",
            "ansible_connection",
            "ansible_ssh_extra_args",
            "ansible_become",
        ];
        assert_eq!(names, expected);
        assert_eq!(bad[0].message, "passwords for SSH are not supported, use keys");
        assert_eq!(bad[3].message, "70000 is not a port, which is 1 to 65535");
    }
}
