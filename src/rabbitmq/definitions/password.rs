//! Password hashes: base64 of a salt of four bytes and the digest of salt and password
//! (<https://www.rabbitmq.com/docs/passwords>).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::Md5;
use sha2::{Digest as _, Sha256, Sha512};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    #[default]
    Sha256,
    Sha512,
    Md5,
}

impl Algorithm {
    /// By the name of the broker's module (`rabbit_password_hashing_sha256`); `None`: a plugin's own.
    pub fn parse(name: &str) -> Option<Algorithm> {
        match name {
            "rabbit_password_hashing_sha256" => Some(Algorithm::Sha256),
            "rabbit_password_hashing_sha512" => Some(Algorithm::Sha512),
            "rabbit_password_hashing_md5" => Some(Algorithm::Md5),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "rabbit_password_hashing_sha256",
            Algorithm::Sha512 => "rabbit_password_hashing_sha512",
            Algorithm::Md5 => "rabbit_password_hashing_md5",
        }
    }

    fn digest(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Algorithm::Sha256 => Sha256::digest(bytes).to_vec(),
            Algorithm::Sha512 => Sha512::digest(bytes).to_vec(),
            Algorithm::Md5 => Md5::digest(bytes).to_vec(),
        }
    }
}

/// The hash a broker keeps of a password.
pub fn hash(algorithm: Algorithm, salt: [u8; 4], password: &str) -> String {
    let salted: Vec<u8> = salt.iter().copied().chain(password.bytes()).collect();
    let bytes: Vec<u8> = salt.into_iter().chain(algorithm.digest(&salted)).collect();
    STANDARD.encode(bytes)
}

/// Whether a hash is of this password.
pub fn matches(algorithm: Algorithm, kept: &str, password: &str) -> bool {
    let Ok(bytes) = STANDARD.decode(kept) else { return false };
    let Some(salt) = bytes.first_chunk::<4>() else {
        return false;
    };
    hash(algorithm, *salt, password) == kept
}
