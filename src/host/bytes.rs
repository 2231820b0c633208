//! Bytes of a file or stream, written as text where they are UTF-8 and as base64 where they are not.

use base64::Engine as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::sync::Arc;

/// Cheap to clone. In YAML and JSON a string; content that is not UTF-8 is `{base64: ...}`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Content(pub Arc<[u8]>);

impl Content {
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }

    /// Lowercase hex of the SHA-256 of the bytes.
    pub fn sha256(&self) -> String {
        use sha2::Digest as _;
        hex(&sha2::Sha256::digest(&self.0))
    }

    /// Lowercase hex of the SHA-1 of the bytes (Ansible's `checksum`).
    pub fn sha1(&self) -> String {
        use sha1::Digest as _;
        hex(&sha1::Sha1::digest(&self.0))
    }
}

/// Lowercase hex of bytes.
pub fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or('?');
    bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]).collect()
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.text())
    }
}

impl<T: AsRef<[u8]>> From<T> for Content {
    fn from(bytes: T) -> Self {
        Content(bytes.as_ref().into())
    }
}

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => {
                let encoded = base64::engine::general_purpose::STANDARD.encode(&self.0);
                std::collections::BTreeMap::from([("base64", encoded)]).serialize(serializer)
            }
        }
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) => Ok(Content::from(text)),
            serde_json::Value::Object(map) => {
                let encoded = map
                    .get("base64")
                    .and_then(|v| v.as_str())
                    .ok_or_else(|| D::Error::custom("expected `base64`"))?;
                base64::engine::general_purpose::STANDARD
                    .decode(encoded)
                    .map(Content::from)
                    .map_err(D::Error::custom)
            }
            _ => Err(D::Error::custom("expected a string or {base64: ...}")),
        }
    }
}
