//! The most probable tokens in the answer cache, as bytes.

use redb::{Durability, ReadTransaction, ReadableTable, TableDefinition, TableError};
use tokenroute_core::TopTokens;

use super::{Answers, unbroken};

/// The same key to the most probable tokens: how many were wanted (u32), then id (u32) and
/// probability (f32) of each, all little endian. The table is made by the first such answer.
const TOP: TableDefinition<'_, [u8; 32], &[u8]> = TableDefinition::new("top-v1");

/// The cached lists of at least `wanted` tokens.
pub(super) fn known_tops(
    reading: &ReadTransaction,
    keys: &[[u8; 32]],
    wanted: usize,
) -> Result<Vec<Option<TopTokens>>, redb::Error> {
    let table = match reading.open_table(TOP) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(vec![None; keys.len()]),
        Err(error) => return Err(error.into()),
    };
    let known = |key| Ok(table.get(key)?.and_then(|bytes| read_top(bytes.value(), wanted)));
    keys.iter().map(known).collect()
}

fn top_bytes(wanted: usize, top: &TopTokens) -> Vec<u8> {
    let mut bytes = u32::try_from(wanted).unwrap_or(u32::MAX).to_le_bytes().to_vec();
    for (token, probability) in top.iter() {
        bytes.extend(token.to_le_bytes());
        bytes.extend(probability.to_le_bytes());
    }
    bytes
}

/// The first `wanted` tokens of a list, if that many or more were wanted of it.
fn read_top(bytes: &[u8], wanted: usize) -> Option<TopTokens> {
    let (known, pairs) = bytes.split_first_chunk::<4>()?;
    let pairs = pairs.as_chunks::<8>().0.iter().take(wanted);
    let pair = |&[a, b, c, d, e, f, g, h]: &[u8; 8]| {
        (u32::from_le_bytes([a, b, c, d]), f32::from_le_bytes([e, f, g, h]))
    };
    (u32::from_le_bytes(*known) as usize >= wanted).then(|| pairs.map(pair).collect())
}

impl<L> Answers<L> {
    /// Caches lists of which `wanted` tokens were wanted and returns the cached ones.
    pub(super) fn keep_tops(
        &self,
        keys: &[[u8; 32]],
        wanted: usize,
        tops: Vec<TopTokens>,
    ) -> Result<Vec<TopTokens>, redb::Error> {
        unbroken(|| {
            let mut writing = self.database()?.begin_write()?;
            writing.set_durability(Durability::None)?;
            let mut kept = Vec::with_capacity(tops.len());
            {
                let mut table = writing.open_table(TOP)?;
                for (key, top) in keys.iter().zip(tops) {
                    let first = table.get(key)?.and_then(|first| read_top(first.value(), wanted));
                    if first.is_none() {
                        table.insert(key, top_bytes(wanted, &top).as_slice())?;
                    }
                    kept.push(first.unwrap_or(top));
                }
            }
            writing.commit()?;
            Ok(kept)
        })
    }
}
