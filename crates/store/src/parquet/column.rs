//! Reads a column of a row group, entry by entry and page by page.

use std::borrow::Cow;

use super::allowance::Allowance;
use super::delta::{Deltas, Lengths, Prefixed};
use super::footer::{ColumnChunk, LeafColumn, Physical};
use super::hybrid::{Hybrid, unpack};
use super::page::{self, Page, PageKind};
use super::value::{Scalar, plain, string, whole, width};

/// Bytes that an entry counts against the allowance, and a value that is kept beside a text's
/// length: as JSON, or in a dictionary.
const ENTRY: usize = 16;
pub(super) const VALUE: usize = 64;

/// The Dremel levels of an entry: the field at which it repeats, and the number of its
/// optional fields that are present.
#[derive(Debug, Clone, Copy)]
pub(super) struct Levels {
    pub(super) repeat: u32,
    pub(super) definition: u32,
}

pub(super) struct Column<'a> {
    leaf: &'a LeafColumn,
    codec: i64,
    /// Bytes and entries of the pages not yet read.
    rest: &'a [u8],
    entries: usize,
    dictionary: Vec<Scalar>,
    page: Data<'a>,
    next: Option<Levels>,
}

/// The read position of a column within a page.
struct Data<'a> {
    bytes: Cow<'a, [u8]>,
    entries: usize,
    repeats: Option<Hybrid>,
    definitions: Option<Hybrid>,
    values: Values,
}

enum Values {
    /// PLAIN values from this byte on.
    Plain(usize),
    /// Booleans of one bit each from this bit on.
    Bits(u64),
    /// Booleans in runs.
    Runs(Hybrid),
    /// Indices into the dictionary.
    Indices(Hybrid),
    /// DELTA_BINARY_PACKED.
    Deltas(Deltas),
    /// DELTA_LENGTH_BYTE_ARRAY.
    Lengths(Lengths),
    /// DELTA_BYTE_ARRAY.
    Prefixed(Prefixed),
    /// BYTE_STREAM_SPLIT: the first bytes of all `count` values from `at` on, then all second
    /// ones. `next` values were read.
    Split { at: usize, count: usize, next: usize },
}

impl<'a> Column<'a> {
    pub(super) fn new(file: &'a [u8], leaf: &'a LeafColumn, chunk: &ColumnChunk) -> Self {
        let page = Data {
            bytes: Cow::Borrowed(&[]),
            entries: 0,
            repeats: None,
            definitions: None,
            values: Values::Plain(0),
        };
        Column {
            leaf,
            codec: chunk.codec,
            rest: file.get(chunk.range.clone()).unwrap_or_default(),
            entries: chunk.entries,
            dictionary: Vec::new(),
            page,
            next: None,
        }
    }

    /// The levels of the next entry, if there is one.
    pub(super) fn peek(&mut self, allowance: &mut Allowance) -> Result<Option<Levels>, String> {
        if self.next.is_none() {
            self.next = self.levels(allowance).map_err(|what| self.error(&what))?;
        }
        Ok(self.next)
    }

    /// The value of the next entry; none if its levels mark it as absent.
    pub(super) fn take(&mut self, allowance: &mut Allowance) -> Result<Option<Scalar>, String> {
        let Some(levels) = self.peek(allowance)? else {
            return Err(self.error("it has fewer entries than the rows need"));
        };
        self.next = None;
        allowance.spend(ENTRY)?;
        if levels.definition < self.leaf.definition {
            return Ok(None);
        }
        self.value(allowance).map(Some).map_err(|what| self.error(&what))
    }

    /// An error about this column.
    pub(super) fn error(&self, what: &str) -> String {
        format!("column `{}`: {what}", self.leaf.column)
    }

    fn levels(&mut self, allowance: &mut Allowance) -> Result<Option<Levels>, String> {
        while self.page.entries == 0 {
            if self.entries == 0 {
                return Ok(None);
            }
            self.turn(allowance)?;
        }
        self.page.entries -= 1;
        let level = |stream: &mut Option<Hybrid>, most: u32| match stream {
            None => Ok(0),
            Some(stream) => match stream.next(&self.page.bytes)? {
                level if level <= most => Ok(level),
                level => Err(format!("a level is {level}; expected at most {most}")),
            },
        };
        let repeat = level(&mut self.page.repeats, self.leaf.repeat)?;
        let definition = level(&mut self.page.definitions, self.leaf.definition)?;
        Ok(Some(Levels { repeat, definition }))
    }

    /// Reads the next page.
    fn turn(&mut self, allowance: &mut Allowance) -> Result<(), String> {
        let (page, length) = page::read(self.rest, self.codec, allowance)?;
        self.rest = &self.rest[length..];
        let (repeats, definitions, values) = match page.kind {
            PageKind::Index => return Ok(()),
            PageKind::Dictionary => return self.remember(&page, allowance),
            PageKind::Data { definitions, repeats } => {
                let (repeats, at) = sized(&page.bytes, 0, repeats, self.leaf.repeat)?;
                let (definitions, at) = sized(&page.bytes, at, definitions, self.leaf.definition)?;
                (repeats, definitions, at)
            }
            PageKind::DataV2 { definitions, repeats } => {
                let end = repeats.saturating_add(definitions);
                if end > page.bytes.len() {
                    return Err("a page's levels are longer than the page".into());
                }
                let definitions = levels(repeats, end, self.leaf.definition)?;
                (levels(0, repeats, self.leaf.repeat)?, definitions, end)
            }
        };
        let left = self.entries.checked_sub(page.entries);
        self.entries = left.ok_or("its pages have more entries than the footer says")?;
        let values = self.values(&page, values)?;
        let Page { bytes, entries, .. } = page;
        self.page = Data { bytes, entries, repeats, definitions, values };
        Ok(())
    }

