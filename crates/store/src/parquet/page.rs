//! Reads page headers and unpacks page bytes. A page never unpacks to more than its header
//! states.

use std::borrow::Cow;
use std::io::Read;

use super::allowance::Allowance;
use super::brotli;
use super::thrift::Thrift;

/// A page with its uncompressed bytes.
pub(super) struct Page<'a> {
    pub(super) kind: PageKind,
    pub(super) bytes: Cow<'a, [u8]>,
    /// Entries of a data page, values of a dictionary.
    pub(super) entries: usize,
    pub(super) encoding: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PageKind {
    Dictionary,
    /// Version 1. Each kind of level has its length in front; the numbers are level
    /// encodings.
    Data {
        definitions: i64,
        repeats: i64,
    },
    /// Version 2. The numbers are the lengths of the levels in bytes.
    DataV2 {
        definitions: usize,
        repeats: usize,
    },
    /// An index. Not needed for reading rows.
    Index,
}

/// The fields of all page headers.
#[derive(Default)]
struct Header {
    kind: i64,
    unpacked: usize,
    packed: usize,
    entries: usize,
    encoding: i64,
    /// Encodings of levels (3: runs), or their lengths in bytes.
    definitions: usize,
    repeats: usize,
    plain: bool,
}

/// The first page of `chunk`, and its length in bytes.
pub(super) fn read<'a>(
    chunk: &'a [u8],
    codec: i64,
    allowance: &mut Allowance,
) -> Result<(Page<'a>, usize), String> {
    let mut thrift = Thrift::new(chunk);
    let header = header(&mut thrift)?;
    let start = thrift.position();
    let end = start.saturating_add(header.packed);
    let packed = chunk.get(start..end).ok_or("a page is longer than its column's bytes")?;
    let encoding = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
    let (kind, levels) = match header.kind {
        0 => {
            let definitions = encoding(header.definitions);
            (PageKind::Data { definitions, repeats: encoding(header.repeats) }, 0)
        }
        1 => (PageKind::Index, 0),
        2 => (PageKind::Dictionary, 0),
        3 => {
            let (definitions, repeats) = (header.definitions, header.repeats);
            let levels = definitions.saturating_add(repeats);
            (PageKind::DataV2 { definitions, repeats }, levels)
        }
        other => return Err(format!("a page has type {other}; expected 0 to 3")),
    };
    let bytes = if kind == PageKind::Index {
        Cow::Borrowed(packed)
    } else {
        let codec = if header.plain { 0 } else { codec };
        unpack(packed, levels, codec, header.unpacked, allowance)?
    };
    Ok((Page { kind, bytes, entries: header.entries, encoding: header.encoding }, end))
}

fn header(t: &mut Thrift<'_>) -> Result<Header, String> {
    let mut header = Header::default();
    t.fields(|t, id, kind| match id {
        1 => t.integer(kind).map(|value| header.kind = value),
        2 => t.size(kind).map(|value| header.unpacked = value),
        3 => t.size(kind).map(|value| header.packed = value),
        5 | 7 | 8 => {
            t.structure(kind)?;
            let v2 = id == 8;
            t.fields(|t, id, kind| match (id, v2) {
                (1, _) => t.size(kind).map(|value| header.entries = value),
                (2, false) | (4, true) => t.integer(kind).map(|value| header.encoding = value),
                // The third field of a dictionary page is a boolean: sorted or not.
                (3, false) if t.boolean(kind).is_ok() => Ok(()),
                (3, false) | (5, true) => t.size(kind).map(|value| header.definitions = value),
                (4, false) | (6, true) => t.size(kind).map(|value| header.repeats = value),
                (7, true) => t.boolean(kind).map(|value| header.plain = !value),
                _ => t.skip(kind),
            })
        }
        _ => t.skip(kind),
    })?;
    Ok(header)
}

/// Unpacks a page to `unpacked` bytes. Its first `levels` bytes are not compressed.
fn unpack<'a>(
    packed: &'a [u8],
    levels: usize,
    codec: i64,
    unpacked: usize,
    allowance: &mut Allowance,
) -> Result<Cow<'a, [u8]>, String> {
    if codec == 0 {
        return match packed.len() == unpacked {
            true => Ok(Cow::Borrowed(packed)),
            false => Err(format!("a page has {} bytes; expected {unpacked}", packed.len())),
        };
    }
    allowance.spend(unpacked)?;
    let damaged = |e: &dyn std::fmt::Display| format!("a page does not unpack: {e}");
    let short = "a page's levels are longer than the page";
    let (head, rest) = packed.split_at_checked(levels).ok_or(short)?;
    let size = unpacked.checked_sub(levels).ok_or(short)?;
    let mut bytes = head.to_vec();
    // A page with only nulls may have no values to unpack.
    if size > 0 || !rest.is_empty() {
        match codec {
            1 => {
                let found = snap::raw::decompress_len(rest).map_err(|e| damaged(&e))?;
                if found != size {
                    return Err(format!("a page unpacks to {found} bytes; expected {size}"));
                }
                let rest = snap::raw::Decoder::new().decompress_vec(rest);
                bytes.extend(rest.map_err(|e| damaged(&e))?);
            }
            2 => {
                // One byte beyond the stated size shows whether the page is longer.
                let most = (size as u64).saturating_add(1);
                let mut rest = flate2::read::MultiGzDecoder::new(rest).take(most);
                rest.read_to_end(&mut bytes).map_err(|e| damaged(&e))?;
            }
            4 => {
                bytes.resize(unpacked, 0);
                brotli::unpack(rest, &mut bytes[levels..]).map_err(|e| damaged(&e))?;
            }
            6 => bytes.extend(zstd::bulk::decompress(rest, size).map_err(|e| damaged(&e))?),
            7 => {
                bytes.resize(unpacked, 0);
                let found = lz4_flex::block::decompress_into(rest, &mut bytes[levels..]);
                bytes.truncate(levels + found.map_err(|e| damaged(&e))?);
            }
            other => {
                let name = match other {
                    3 => "LZO",
                    5 => "LZ4 in Hadoop's frames",
                    _ => "an unknown codec",
                };
                return Err(format!(
                    "it is compressed with {name}; expected Snappy, gzip, Brotli, Zstandard, LZ4 (raw) or none; write the file again with one of these"
                ));
            }
        }
    }
    match bytes.len() == unpacked {
        true => Ok(Cow::Owned(bytes)),
        false => Err(format!("a page does not unpack to the {unpacked} bytes that it states")),
    }
}
