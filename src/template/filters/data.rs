//! Filters that write and read formats, and hashes.

use super::{Filter, filter, flag, text_of};
use crate::template::eval::Ctx;
use crate::template::fault::{Res, fail};
use crate::template::python::json::{Style, dumps};
use crate::template::python::yaml;
use crate::template::value::{Args, Value};
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};
use std::sync::Arc;

pub(super) const FILTERS: &[Filter] = &[
    filter("to_json", |ctx, v, args| to_json(ctx, &v, args, false)),
    filter("to_nice_json", |ctx, v, args| to_json(ctx, &v, args, true)),
    filter("from_json", |ctx, v, _| {
        let text = v.text(ctx)?;
        let data = serde_json::from_str(&text).map_err(|e| fail(format!("this is not JSON: {e}")))?;
        Ok(Value::from_data(Arc::new(data)))
    }),
    filter("to_yaml", |ctx, v, args| to_yaml(ctx, &v, args, false)),
    filter("to_nice_yaml", |ctx, v, args| to_yaml(ctx, &v, args, true)),
    filter("from_yaml", |_, v, _| match &v {
        Value::Str(text) => Ok(Value::from_data(Arc::new(yaml::load(text)?))),
        other => Ok(other.clone()),
    }),
    filter("b64encode", |ctx, v, args| {
        let [encoding, url_safe] = args.bind("b64encode", ["encoding", "urlsafe"])?;
        utf8_only(ctx, encoding)?;
        let text = v.text(ctx)?;
        Ok(engine(flag(url_safe)?).encode(text.as_bytes()).into())
    }),
    filter("b64decode", |ctx, v, args| {
        let [encoding, url_safe] = args.bind("b64decode", ["encoding", "urlsafe"])?;
        utf8_only(ctx, encoding)?;
        // As Python: what is no base64 character is skipped.
        let text: String = v
            .text(ctx)?
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || "+/-_=".contains(*c))
            .collect();
        let bytes = engine(flag(url_safe)?)
            .decode(text)
            .map_err(|e| fail(format!("this is not base64: {e}")))?;
        String::from_utf8(bytes)
            .map(Value::from)
            .map_err(|_| fail("the decoded bytes are not UTF-8"))
    }),
    filter("md5", |ctx, v, _| Ok(hash(&v.text(ctx)?, "md5")?.into())),
    filter("sha1", |ctx, v, _| Ok(hash(&v.text(ctx)?, "sha1")?.into())),
    filter("hash", |ctx, v, args| {
        let [kind] = args.bind("hash", ["hashtype"])?;
        Ok(hash(&v.text(ctx)?, &text_of(ctx, kind, "sha1")?)?.into())
    }),
    filter("password_hash", |_, _, _| {
        Err(fail("`password_hash` is not supported yet"))
    }),
    filter("to_uuid", |ctx, v, args| {
        let [namespace] = args.bind("to_uuid", ["namespace"])?;
        let namespace = text_of(ctx, namespace, "361E6D51-FAEC-444A-9079-341386DA8E2E")?;
        let digits: String = namespace.chars().filter(char::is_ascii_hexdigit).collect();
        let number = u128::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 32);
        let number = number.ok_or_else(|| fail(format!("invalid value `{namespace}` for `namespace`")))?;
        let mut hasher = Sha1::new();
        hasher.update(number.to_be_bytes());
        hasher.update(v.text(ctx)?.as_bytes());
        let mut id: Vec<u8> = hasher.finalize().iter().copied().take(16).collect();
        id[6] = (id[6] & 0x0f) | 0x50;
        id[8] = (id[8] & 0x3f) | 0x80;
        let hex = hex(&id);
        let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
        Ok(parts.join("-").into())
    }),
    filter("pprint", |ctx, v, _| Ok(v.repr(ctx)?.into())),
];

fn utf8_only(ctx: &Ctx, encoding: Option<Value>) -> Res<()> {
    match text_of(ctx, encoding, "utf-8")?.to_lowercase().as_str() {
        "utf-8" | "utf8" | "ascii" => Ok(()),
        other => Err(fail(format!("encoding `{other}` is not supported yet"))),
    }
}

