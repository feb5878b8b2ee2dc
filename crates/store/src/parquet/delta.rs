//! Decodes Parquet's delta encodings: DELTA_BINARY_PACKED, DELTA_LENGTH_BYTE_ARRAY and
//! DELTA_BYTE_ARRAY (parquet-format, `Encodings.md`).
//!
//! Values are decoded one at a time. Nothing is allocated for a stated count or length; only
//! [`Prefixed`] keeps its last value, which is no longer than the page.

use super::thrift::varint;

/// The read position of a stream of whole numbers. The caller holds the page's bytes.
pub(super) struct Deltas {
    at: usize,
    end: usize,
    /// Values not yet read.
    left: u64,
    /// The last value. Sums wrap, as the format says.
    last: i64,
    begun: bool,
    /// Miniblocks of a block, and values of a miniblock.
    miniblocks: usize,
    values: u64,
    block: Block,
}

/// The read position within a block.
struct Block {
    least: i64,
    /// Where the widths of its miniblocks are, and the next of them.
    widths: usize,
    next: usize,
    /// The current miniblock: values left, their first bit, bits of a value.
    left: u64,
    bit: u64,
    width: u32,
}

impl Deltas {
    /// The stream at `at..end` of a page.
    pub(super) fn new(page: &[u8], at: usize, end: usize) -> Result<Self, String> {
        let mut at = at;
        let size = number(page, &mut at, end)?;
        let miniblocks = number(page, &mut at, end)?;
        let left = number(page, &mut at, end)?;
        let last = zigzag(number(page, &mut at, end)?);
        let values = size.checked_div(miniblocks).unwrap_or(0);
        let miniblocks = usize::try_from(miniblocks).unwrap_or(usize::MAX);
        if left > 1 && (values == 0 || values % 8 != 0) {
            return Err(format!(
                "its deltas are in blocks of {size} with {miniblocks} parts; expected parts of a multiple of 8 values"
            ));
        }
        let block = Block { least: 0, widths: at, next: miniblocks, left: 0, bit: 0, width: 0 };
        Ok(Deltas { at, end, left, last, begun: false, miniblocks, values, block })
    }

    /// The next value.
    pub(super) fn next(&mut self, page: &[u8]) -> Result<i64, String> {
        self.left = self.left.checked_sub(1).ok_or_else(short)?;
        if !self.begun {
            self.begun = true;
            return Ok(self.last);
        }
        if self.block.left == 0 {
            self.begin(page)?;
        }
        let block = &mut self.block;
        let delta = unpack(page.get(..self.end).unwrap_or(page), block.bit, block.width)?;
        block.left -= 1;
        block.bit += u64::from(block.width);
        self.last = self.last.wrapping_add(block.least).wrapping_add(delta.cast_signed());
        Ok(self.last)
    }

    /// Where the stream ends: behind the last block that holds values. Every block takes at
    /// least one byte, so this ends with the page.
    pub(super) fn behind(&self, page: &[u8]) -> Result<usize, String> {
        let mut at = self.at;
        let mut left = self.left.saturating_sub(1);
        while left > 0 {
            number(page, &mut at, self.end)?;
            let widths = self.widths(page, at)?;
            at += self.miniblocks;
            for &width in widths {
                if left == 0 {
                    break;
                }
                at = self.after(at, width.into());
                left = left.saturating_sub(self.values);
            }
        }
        Ok(at.min(self.end))
    }

    /// Begins the next miniblock.
    fn begin(&mut self, page: &[u8]) -> Result<(), String> {
        if self.block.next >= self.miniblocks {
            self.block.least = zigzag(number(page, &mut self.at, self.end)?);
            self.widths(page, self.at)?;
            (self.block.widths, self.block.next) = (self.at, 0);
            self.at += self.miniblocks;
        }
        let width = page.get(self.block.widths + self.block.next).copied().ok_or_else(short)?;
        if width > 64 {
            return Err(format!("it packs deltas of {width} bits; expected at most 64"));
        }
        self.block.next += 1;
        self.block.left = self.values;
        self.block.bit = 8 * self.at as u64;
        self.block.width = width.into();
        self.at = self.after(self.at, width.into());
        Ok(())
    }

    fn widths<'p>(&self, page: &'p [u8], at: usize) -> Result<&'p [u8], String> {
        let end = at.checked_add(self.miniblocks).filter(|&end| end <= self.end);
        end.and_then(|end| page.get(at..end)).ok_or_else(short)
    }

    /// Where a miniblock at `at` ends. Writers may cut the last one short.
    fn after(&self, at: usize, width: u64) -> usize {
        let bytes = usize::try_from((self.values / 8).saturating_mul(width)).unwrap_or(usize::MAX);
        at.saturating_add(bytes).min(self.end)
    }
}

/// Byte strings with all their lengths in front.
pub(super) struct Lengths {
    lengths: Deltas,
    at: usize,
}

impl Lengths {
    pub(super) fn new(page: &[u8], at: usize) -> Result<Self, String> {
        let lengths = Deltas::new(page, at, page.len())?;
        let at = lengths.behind(page)?;
        Ok(Lengths { lengths, at })
    }

    pub(super) fn next<'p>(&mut self, page: &'p [u8]) -> Result<&'p [u8], String> {
        let length = usize::try_from(self.lengths.next(page)?).map_err(|_| short())?;
        let bytes = page.get(self.at..).and_then(|rest| rest.get(..length)).ok_or_else(short)?;
        self.at += length;
        Ok(bytes)
    }
}

/// Byte strings that share their beginning with the string before.
pub(super) struct Prefixed {
    prefixes: Deltas,
    suffixes: Lengths,
    last: Vec<u8>,
}

impl Prefixed {
    pub(super) fn new(page: &[u8], at: usize) -> Result<Self, String> {
        let prefixes = Deltas::new(page, at, page.len())?;
        let suffixes = Lengths::new(page, prefixes.behind(page)?)?;
        Ok(Prefixed { prefixes, suffixes, last: Vec::new() })
    }

    pub(super) fn next(&mut self, page: &[u8]) -> Result<&[u8], String> {
        let shared = usize::try_from(self.prefixes.next(page)?).unwrap_or(usize::MAX);
        if shared > self.last.len() {
            let most = self.last.len();
            return Err(format!("a value shares {shared} bytes with one of {most} bytes"));
        }
        self.last.truncate(shared);
        self.last.extend_from_slice(self.suffixes.next(page)?);
        Ok(&self.last)
    }
}

fn number(page: &[u8], at: &mut usize, end: usize) -> Result<u64, String> {
    let (value, length) = varint(page.get(*at..end).unwrap_or_default()).map_err(|_| short())?;
    *at += length;
    Ok(value)
}

fn zigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

/// The `width` bits from bit `bit` on, lowest bit first.
fn unpack(bytes: &[u8], bit: u64, width: u32) -> Result<u64, String> {
    let last = (bit + u64::from(width)).div_ceil(8);
    let range = usize::try_from(bit / 8).ok().zip(usize::try_from(last).ok());
    let bytes = range.and_then(|(first, last)| bytes.get(first.min(last)..last));
    // At most 64 bits that start within a byte: nine bytes.
    let bytes = bytes.ok_or_else(short)?.iter().rev();
    let word = bytes.fold(0_u128, |sum, &byte| sum << 8 | u128::from(byte));
    let mask = (1_u128 << width) - 1;
    Ok(u64::try_from(word >> (bit % 8) & mask).unwrap_or(u64::MAX))
}

fn short() -> String {
    "its deltas end before its values do".to_owned()
}
