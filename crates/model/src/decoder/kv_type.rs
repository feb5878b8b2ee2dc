//! The types of number that a KV cache stores, by their names.

use std::fmt;
use std::str::FromStr;

/// How keys and values are stored. Attention computes in f32 with every type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum KvType {
    /// Exactly as computed.
    #[default]
    F32,
    /// Rounded to the nearest f16, ties to even. A feed with a value beyond ±65,504 fails.
    F16,
    /// 8 bits, with one f16 scale for 32 dimensions of a head and position: ggml's Q8_0. A feed
    /// with a scale beyond 65,504 fails.
    Q8_0,
}

/// A KV type that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no KV type {wanted:?}; expected {}", KvType::ALL.map(KvType::name).join(", "))]
pub struct UnknownKvType {
    /// The name that was given.
    pub wanted: String,
}

impl KvType {
    /// All types, the default first.
    pub const ALL: [KvType; 3] = [KvType::F32, KvType::F16, KvType::Q8_0];

    /// What stands before a type's name in the identity of weights.
    const MARK: &str = "+kv-";

    /// The name, as users write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            KvType::F32 => "f32",
            KvType::F16 => "f16",
            KvType::Q8_0 => "q8_0",
        }
    }

    /// A name of weights with this type: steps depend on both. f32 adds nothing.
    pub(crate) fn identify(self, weights: String) -> String {
        match self {
            KvType::F32 => weights,
            other => format!("{weights}{}{other}", Self::MARK),
        }
    }

    /// The name of the type that a [`weights_hash`](crate::weights_hash) was made with.
    pub(crate) fn name_in(weights_hash: &str) -> &str {
        weights_hash.split_once(Self::MARK).map_or(KvType::F32.name(), |(_, name)| name)
    }
}

impl fmt::Display for KvType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for KvType {
    type Err = UnknownKvType;

    fn from_str(name: &str) -> Result<Self, UnknownKvType> {
        let known = KvType::ALL.into_iter().find(|kind| kind.name().eq_ignore_ascii_case(name));
        known.ok_or_else(|| UnknownKvType { wanted: name.to_owned() })
    }
}