fn engine(url_safe: bool) -> GeneralPurpose {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::RequireCanonical);
    let letters = if url_safe {
        alphabet::URL_SAFE
    } else {
        alphabet::STANDARD
    };
    GeneralPurpose::new(&letters, config)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn hash(text: &str, kind: &str) -> Res<String> {
    let bytes = text.as_bytes();
    Ok(match kind {
        "md5" => hex(&Md5::digest(bytes)),
        "sha1" => hex(&Sha1::digest(bytes)),
        "sha224" => hex(&Sha224::digest(bytes)),
        "sha256" => hex(&Sha256::digest(bytes)),
        "sha384" => hex(&Sha384::digest(bytes)),
        "sha512" => hex(&Sha512::digest(bytes)),
        other => {
            return Err(fail(format!(
                "hash `{other}` is not supported; known are `md5`, `sha1`, `sha224`, `sha256`, `sha384`, `sha512`"
            )));
        }
    })
}

fn to_json(ctx: &Ctx, v: &Value, mut args: Args, nice: bool) -> Res<Value> {
    let first = if args.pos.is_empty() {
        None
    } else {
        Some(args.pos.remove(0))
    };
    let mut style = Style::default();
    let indent = match (nice, args.take_kw("indent"), first) {
        (true, given, first) => Some(given.or(first).unwrap_or(Value::Int(4))),
        (false, given, _) => given,
    };
    style.indent = match indent {
        Some(Value::Str(s)) => Some(s.to_string()),
        Some(other) => other
            .as_int()
            .and_then(|i| usize::try_from(i).ok())
            .map(|n| " ".repeat(n)),
        None => None,
    };
    if style.indent.is_some() {
        style.separators.0 = ",".into();
    }
    style.sort_keys = args.take_kw("sort_keys").map_or(Ok(nice), |s| s.truthy())?;
    style.ascii = args.take_kw("ensure_ascii").map_or(Ok(true), |s| s.truthy())?;
    if let Some(pair) = args.take_kw("separators")
        && !nice
    {
        let parts = pair.iterate(ctx)?;
        let [item, key] = parts.as_slice() else {
            return Err(fail("`separators` must be a pair"));
        };
        style.separators = (item.text(ctx)?.to_string(), key.text(ctx)?.to_string());
    }
    for ignored in ["vault_to_text", "preprocess_unsafe", "profile"] {
        args.take_kw(ignored);
    }
    if let Some((name, _)) = args.kw.first() {
        return Err(fail(format!("argument `{name}` is not supported")));
    }
    Ok(dumps(ctx, v, &style)?.into())
}

fn to_yaml(ctx: &Ctx, v: &Value, mut args: Args, nice: bool) -> Res<Value> {
    let first = if args.pos.is_empty() {
        None
    } else {
        Some(args.pos.remove(0))
    };
    let number = |v: Option<Value>, default: usize| -> Res<usize> {
        match v {
            None | Some(Value::None) => Ok(default),
            Some(v) => Ok(v.as_int().and_then(|i| usize::try_from(i).ok()).unwrap_or(usize::MAX)),
        }
    };
    let given = args.take_kw("indent").or(if nice { first } else { None });
    // As libyaml reads them: what makes no sense is its own choice.
    let indent = match number(given, if nice { 4 } else { 2 })? {
        fits @ 2..=9 => fits,
        _ => 2,
    };
    let width = match number(args.take_kw("width"), 80)? {
        narrow if narrow <= 2 * indent => 80,
        wide => wide,
    };
    let mut style = yaml::Style {
        indent,
        width,
        sort_keys: args.take_kw("sort_keys").map_or(Ok(true), |s| s.truthy())?,
        unicode: args.take_kw("allow_unicode").map_or(Ok(true), |s| s.truthy())?,
        flow: if nice { Some(false) } else { None },
        explicit_start: flag(args.take_kw("explicit_start"))?,
        explicit_end: flag(args.take_kw("explicit_end"))?,
        scalar: None,
    };
    if let Some(flow) = args.take_kw("default_flow_style") {
        style.flow = if matches!(flow, Value::None) {
            None
        } else {
            Some(flow.truthy()?)
        };
    }
    if let Some(quote) = args.take_kw("default_style") {
        style.scalar = quote.as_str().and_then(|s| s.chars().next());
    }
    if let Some((name, _)) = args.kw.first() {
        return Err(fail(format!("argument `{name}` is not supported")));
    }
    yaml::dump(ctx, v, &style).map(Value::from)
}
