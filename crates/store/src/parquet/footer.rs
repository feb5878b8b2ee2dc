//! Reads a Parquet file's footer: its columns and the places of their pages.

use std::ops::Range;
use std::rc::Rc;

use super::thrift::{Thrift, WireType};

/// Most levels of nested groups. A list takes two.
const DEEPEST: usize = 24;
/// Most fields, fields of groups included.
const MOST_FIELDS: usize = 10_000;
const MAGIC: &[u8] = b"PAR1";

/// The parts of a footer that reading rows needs.
pub(super) struct Footer {
    /// The columns of a row, as a group.
    pub(super) root: Node,
    pub(super) leaves: Vec<LeafColumn>,
    pub(super) groups: Vec<RowGroup>,
}

/// A field of a row, or of a group within it.
pub(super) struct Node {
    pub(super) name: String,
    pub(super) repetition: Repetition,
    /// Definition and repetition level of its values.
    pub(super) definition: u32,
    pub(super) repeat: u32,
    /// The leaves below it. Never empty.
    pub(super) leaves: Range<usize>,
    /// Empty for a leaf.
    pub(super) children: Vec<Node>,
    /// Whether its one child holds the items of a list.
    pub(super) list: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repetition {
    Required,
    Optional,
    Repeated,
}

/// A column of values.
pub(super) struct LeafColumn {
    /// The top-level field that it belongs to.
    pub(super) column: Rc<str>,
    pub(super) physical: Physical,
    pub(super) meaning: Meaning,
    pub(super) definition: u32,
    pub(super) repeat: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Physical {
    Boolean,
    Int32,
    Int64,
    Float,
    Double,
    Bytes,
    /// Values of this many bytes.
    Fixed(usize),
}

/// The logical type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The same as the physical type.
    Plain,
    Unsigned,
    Text,
    /// Dates, decimals and other types that questions do not use.
    Other,
}

pub(super) struct RowGroup {
    pub(super) rows: usize,
    pub(super) chunks: Vec<ColumnChunk>,
}

/// The pages of one column in a row group.
#[derive(Default)]
pub(super) struct ColumnChunk {
    pub(super) range: Range<usize>,
    pub(super) codec: i64,
    /// Number of entries, nulls and empty lists included.
    pub(super) entries: usize,
}

/// One entry of the flattened schema.
#[derive(Default)]
struct Element {
    name: String,
    physical: Option<i64>,
    length: usize,
    repetition: i64,
    children: usize,
    converted: Option<i64>,
    logical: Option<i64>,
}

impl Footer {
    pub(super) fn read(file: &[u8]) -> Result<Self, String> {
        let end = file.len().checked_sub(8).ok_or("it is too short for Parquet")?;
        let (before, tail) = file.split_at(end);
        let (length, magic) = tail.split_at(4);
        if magic != MAGIC {
            return Err("its last bytes are not `PAR1`; it is damaged or cut short".into());
        }
        let length = length.iter().rev().fold(0_usize, |sum, &byte| sum << 8 | usize::from(byte));
        let start = end.checked_sub(length).ok_or("its footer is longer than the file")?;
        let mut thrift = Thrift::new(&before[start..]);
        let (mut elements, mut groups, mut rows) = (Vec::new(), Vec::new(), 0);
        thrift.fields(|t, id, kind| match id {
            2 => t.list(kind, |t, kind| match elements.len() {
                MOST_FIELDS => Err(format!("it has more than {MOST_FIELDS} fields")),
                _ => element(t, kind).map(|item| elements.push(item)),
            }),
            3 => t.size(kind).map(|value| rows = value),
            4 => t.list(kind, |t, kind| row_group(t, kind, start).map(|item| groups.push(item))),
            _ => t.skip(kind),
        })?;
        let mut leaves = Vec::new();
        let mut elements = elements.into_iter();
        let above = Above { column: "".into(), definition: 0, repeat: 0, depth: 0 };
        let root = node(&mut elements, &mut leaves, &above)?;
        if elements.next().is_some() || root.children.is_empty() {
            return Err("its schema is not a single group of columns".into());
        }
        if let Some(group) = groups.iter().find(|g: &&RowGroup| g.chunks.len() != leaves.len()) {
            let (found, expected) = (group.chunks.len(), leaves.len());
            return Err(format!("a row group has {found} columns; its schema has {expected}"));
        }
        let sum = groups.iter().fold(0_usize, |sum, group| sum.saturating_add(group.rows));
        if sum != rows {
            return Err(format!("its row groups have {sum} rows; expected {rows}"));
        }
        Ok(Footer { root, leaves, groups })
    }
}

fn element(t: &mut Thrift<'_>, kind: WireType) -> Result<Element, String> {
    t.structure(kind)?;
    let mut found = Element::default();
    t.fields(|t, id, kind| match id {
        1 => t.integer(kind).map(|value| found.physical = Some(value)),
        2 => t.size(kind).map(|value| found.length = value),
        3 => t.integer(kind).map(|value| found.repetition = value),
        4 => t.binary(kind).map(|name| found.name = String::from_utf8_lossy(name).into_owned()),
        5 => t.size(kind).map(|value| found.children = value),
        6 => t.integer(kind).map(|value| found.converted = Some(value)),
        10 => {
            t.structure(kind)?;
            t.fields(|t, id, kind| {
                found.logical = Some(id);
                t.skip(kind)
            })
        }
        _ => t.skip(kind),
    })?;
    Ok(found)
}

/// The levels and depth of the group around a node.
struct Above {
    column: Rc<str>,
    definition: u32,
    repeat: u32,
    depth: usize,
}

fn node(
    elements: &mut impl Iterator<Item = Element>,
    leaves: &mut Vec<LeafColumn>,
    above: &Above,
) -> Result<Node, String> {
    let element = elements.next().ok_or("its schema ends too early")?;
    if above.depth > DEEPEST {
        return Err(format!("its columns nest deeper than {DEEPEST} levels"));
    }
    let column = match above.depth {
        1 => element.name.as_str().into(),
        _ => Rc::clone(&above.column),
    };
    let repetition = match element.repetition {
        // The root's repetition is ignored.
        _ if above.depth == 0 => Repetition::Required,
        0 => Repetition::Required,
        1 => Repetition::Optional,
        2 => Repetition::Repeated,
        other => return Err(format!("column `{column}` has repetition {other}; expected 0 to 2")),
    };
    let definition = above.definition + u32::from(repetition != Repetition::Required);
    let repeat = above.repeat + u32::from(repetition == Repetition::Repeated);
    let first = leaves.len();
    let mut children = Vec::new();
    if element.children == 0 {
        let (physical, meaning) = (physical(&element, &column)?, meaning(&element));
        leaves.push(LeafColumn { column, physical, meaning, definition, repeat });
    } else {
        let inner = Above { column, definition, repeat, depth: above.depth + 1 };
        for _ in 0..element.children {
            children.push(node(elements, leaves, &inner)?);
        }
    }
    let list = (element.converted == Some(3) || element.logical == Some(3))
        && matches!(&children[..], [items] if items.repetition == Repetition::Repeated);
    let leaves = first..leaves.len();
    Ok(Node { name: element.name, repetition, definition, repeat, leaves, children, list })
}

fn physical(element: &Element, column: &str) -> Result<Physical, String> {
    match element.physical {
        Some(0) => Ok(Physical::Boolean),
        Some(1) => Ok(Physical::Int32),
        Some(2) => Ok(Physical::Int64),
        Some(3) => Ok(Physical::Fixed(12)),
        Some(4) => Ok(Physical::Float),
        Some(5) => Ok(Physical::Double),
        Some(6) => Ok(Physical::Bytes),
        Some(7) => Ok(Physical::Fixed(element.length)),
        other => Err(format!("column `{column}` has type {other:?}; expected 0 to 7")),
    }
}

fn meaning(element: &Element) -> Meaning {
    match (element.logical, element.converted) {
        // 96-bit timestamps.
        _ if element.physical == Some(3) => Meaning::Other,
        // String, enumeration, JSON.
        (Some(1 | 4 | 12), _) | (None, Some(0 | 4 | 19)) => Meaning::Text,
        // Unsigned integers. Only the older annotation encodes the sign in one number.
        (_, Some(11..=14)) => Meaning::Unsigned,
        (None | Some(10 | 11), None | Some(15..=18)) => Meaning::Plain,
        _ => Meaning::Other,
    }
}

fn row_group(t: &mut Thrift<'_>, kind: WireType, end: usize) -> Result<RowGroup, String> {
    t.structure(kind)?;
    let mut group = RowGroup { rows: 0, chunks: Vec::new() };
    t.fields(|t, id, kind| match id {
        1 => t.list(kind, |t, kind| chunk(t, kind, end).map(|item| group.chunks.push(item))),
        3 => t.size(kind).map(|value| group.rows = value),
        _ => t.skip(kind),
    })?;
    Ok(group)
}

/// Reads the entry of one column. Its pages must end before `end`, the footer's start.
fn chunk(t: &mut Thrift<'_>, kind: WireType, end: usize) -> Result<ColumnChunk, String> {
    t.structure(kind)?;
    let mut chunk = ColumnChunk::default();
    let (mut pages, mut dictionary, mut length) = (None, None, 0);
    t.fields(|t, id, kind| match id {
        1 => Err("its columns are in other files; expected one whole file".into()),
        3 => {
            t.structure(kind)?;
            t.fields(|t, id, kind| match id {
                4 => t.integer(kind).map(|value| chunk.codec = value),
                5 => t.size(kind).map(|value| chunk.entries = value),
                7 => t.size(kind).map(|value| length = value),
                9 => t.size(kind).map(|value| pages = Some(value)),
                11 => t.size(kind).map(|value| dictionary = Some(value)),
                _ => t.skip(kind),
            })
        }
        _ => t.skip(kind),
    })?;
    let pages = pages.ok_or("a column does not say where its pages are")?;
    // Some writers give 0 if there is no dictionary.
    let start = dictionary.filter(|&at| at > 0).map_or(pages, |at| at.min(pages));
    let stop = start.checked_add(length).filter(|&stop| stop <= end);
    let stop = stop.ok_or_else(|| {
        format!("a column's pages take {length} bytes from byte {start}, but the footer begins at byte {end}")
    })?;
    chunk.range = start..stop;
    Ok(chunk)
}
