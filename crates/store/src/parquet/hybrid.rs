//! Decodes Parquet's hybrid of run-length and bit-packed values: levels, dictionary
//! indices, booleans.

use super::thrift::varint;

/// The read position of one stream within a page. The caller holds the page's bytes.
pub(super) struct Hybrid {
    at: usize,
    end: usize,
    /// Bits of a value, at most 32.
    width: u32,
    run: Run,
}

enum Run {
    Repeated { left: u64, value: u32 },
    Packed { left: u64, bit: u64 },
}

impl Hybrid {
    /// The stream at `at..end` of a page. `end` is at most the page's length.
    pub(super) fn new(at: usize, end: usize, width: u32) -> Result<Self, String> {
        if width > 32 {
            return Err(format!("it packs values of {width} bits; expected at most 32"));
        }
        Ok(Hybrid { at, end, width, run: Run::Repeated { left: 0, value: 0 } })
    }

    /// The next value.
    pub(super) fn next(&mut self, page: &[u8]) -> Result<u32, String> {
        loop {
            match &mut self.run {
                Run::Repeated { left, value } if *left > 0 => {
                    *left -= 1;
                    return Ok(*value);
                }
                Run::Packed { left, bit } if *left > 0 => {
                    let value = unpack(page.get(..self.end).unwrap_or(page), *bit, self.width)?;
                    *left -= 1;
                    *bit += u64::from(self.width);
                    return Ok(value);
                }
                _ => self.begin(page)?,
            }
        }
    }

    /// Reads a run's header. Every run takes at least one byte, so even empty runs end.
    fn begin(&mut self, page: &[u8]) -> Result<(), String> {
        let rest = page.get(self.at..self.end).unwrap_or_default();
        let (header, length) = varint(rest).map_err(|_| short())?;
        let rest = &rest[length..];
        self.at += length;
        let count = header >> 1;
        let taken = if header & 1 == 1 {
            // Groups of 8 values. The last group may be incomplete.
            self.run = Run::Packed { left: count.saturating_mul(8), bit: 8 * self.at as u64 };
            count.saturating_mul(u64::from(self.width))
        } else {
            let bytes = self.width.div_ceil(8) as usize;
            let value = rest.get(..bytes).ok_or_else(short)?;
            let value = value.iter().rev().fold(0, |sum, &byte| sum << 8 | u32::from(byte));
            self.run = Run::Repeated { left: count, value };
            bytes as u64
        };
        let taken = usize::try_from(taken).unwrap_or(usize::MAX);
        self.at = self.at.saturating_add(taken).min(self.end);
        Ok(())
    }
}

/// The `width` bits from bit `bit` on, lowest bit first.
pub(super) fn unpack(bytes: &[u8], bit: u64, width: u32) -> Result<u32, String> {
    let last = (bit + u64::from(width)).div_ceil(8);
    let range = usize::try_from(bit / 8).ok().zip(usize::try_from(last).ok());
    let bytes = range.and_then(|(first, last)| bytes.get(first.min(last)..last));
    // At most 32 bits that start within a byte: five bytes.
    let bytes = bytes.ok_or_else(short)?.iter().rev();
    let word = bytes.fold(0_u64, |sum, &byte| sum << 8 | u64::from(byte));
    let mask = (1_u64 << width) - 1;
    Ok(u32::try_from(word >> (bit % 8) & mask).unwrap_or(u32::MAX))
}

fn short() -> String {
    "its runs end before its values do".to_owned()
}
