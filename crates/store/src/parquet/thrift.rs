//! Thrift's compact protocol, as Parquet's footers and page headers use it. Nothing is
//! reserved on a length's word: every length is held against the bytes that are left.

/// Structs and lists within each other. Parquet itself has six levels.
const DEEPEST: usize = 32;

/// The type of a field, as its header gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind(u8);

const TRUE: Kind = Kind(1);
const FALSE: Kind = Kind(2);
const I8: Kind = Kind(3);
const I16: Kind = Kind(4);
const I32: Kind = Kind(5);
const I64: Kind = Kind(6);
const DOUBLE: Kind = Kind(7);
const BINARY: Kind = Kind(8);
const LIST: Kind = Kind(9);
const SET: Kind = Kind(10);
const MAP: Kind = Kind(11);
const STRUCT: Kind = Kind(12);

/// Reads values off the front of some bytes.
pub(super) struct Thrift<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
}

impl<'a> Thrift<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Thrift { bytes, at: 0, depth: 0 }
    }

    /// How many bytes were read.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// Calls `field` with the number and type of every field of a struct; it reads
    /// the value or skips it.
    pub(super) fn fields(
        &mut self,
        mut field: impl FnMut(&mut Self, i64, Kind) -> Result<(), String>,
    ) -> Result<(), String> {
        self.nested(|this| {
            let mut id = 0_i64;
            loop {
                let header = this.byte()?;
                if header & 15 == 0 {
                    return Ok(());
                }
                id = match header >> 4 {
                    0 => this.zigzag()?,
                    delta => id.saturating_add(i64::from(delta)),
                };
                field(this, id, Kind(header & 15))?;
            }
        })
    }

    /// Calls `item` with the type of every item of a list; it reads the item or skips it.
    pub(super) fn list(
        &mut self,
        kind: Kind,
        mut item: impl FnMut(&mut Self, Kind) -> Result<(), String>,
    ) -> Result<(), String> {
        if kind != LIST && kind != SET {
            return Err(unexpected(kind, "a list"));
        }
        let header = self.byte()?;
        let count = match header >> 4 {
            15 => self.varint()?,
            count => u64::from(count),
        };
        // An item takes a byte at least, so the loop ends with the bytes at the latest.
        self.nested(|this| (0..count).try_for_each(|_| item(this, Kind(header & 15))))
    }

    pub(super) fn structure(&self, kind: Kind) -> Result<(), String> {
        if kind == STRUCT { Ok(()) } else { Err(unexpected(kind, "a struct")) }
    }

    pub(super) fn boolean(&self, kind: Kind) -> Result<bool, String> {
        match kind {
            TRUE => Ok(true),
            FALSE => Ok(false),
            _ => Err(unexpected(kind, "a boolean")),
        }
    }

    pub(super) fn integer(&mut self, kind: Kind) -> Result<i64, String> {
        match kind {
            I8 => Ok(i64::from(i8::from_le_bytes([self.byte()?]))),
            I16 | I32 | I64 => self.zigzag(),
            _ => Err(unexpected(kind, "an integer")),
        }
    }

    /// A count or a size.
    pub(super) fn size(&mut self, kind: Kind) -> Result<usize, String> {
        let value = self.integer(kind)?;
        usize::try_from(value).map_err(|_| format!("a size or count is {value}"))
    }

    pub(super) fn binary(&mut self, kind: Kind) -> Result<&'a [u8], String> {
        if kind != BINARY {
            return Err(unexpected(kind, "a string"));
        }
        let length = usize::try_from(self.varint()?).map_err(|_| short())?;
        self.take(length)
    }

    /// Passes over a value, whatever it holds.
    pub(super) fn skip(&mut self, kind: Kind) -> Result<(), String> {
        match kind {
            TRUE | FALSE => Ok(()),
            DOUBLE => self.take(8).map(|_| ()),
            BINARY => self.binary(kind).map(|_| ()),
            LIST | SET => self.list(kind, Self::skip_item),
            MAP => self.skip_map(),
            STRUCT => self.fields(|this, _, kind| this.skip(kind)),
            _ => self.integer(kind).map(|_| ()),
        }
    }

    /// An item of a list or map: its booleans take a byte each.
    fn skip_item(&mut self, kind: Kind) -> Result<(), String> {
        if kind == TRUE || kind == FALSE { self.byte().map(|_| ()) } else { self.skip(kind) }
    }

    fn skip_map(&mut self) -> Result<(), String> {
        let count = self.varint()?;
        if count == 0 {
            return Ok(());
        }
        let kinds = self.byte()?;
        self.nested(|this| {
            (0..count).try_for_each(|_| {
                this.skip_item(Kind(kinds >> 4))?;
                this.skip_item(Kind(kinds & 15))
            })
        })
    }

    fn nested(&mut self, read: impl FnOnce(&mut Self) -> Result<(), String>) -> Result<(), String> {
        if self.depth == DEEPEST {
            return Err(format!("its header nests deeper than {DEEPEST} levels"));
        }
        self.depth += 1;
        read(self)?;
        self.depth -= 1;
        Ok(())
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let taken = rest.get(..length).ok_or_else(short)?;
        self.at += length;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, String> {
        let byte = *self.bytes.get(self.at).ok_or_else(short)?;
        self.at += 1;
        Ok(byte)
    }

    fn varint(&mut self) -> Result<u64, String> {
        let (value, length) = varint(self.bytes.get(self.at..).unwrap_or_default())?;
        self.at += length;
        Ok(value)
    }

    fn zigzag(&mut self) -> Result<i64, String> {
        let value = self.varint()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }
}

/// A number of 7 bits a byte, the lowest first, and how many bytes it takes.
pub(super) fn varint(bytes: &[u8]) -> Result<(u64, usize), String> {
    let mut value = 0;
    for (i, &byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 127) << (7 * i);
        if byte < 128 {
            return Ok((value, i + 1));
        }
    }
    Err(if bytes.len() < 10 { short() } else { "a number in it takes more than 64 bits".into() })
}

fn short() -> String {
    "it ends in the middle of a value".to_owned()
}

fn unexpected(kind: Kind, expected: &str) -> String {
    format!("a header has a field of type {}; expected {expected}", kind.0)
}
