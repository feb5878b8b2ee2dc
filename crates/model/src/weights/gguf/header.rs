//! A GGUF file's header: metadata and the places of its tensors.
//!
//! Every count and length is checked against the file's size before anything is allocated
//! or read. Every tensor must lie within the file and overlap no other. Versions 2 and 3,
//! little-endian.

use std::collections::BTreeMap;
use std::path::Path;

use super::quants::unsupported;
use super::value::Cursor;
use super::{GgufError, Kind, Value, split};
use crate::weights::MappedFile;

/// Limit of metadata entries and of tensors. Real files have tens or hundreds.
const MOST_ENTRIES: u64 = 1 << 16;
/// Length limit of a key or tensor name in bytes.
const LONGEST_NAME: usize = 1 << 12;

/// A GGUF file, or the parts of a model that is in several.
#[derive(Debug)]
pub struct Gguf {
    data: Data,
    /// The bytes of the parts after the first.
    parts: Vec<Data>,
    /// Type and place of every value.
    metadata: BTreeMap<String, (u32, usize)>,
    tensors: BTreeMap<String, Tensor>,
}

/// Where the bytes are.
#[derive(Debug)]
enum Data {
    Mapped(MappedFile),
    Owned(Vec<u8>),
}

/// A tensor as the file describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// How it is stored.
    pub kind: Kind,
    /// Row-major, the last dimension contiguous. This is Hugging Face's order; the file's is
    /// the reverse.
    pub shape: Vec<usize>,
    /// The part that it is in; 0 is the first.
    part: usize,
    /// First byte in the file.
    start: usize,
    bytes: usize,
}

impl Gguf {
    /// Maps a file and checks its header. Of a model in several files, the first one opens all.
    /// The files must not change while they are open.
    ///
    /// # Errors
    /// A file that cannot be read; a damaged header; a part that is missing or is not the first.
    pub fn open(path: &Path) -> Result<Self, GgufError> {
        split::whole(path, Gguf::open_file(path)?)
    }

    /// [`Gguf::open`] of one file, whether it is a part or not.
    pub(super) fn open_file(path: &Path) -> Result<Self, GgufError> {
        let read = |source| GgufError::Read { path: path.to_owned(), source };
        Gguf::read(Data::Mapped(MappedFile::open(path).map_err(read)?))
    }

    /// [`Gguf::open`] for bytes in memory.
    ///
    /// # Errors
    /// As [`Gguf::open`].
    pub fn parse(bytes: Vec<u8>) -> Result<Self, GgufError> {
        Gguf::read(Data::Owned(bytes))
    }

    fn read(data: Data) -> Result<Self, GgufError> {
        let mut cursor = Cursor { bytes: data.bytes(), at: 0 };
        let magic = cursor.take(4, "the magic number")?;
        if magic != b"GGUF" {
            return Err(GgufError::value("magic number", format!("{magic:?}"), "\"GGUF\""));
        }
        let version = cursor.u32("the version")?;
        if !matches!(version, 2 | 3) {
            return Err(GgufError::value("version", version, "2 or 3, little-endian"));
        }
        let tensor_count = count(&mut cursor, "the number of tensors")?;
        let entry_count = count(&mut cursor, "the number of metadata entries")?;
        let mut metadata = BTreeMap::new();
        for _ in 0..entry_count {
            let key = name(&mut cursor, "a metadata key")?;
            let kind = cursor.u32(key)?;
            let at = cursor.at;
            cursor.value(kind, key)?;
            if metadata.insert(key.to_owned(), (kind, at)).is_some() {
                return Err(GgufError::value(key, "repeated", "every key once"));
            }
        }
        let mut tensors = BTreeMap::new();
        for _ in 0..tensor_count {
            let name = name(&mut cursor, "a tensor's name")?;
            let tensor = tensor(&mut cursor, name)?;
            if tensors.insert(name.to_owned(), tensor).is_some() {
                return Err(GgufError::value(name, "repeated", "every tensor once"));
            }
        }
        let end = cursor.at;
        let mut gguf = Gguf { data, parts: Vec::new(), metadata, tensors };
        gguf.place(end)?;
        Ok(gguf)
    }

    /// Turns the tensors' offsets into places in the file. Checks that none overlap.
    fn place(&mut self, header_end: usize) -> Result<(), GgufError> {
        let alignment = match self.get("general.alignment") {
            None => 32,
            Some(value) => value
                .as_u64()
                .filter(|a| a.is_power_of_two() && (8..=1 << 20).contains(a))
                .ok_or_else(|| {
                    GgufError::value("general.alignment", value, "a power of two from 8 to 2^20")
                })?,
        } as usize;
        let (data_start, len) = (header_end.next_multiple_of(alignment), self.data.bytes().len());
        for (name, tensor) in &mut self.tensors {
            if !tensor.start.is_multiple_of(alignment) {
                let expected = format!("a multiple of general.alignment, {alignment}");
                return Err(GgufError::value(format!("offset of {name}"), tensor.start, expected));
            }
            tensor.start = tensor.start.saturating_add(data_start);
            let left = len.saturating_sub(tensor.start);
            if tensor.bytes > left {
                let (what, needed) = (format!("tensor {name}"), tensor.bytes as u64);
                return Err(GgufError::Truncated { what, at: tensor.start, needed, left });
            }
        }
        let mut places: Vec<_> =
            self.tensors.iter().map(|(name, t)| (t.start, t.start + t.bytes, name)).collect();
        places.sort_unstable();
        match places.windows(2).find(|pair| pair[0].1 > pair[1].0) {
            None => Ok(()),
            Some(pair) => Err(GgufError::value(
                pair[1].2,
                format!("at byte {}, inside `{}`", pair[1].0, pair[0].2),
                "tensors that do not overlap",
            )),
        }
    }

