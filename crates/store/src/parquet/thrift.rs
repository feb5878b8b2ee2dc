//! Reads Thrift's compact protocol, as used by Parquet's footers and page headers. Every
//! length is checked against the remaining bytes before anything is allocated.

/// Most levels of nested structs and lists. Parquet itself has six.
const DEEPEST: usize = 32;

/// The type of a field, from its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WireType(u8);

const TRUE: WireType = WireType(1);
const FALSE: WireType = WireType(2);
const I8: WireType = WireType(3);
const I16: WireType = WireType(4);
const I32: WireType = WireType(5);
const I64: WireType = WireType(6);
const DOUBLE: WireType = WireType(7);
const BINARY: WireType = WireType(8);
const LIST: WireType = WireType(9);
const SET: WireType = WireType(10);
const MAP: WireType = WireType(11);
const STRUCT: WireType = WireType(12);

/// Reads values from the front of a byte slice.
pub(super) struct Thrift<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
}

impl<'a> Thrift<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Thrift { bytes, at: 0, depth: 0 }
    }

    /// Number of bytes read so far.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// Calls `field` with the number and type of every field of a struct. `field` must read
    /// or skip the value.
    pub(super) fn fields(
        &mut self,
        mut field: impl FnMut(&mut Self, i64, WireType) -> Result<(), String>,
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
                field(this, id, WireType(header & 15))?;
            }
        })
    }

    /// Calls `item` with the type of every item of a list. `item` must read or skip the
    /// item.
    pub(super) fn list(
        &mut self,
        kind: WireType,
        mut item: impl FnMut(&mut Self, WireType) -> Result<(), String>,
    ) -> Result<(), String> {
        if kind != LIST && kind != SET {
            return Err(unexpected(kind, "a list"));
        }
        let header = self.byte()?;
        let count = match header >> 4 {
            15 => self.varint()?,
            count => u64::from(count),
        };
        // An item takes at least one byte, so the loop ends with the bytes.
        self.nested(|this| (0..count).try_for_each(|_| item(this, WireType(header & 15))))
    }

    pub(super) fn structure(&self, kind: WireType) -> Result<(), String> {
        if kind == STRUCT { Ok(()) } else { Err(unexpected(kind, "a struct")) }
    }

    pub(super) fn boolean(&self, kind: WireType) -> Result<bool, String> {
        match kind {
            TRUE => Ok(true),
            FALSE => Ok(false),
            _ => Err(unexpected(kind, "a boolean")),
        }
    }

    pub(super) fn integer(&mut self, kind: WireType) -> Result<i64, String> {
        match kind {
            I8 => Ok(i64::from(i8::from_le_bytes([self.byte()?]))),
            I16 | I32 | I64 => self.zigzag(),
            _ => Err(unexpected(kind, "an integer")),
        }
    }

    /// A count or a size.
    pub(super) fn size(&mut self, kind: WireType) -> Result<usize, String> {
        let value = self.integer(kind)?;
        usize::try_from(value).map_err(|_| format!("a size or count is {value}"))
    }

    pub(super) fn binary(&mut self, kind: WireType) -> Result<&'a [u8], String> {
        if kind != BINARY {
            return Err(unexpected(kind, "a string"));
        }
        let length = usize::try_from(self.varint()?).map_err(|_| short())?;
        self.take(length)
    }

    /// Skips a value of any type.
    pub(super) fn skip(&mut self, kind: WireType) -> Result<(), String> {
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

    /// Skips an item of a list or map, where a boolean takes one byte.
    fn skip_item(&mut self, kind: WireType) -> Result<(), String> {
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
                this.skip_item(WireType(kinds >> 4))?;
                this.skip_item(WireType(kinds & 15))
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

/// Reads a number with 7 bits per byte, lowest first. Returns the number and its length in
/// bytes.
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

fn unexpected(kind: WireType, expected: &str) -> String {
    format!("a header has a field of type {}; expected {expected}", kind.0)
}
