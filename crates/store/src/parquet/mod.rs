//! Reads Parquet files: the rows of any file as JSON objects ([`each_row`]), the columns of our
//! own tables with their types ([`columns`]).
//!
//! polars only writes. Every file is read here, because fast readers trust the sizes that a page
//! states: with one changed byte, polars asked for exabytes and the process died. This module
//! allocates only what the file's bytes can justify, and limits the unpacked size
//! ([`allowance`]).
//!
//! It reads PLAIN, dictionary, delta and byte-stream-split encodings, data pages of both
//! versions, and Snappy, gzip, Brotli, Zstandard, LZ4 (raw) or no compression. Anything else
//! is refused by name.

mod allowance;
mod brotli;
mod column;
mod delta;
mod footer;
mod hybrid;
mod page;
mod thrift;
#[cfg(feature = "tables")]
mod typed;
mod value;

use serde_json::{Map, Value};

use self::allowance::Allowance;
use self::column::{Column, VALUE};
use self::footer::{Footer, Node, Repetition, RowGroup};
#[cfg(feature = "tables")]
pub(crate) use self::typed::{Cells, TypedColumn, columns, has_column};

/// Calls `row` with the number (from 1) and the fields of each row. Stops at the first
/// error. `unreadable` turns an error of the file into an `E`.
pub(crate) fn each_row<E>(
    file: &[u8],
    unreadable: impl Fn(String) -> E,
    mut row: impl FnMut(usize, Map<String, Value>) -> Result<(), E>,
) -> Result<(), E> {
    let footer = Footer::read(file).map_err(&unreadable)?;
    let mut allowance = Allowance::new(file.len());
    let mut number = 0;
    for group in &footer.groups {
        let mut rows = Rows::new(file, &footer, group, &mut allowance);
        for _ in 0..group.rows {
            number += 1;
            let fields = rows.next(&footer.root).map_err(&unreadable)?;
            row(number, fields)?;
        }
        rows.end().map_err(&unreadable)?;
    }
    Ok(())
}

/// Assembles the rows of a row group from its columns (Dremel, Melnik et al. 2010).
struct Rows<'a, 'b> {
    columns: Vec<Column<'a>>,
    allowance: &'b mut Allowance,
}

impl<'a, 'b> Rows<'a, 'b> {
    fn new(
        file: &'a [u8],
        footer: &'a Footer,
        group: &RowGroup,
        allowance: &'b mut Allowance,
    ) -> Self {
        let columns = footer.leaves.iter().zip(&group.chunks);
        let columns = columns.map(|(leaf, chunk)| Column::new(file, leaf, chunk)).collect();
        Rows { columns, allowance }
    }

    fn next(&mut self, root: &Node) -> Result<Map<String, Value>, String> {
        for column in &mut self.columns {
            if column.peek(self.allowance)?.is_some_and(|levels| levels.repeat > 0) {
                return Err("its columns disagree about where a row begins".into());
            }
        }
        self.object(root)
    }

    /// Checks that no column has entries left.
    fn end(&mut self) -> Result<(), String> {
        for column in &mut self.columns {
            if column.peek(self.allowance)?.is_some() {
                return Err("a column has more entries than there are rows".into());
            }
        }
        Ok(())
    }

    fn object(&mut self, node: &Node) -> Result<Map<String, Value>, String> {
        let mut fields = Map::new();
        for child in &node.children {
            self.allowance.spend(VALUE + child.name.len())?;
            fields.insert(child.name.clone(), self.field(child)?);
        }
        Ok(fields)
    }

    fn field(&mut self, node: &Node) -> Result<Value, String> {
        match node.repetition {
            Repetition::Repeated => self.items(node, false),
            Repetition::Optional if self.lacks(node)? => Ok(Value::Null),
            _ => self.present(node, node.list),
        }
    }

    /// The value of a field that is not null.
    fn present(&mut self, node: &Node, list: bool) -> Result<Value, String> {
        match (&node.children[..], self.columns.get_mut(node.leaves.start)) {
            ([], Some(column)) => {
                self.allowance.spend(VALUE)?;
                Ok(column.take(self.allowance)?.map_or(Value::Null, Value::from))
            }
            ([items], _) if list => self.items(items, true),
            _ => self.object(node).map(Value::Object),
        }
    }

    /// The values of a repeated field. In a list each may be wrapped in a group with one
    /// field.
    fn items(&mut self, node: &Node, list: bool) -> Result<Value, String> {
        let mut items = Vec::new();
        if self.lacks(node)? {
            return Ok(items.into());
        }
        loop {
            items.push(match &node.children[..] {
                [item] if list => self.field(item)?,
                _ => self.present(node, false)?,
            });
            let first = &mut self.columns[node.leaves.start];
            match first.peek(self.allowance)? {
                Some(levels) if levels.repeat == node.repeat => {}
                Some(levels) if levels.repeat > node.repeat => {
                    return Err("its columns disagree about where a list ends".into());
                }
                _ => return Ok(items.into()),
            }
        }
    }

    /// Whether a field is null or an empty list. If so, its columns skip it.
    fn lacks(&mut self, node: &Node) -> Result<bool, String> {
        let first = &mut self.columns[node.leaves.start];
        let levels = first.peek(self.allowance)?;
        let lacks = levels.is_some_and(|levels| levels.definition < node.definition);
        if lacks {
            for column in &mut self.columns[node.leaves.clone()] {
                column.take(self.allowance)?;
            }
        }
        Ok(lacks)
    }
}

#[cfg(test)]
mod tests;
