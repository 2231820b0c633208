//! Bytes of a file or stream, written as text where they are UTF-8 and as base64 where they are not.

use base64::Engine as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::any::Any;
use std::sync::{Arc, OnceLock};

/// Cheap to clone. In YAML and JSON a string; content that is not UTF-8 is `{base64: ...}`.
#[derive(Clone, Default)]
pub struct Content(Arc<Bytes>);

#[derive(Default)]
struct Bytes {
    bytes: Box<[u8]>,
    /// What somebody made of them.
    reading: OnceLock<Arc<dyn Any + Send + Sync>>,
}

impl Content {
    pub fn as_bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    /// What `read` makes of the bytes, made once for all clones: the items of a loop look at the same answer. One kind of
    /// reading is kept for a content.
    pub fn reading<T: Any + Send + Sync>(&self, read: impl FnOnce(&Content) -> T) -> Arc<T> {
        if let Some(kept) = self.0.reading.get()
            && let Ok(reading) = kept.clone().downcast::<T>()
        {
            return reading;
        }
        let reading = Arc::new(read(self));
        // Another kind may be there already.
        let _ = self.0.reading.set(reading.clone());
        reading
    }

    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(self.as_bytes())
    }

    /// Lowercase hex of the SHA-256 of the bytes.
    pub fn sha256(&self) -> String {
        use sha2::Digest as _;
        hex(&sha2::Sha256::digest(self.as_bytes()))
    }

    /// Lowercase hex of the SHA-1 of the bytes (Ansible's `checksum`).
    pub fn sha1(&self) -> String {
        use sha1::Digest as _;
        hex(&sha1::Sha1::digest(self.as_bytes()))
    }
}

/// Lowercase hex of bytes.
pub fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or('?');
    let mut text = String::with_capacity(2 * bytes.len());
    text.extend(bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]));
    text
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.text())
    }
}

/// Bytes that are never shown, such as a login: `Debug` hides them, nothing serialises them.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hidden(Arc<[u8]>);

impl Hidden {
    pub fn new(bytes: impl AsRef<[u8]>) -> Hidden {
        Hidden(bytes.as_ref().into())
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("«hidden»")
    }
}

impl<T: AsRef<[u8]>> From<T> for Content {
    fn from(bytes: T) -> Self {
        Content(Arc::new(Bytes {
            bytes: bytes.as_ref().into(),
            reading: OnceLock::new(),
        }))
    }
}

impl PartialEq for Content {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Content {}

impl std::hash::Hash for Content {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl PartialOrd for Content {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Content {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(self.as_bytes()) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => {
                let encoded = base64::engine::general_purpose::STANDARD.encode(self.as_bytes());
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
