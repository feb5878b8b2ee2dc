//! The bytes of a new GGUF file: metadata entries, the list of tensors, alignment.

use super::{GgufError, Kind};

const ALIGNMENT: usize = 32;

/// Metadata entries as bytes.
#[derive(Default)]
pub(super) struct Entries {
    bytes: Vec<u8>,
    count: u64,
}

impl Entries {
    fn key(&mut self, key: &str, kind: u32) {
        text(&mut self.bytes, key);
        self.bytes.extend(kind.to_le_bytes());
        self.count += 1;
    }

    pub(super) fn text(&mut self, key: &str, value: &str) {
        self.key(key, 8);
        text(&mut self.bytes, value);
    }

    pub(super) fn number(&mut self, key: &str, value: u32) {
        self.key(key, 4);
        self.bytes.extend(value.to_le_bytes());
    }

    pub(super) fn float(&mut self, key: &str, value: f64) {
        self.key(key, 6);
        self.bytes.extend((value as f32).to_le_bytes());
    }

    pub(super) fn boolean(&mut self, key: &str, value: bool) {
        self.key(key, 7);
        self.bytes.push(u8::from(value));
    }

    /// Begins an array. Its elements follow.
    pub(super) fn array(&mut self, key: &str, kind: u32, len: usize) {
        self.key(key, 9);
        self.bytes.extend(kind.to_le_bytes());
        self.bytes.extend((len as u64).to_le_bytes());
    }

    /// An element of an array of texts.
    pub(super) fn element(&mut self, value: &str) {
        text(&mut self.bytes, value);
    }

    /// Elements of an array of type 5.
    pub(super) fn elements(&mut self, values: &[i32]) {
        self.bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }
}

/// A tensor's entry in the header.
pub(super) struct Part<'a> {
    /// llama.cpp's name.
    pub(super) name: &'a str,
    /// `[rows, columns]` or `[columns]`.
    pub(super) shape: &'a [usize],
    pub(super) kind: Kind,
}

/// Everything before the tensors' bytes. The bytes follow in this order, each tensor with
/// its [`padding`].
pub(super) fn header(entries: &Entries, parts: &[Part<'_>]) -> Result<Vec<u8>, GgufError> {
    let mut header = b"GGUF".to_vec();
    header.extend(3u32.to_le_bytes());
    header.extend((parts.len() as u64).to_le_bytes());
    header.extend(entries.count.to_le_bytes());
    header.extend(&entries.bytes);
    let mut offset = 0usize;
    for part in parts {
        text(&mut header, part.name);
        header.extend((part.shape.len() as u32).to_le_bytes());
        for &n in part.shape.iter().rev() {
            header.extend((n as u64).to_le_bytes());
        }
        header.extend(part.kind.number().to_le_bytes());
        header.extend((offset as u64).to_le_bytes());
        let (rows, columns) = matrix(part.shape);
        let row = part.kind.row_bytes(columns).ok_or_else(|| {
            let expected = format!("a multiple of {} for {}", part.kind.block(), part.kind.name());
            GgufError::value(format!("width of {}", part.name), columns, expected)
        })?;
        offset += (rows * row).next_multiple_of(ALIGNMENT);
    }
    header.resize(header.len().next_multiple_of(ALIGNMENT), 0);
    Ok(header)
}

/// The padding after a tensor of `written` bytes.
pub(super) fn padding(written: usize) -> &'static [u8] {
    const ZEROS: &[u8] = &[0; ALIGNMENT];
    &ZEROS[..written.next_multiple_of(ALIGNMENT) - written]
}

/// Rows and columns; a vector is one row.
pub(super) fn matrix(shape: &[usize]) -> (usize, usize) {
    (shape.iter().rev().skip(1).product(), shape.last().copied().unwrap_or(0))
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}
