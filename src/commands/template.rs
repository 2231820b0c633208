//! `template FILE`: what the `template` module would write.

use super::{Session, inventory::known, scope};
use crate::cli::{Exit, TemplateArgs};
use crate::diagnostic::{Code, Diagnostic};
use crate::language::Files as _;
use crate::template::FileOptions;
use std::sync::Arc;

pub fn run(session: &Session, args: &TemplateArgs) -> Exit {
    answer(session, args).unwrap_or_else(|exit| exit)
}

fn answer(session: &Session, args: &TemplateArgs) -> Result<Exit, Exit> {
    let path = args.file.as_str();
    let text = match session.files.read(path).map(String::from_utf8) {
        Ok(Ok(text)) => text,
        Ok(Err(_)) => {
            let error = Diagnostic::error(Code::FILE, format!("`{path}` is not UTF-8"));
            return Err(session.tell(&[error]));
        }
        Err(error) => {
            let error = Diagnostic::error(Code::FILE, format!("cannot read `{path}`")).note(error.to_string());
            return Err(session.tell(&[error]));
        }
    };
    let config = session.config().map_err(|d| session.tell(&d))?;
    // Without a host the inventory has no say, so that it need not be there.
    let sources = match args.host {
        Some(_) => args.inventory.sources(&config),
        None => args.inventory.inventory.clone(),
    };
    let inventory = session.inventory(&sources)?;
    if let Some(host) = &args.host {
        known(session, &inventory, host)?;
    }
    let adjacent = session.adjacent(&inventory, &[".".to_owned()])?;
    let given = args.inventory.extra_vars().map_err(|d| session.tell(&d))?;
    let extra = Arc::new(session.extra_vars(&given)?);
    let full = session.files.absolute(path);
    // Beside no playbook, as with Ansible's ad hoc commands.
    let here = session.files.absolute(".");
    let local = [
        ("template_path", path),
        ("template_fullpath", full.as_str()),
        ("playbook_dir", here.as_str()),
    ];
    let scope = scope::of(&inventory, &adjacent, &extra, args.host.as_deref(), &local);
    let directory = path.rsplit_once('/').map_or(".", |(directory, _)| directory);
    let search = [directory.to_owned()];
    match scope::templar(session).file(path, &text, &FileOptions::default(), &search, &scope) {
        Ok(text) => Ok(session.answer(&text)),
        Err(error) => Err(session.tell(&[*error.diagnostic])),
    }
}