    /// Adds the tensors of a further part.
    pub(super) fn join(&mut self, part: Gguf) -> Result<(), GgufError> {
        let number = self.parts.len() + 1;
        for (name, mut tensor) in part.tensors {
            tensor.part = number;
            if self.tensors.contains_key(&name) {
                return Err(GgufError::value(name, "in two parts", "every tensor once"));
            }
            self.tensors.insert(name, tensor);
        }
        self.parts.push(part.data);
        Ok(())
    }

    /// The files, if these are some.
    pub(super) fn mapped(&self) -> impl Iterator<Item = &MappedFile> {
        std::iter::once(&self.data).chain(&self.parts).filter_map(|data| match data {
            Data::Mapped(map) => Some(map),
            Data::Owned(_) => None,
        })
    }

    /// Everything from the first tensor on, in the first file.
    pub(super) fn after_header(&self) -> &[u8] {
        let start = self.tensors.values().map(|tensor| tensor.start).min();
        start.map_or(&[], |start| &self.data.bytes()[start..])
    }

    /// A metadata value.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Value<'_>> {
        let &(kind, at) = self.metadata.get(key)?;
        // The value was checked when the header was read.
        Cursor { bytes: self.data.bytes(), at }.value(kind, key).ok()
    }

    /// Metadata keys in alphabetical order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.metadata.keys().map(String::as_str)
    }

    /// Tensors by the file's names, in alphabetical order.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// The tensor of that name in the file.
    #[must_use]
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// A tensor's bytes, as stored.
    #[must_use]
    pub fn bytes(&self, tensor: &Tensor) -> &[u8] {
        let data = tensor.part.checked_sub(1).map_or(&self.data, |part| &self.parts[part]);
        &data.bytes()[tensor.start..][..tensor.bytes]
    }
}

impl Data {
    fn bytes(&self) -> &[u8] {
        match self {
            Data::Mapped(map) => map.bytes(),
            Data::Owned(bytes) => bytes,
        }
    }
}

fn count(cursor: &mut Cursor<'_>, what: &str) -> Result<u64, GgufError> {
    let count = cursor.u64(what)?;
    if count > MOST_ENTRIES {
        return Err(GgufError::value(what, count, format!("at most {MOST_ENTRIES}")));
    }
    Ok(count)
}

fn name<'a>(cursor: &mut Cursor<'a>, what: &str) -> Result<&'a str, GgufError> {
    let name = cursor.text(what)?;
    if name.is_empty() || name.len() > LONGEST_NAME {
        let value = format!("{} bytes long", name.len());
        return Err(GgufError::value(what, value, format!("1 to {LONGEST_NAME} bytes")));
    }
    Ok(name)
}

fn tensor(cursor: &mut Cursor<'_>, name: &str) -> Result<Tensor, GgufError> {
    let dimensions = cursor.u32(name)?;
    if !(1..=4).contains(&dimensions) {
        return Err(GgufError::value(name, format!("of {dimensions} dimensions"), "1 to 4"));
    }
    let mut shape = Vec::new();
    for _ in 0..dimensions {
        shape.push(cursor.u64(name)?);
    }
    shape.reverse();
    let number = cursor.u32(name)?;
    let offset = cursor.u64(name)?;
    let kind = Kind::from_number(number).ok_or_else(|| {
        GgufError::value(name, unsupported(number), format!("one of {}", Kind::names()))
    })?;
    let bad = || {
        let expected = format!("1 or more of each, rows of whole blocks of {}", kind.block());
        GgufError::value(name, format!("of shape {shape:?} in {}", kind.name()), expected)
    };
    let sizes: Result<Vec<usize>, _> = shape.iter().map(|&n| usize::try_from(n)).collect();
    let sizes = sizes.ok().filter(|sizes| !sizes.contains(&0)).ok_or_else(bad)?;
    let (columns, outer) = sizes.split_last().ok_or_else(bad)?;
    let rows = outer.iter().try_fold(1usize, |rows, &n| rows.checked_mul(n));
    let bytes = kind.row_bytes(*columns).and_then(|bytes| bytes.checked_mul(rows?));
    let bytes = bytes.filter(|&b| b <= isize::MAX as usize).ok_or_else(bad)?;
    let start = usize::try_from(offset).ok().filter(|&at| at <= isize::MAX as usize);
    let start = start.ok_or_else(|| {
        GgufError::value(format!("offset of {name}"), offset, "a place in the file")
    })?;
    Ok(Tensor { kind, shape: sizes, part: 0, start, bytes })
}