    fn values(&self, page: &Page<'_>, at: usize) -> Result<Values, String> {
        let boolean = self.leaf.physical == Physical::Boolean;
        match page.encoding {
            0 if boolean => Ok(Values::Bits(8 * at as u64)),
            0 => Ok(Values::Plain(at)),
            2 | 8 => {
                // A page without values may end before the width.
                let width = page.bytes.get(at).copied().unwrap_or_default();
                let runs = Hybrid::new(at + 1, page.bytes.len(), width.into())?;
                Ok(Values::Indices(runs))
            }
            3 if boolean => match sized(&page.bytes, at, 3, 1)? {
                (Some(runs), _) => Ok(Values::Runs(runs)),
                (None, _) => Ok(Values::Bits(0)),
            },
            5 if matches!(self.leaf.physical, Physical::Int32 | Physical::Int64) => {
                Deltas::new(&page.bytes, at, page.bytes.len()).map(Values::Deltas)
            }
            6 if self.leaf.physical == Physical::Bytes => {
                Lengths::new(&page.bytes, at).map(Values::Lengths)
            }
            7 if matches!(self.leaf.physical, Physical::Bytes | Physical::Fixed(_)) => {
                Prefixed::new(&page.bytes, at).map(Values::Prefixed)
            }
            9 if width(self.leaf).is_some_and(|width| width > 0) => {
                let width = width(self.leaf).unwrap_or(1);
                Ok(Values::Split {
                    at,
                    count: page.bytes.len().saturating_sub(at) / width,
                    next: 0,
                })
            }
            other => {
                let name = match other {
                    4 => "BIT_PACKED",
                    5 => "DELTA_BINARY_PACKED",
                    6 => "DELTA_LENGTH_BYTE_ARRAY",
                    7 => "DELTA_BYTE_ARRAY",
                    9 => "BYTE_STREAM_SPLIT",
                    _ => "unknown",
                };
                Err(format!(
                    "its encoding is {name} ({other}), which does not fit its type; expected PLAIN, a dictionary or a delta encoding; write the file again with pyarrow's defaults"
                ))
            }
        }
    }

    fn remember(&mut self, page: &Page<'_>, allowance: &mut Allowance) -> Result<(), String> {
        if page.encoding != 0 && page.encoding != 2 {
            return Err(format!("its dictionary has encoding {}; expected 0", page.encoding));
        }
        self.dictionary.clear();
        let mut at = 0;
        for _ in 0..page.entries {
            allowance.spend(VALUE)?;
            self.dictionary.push(plain(self.leaf, &page.bytes, &mut at, allowance)?);
        }
        Ok(())
    }

    fn value(&mut self, allowance: &mut Allowance) -> Result<Scalar, String> {
        let bytes = &self.page.bytes;
        match &mut self.page.values {
            Values::Plain(at) => plain(self.leaf, bytes, at, allowance),
            Values::Bits(bit) => {
                let value = unpack(bytes, *bit, 1)?;
                *bit += 1;
                Ok(Scalar::Bool(value == 1))
            }
            Values::Runs(runs) => Ok(Scalar::Bool(runs.next(bytes)? == 1)),
            Values::Indices(runs) => {
                let index = runs.next(bytes)?;
                let place = usize::try_from(index).ok().and_then(|i| self.dictionary.get(i));
                let value = place.ok_or_else(|| {
                    let most = self.dictionary.len();
                    format!("it refers to value {index} of a dictionary of {most}")
                })?;
                if let Scalar::Text(text) = value {
                    allowance.spend(text.len())?;
                }
                Ok(value.clone())
            }
            Values::Deltas(deltas) => Ok(whole(self.leaf, deltas.next(bytes)?)),
            Values::Lengths(strings) => string(self.leaf, strings.next(bytes)?, allowance),
            Values::Prefixed(strings) => string(self.leaf, strings.next(bytes)?, allowance),
            Values::Split { at, count, next } => {
                let short = || "a page ends before its values do".to_owned();
                if next >= count {
                    return Err(short());
                }
                let places = (0..width(self.leaf).unwrap_or(1)).map(|k| *at + k * *count + *next);
                let value: Option<Vec<u8>> = places.map(|i| bytes.get(i).copied()).collect();
                *next += 1;
                plain(self.leaf, &value.ok_or_else(short)?, &mut 0, allowance)
            }
        }
    }
}

/// Levels at `at`, with their length in front, and their end.
fn sized(
    page: &[u8],
    at: usize,
    encoding: i64,
    most: u32,
) -> Result<(Option<Hybrid>, usize), String> {
    if most == 0 {
        return Ok((None, at));
    }
    if encoding != 3 {
        return Err(format!("its levels have encoding {encoding}; expected 3, runs"));
    }
    let short = "a page ends within its levels";
    let length = page.get(at..).and_then(<[u8]>::first_chunk).ok_or(short)?;
    let start = at + 4;
    let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| short)?;
    let end = start.checked_add(length).filter(|&end| end <= page.len()).ok_or(short)?;
    Ok((levels(start, end, most)?, end))
}

/// Levels of at most `most`, at `start..end`.
fn levels(start: usize, end: usize, most: u32) -> Result<Option<Hybrid>, String> {
    (most > 0).then(|| Hybrid::new(start, end, u32::BITS - most.leading_zeros())).transpose()
}
