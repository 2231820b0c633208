//! The lookup `password`.

use super::*;

impl Lookup<'_> {
    pub(super) fn password(&self, mut args: Args) -> Res<Vec<Value>> {
        let mut options: HashMap<&str, Value> = HashMap::new();
        for name in ["length", "chars", "seed", "encrypt", "ident"] {
            if let Some(v) = args.take_kw(name) {
                options.insert(name, v);
            }
        }
        self.each(args, |term, out| {
            let term = term.text(self.ctx)?;
            let mut words = term.split(' ');
            let path = words.next().unwrap_or("").to_owned();
            let mut options = options.clone();
            for word in words.filter(|w| !w.is_empty()) {
                match word.split_once('=') {
                    Some((k @ ("length" | "chars" | "seed" | "encrypt" | "ident"), v)) => {
                        options.insert(
                            match k {
                                "length" => "length",
                                "chars" => "chars",
                                "seed" => "seed",
                                "encrypt" => "encrypt",
                                _ => "ident",
                            },
                            v.into(),
                        );
                    }
                    _ => return Err(fail(format!("`{word}` is not an argument of this lookup"))),
                }
            }
            if options.contains_key("encrypt") {
                return Err(fail("`encrypt` is not supported yet"));
            }
            out.push(self.one_password(&path, &options)?.into());
            Ok(())
        })
    }

    fn one_password(&self, path: &str, options: &HashMap<&str, Value>) -> Res<String> {
        let files = &self.ctx.inner.files;
        let path = expand_user(self.ctx, path);
        // Relative to the playbook.
        let path = match (path.starts_with('/'), self.variable("playbook_dir")) {
            (false, Some(Value::Str(dir))) => format!("{dir}/{path}"),
            _ => path,
        };
        if path != "/dev/null" && files.exists(&path) {
            let text = self.ctx.inner.read_text(&path)?;
            let text = text.trim_end_matches('\n');
            return Ok(text.rsplit_once(" salt=").map_or(text, |(p, _)| p).to_owned());
        }
        let length = match options.get("length") {
            None => 20,
            Some(Value::Str(s)) => s
                .parse()
                .map_err(|_| fail(format!("`length` must be a number, not `{s}`")))?,
            Some(v) => v.as_int().and_then(|i| usize::try_from(i).ok()).unwrap_or(20),
        };
        let sets = match options.get("chars") {
            None => vec!["ascii_letters".to_owned(), "digits".into(), ".,:-_".into()],
            Some(Value::Str(s)) => {
                let mut sets: Vec<String> = Vec::new();
                if s.contains(",,") {
                    sets.push(",".into());
                }
                sets.extend(
                    s.replace(",,", ",")
                        .split(',')
                        .filter(|c| !c.is_empty())
                        .map(str::to_owned),
                );
                sets
            }
            Some(list) => list
                .iterate(self.ctx)?
                .iter()
                .map(|c| Ok(c.text(self.ctx)?.to_string()))
                .collect::<Res<_>>()?,
        };
        let letters: Vec<char> = sets.iter().flat_map(|s| character_set(s)).collect();
        if letters.is_empty() {
            return Err(fail("`chars` names no characters"));
        }
        let mut random = match options.get("seed") {
            Some(seed) => Random::from_text(&seed.text(self.ctx)?),
            None => {
                let draw = self.ctx.inner.draws.fetch_add(1, Ordering::Relaxed);
                Random::from_text(&format!("{}/{draw}", self.ctx.inner.settings.seed))
            }
        };
        let pick = |_| {
            usize::try_from(random.below(letters.len() as u64))
                .ok()
                .map(|i| letters[i])
        };
        let password: String = (0..length).filter_map(pick).collect();
        if path != "/dev/null" {
            let created = files.create(&path, format!("{password}\n").as_bytes());
            created.map_err(|e| fail(format!("`{path}` cannot be created: {e}")))?;
        }
        Ok(password)
    }
}

/// A set named as in Python's `string` module, or the characters themselves.
fn character_set(name: &str) -> Vec<char> {
    let lower = 'a'..='z';
    let upper = 'A'..='Z';
    let digits = '0'..='9';
    let punctuation = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";
    match name {
        "ascii_letters" => lower.chain(upper).collect(),
        "ascii_lowercase" => lower.collect(),
        "ascii_uppercase" => upper.collect(),
        "digits" => digits.collect(),
        "hexdigits" => digits.chain('a'..='f').chain('A'..='F').collect(),
        "octdigits" => ('0'..='7').collect(),
        "punctuation" => punctuation.chars().collect(),
        other => other.chars().collect(),
    }
}
