//! Hashes that are the same on every machine and in every version.

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::TokenId;

/// XXH3 hash of a token prefix (prompt and answer so far), over the ids as little-endian
/// u32.
#[must_use]
pub fn prefix_hash(tokens: &[TokenId]) -> u64 {
    let mut hasher = Xxh3::new();
    for token in tokens {
        hasher.update(&token.to_le_bytes());
    }
    hasher.digest()
}

/// XXH3 hash of bytes.
#[must_use]
pub fn stable_hash(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}

/// A number in [0, 1), hashed from (seed, question, position). The random policy uses it as
/// its score. The oracle orders tokens of one class by it.
#[must_use]
pub fn unit_hash(seed: u64, question: &str, position: usize) -> f64 {
    let mut hasher = Xxh3::with_seed(seed);
    hasher.update(question.as_bytes());
    hasher.update(&[0]);
    hasher.update(&(position as u64).to_le_bytes());
    // An f64 holds 53 bits exactly.
    (hasher.digest() >> 11) as f64 / (1u64 << 53) as f64
}
