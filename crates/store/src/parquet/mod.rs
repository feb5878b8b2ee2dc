//! Rows of a Parquet file that others wrote, as JSON objects.
//!
//! Polars writes and reads our own tables; other people's files are read here, because
//! readers made for speed believe what a page says of itself: one changed byte made one
//! of them ask for exabytes, which ends the process. Here nothing is reserved that the
//! file's bytes do not back, and what it unpacks to has a limit ([`budget`]).
//!
//! Read are PLAIN and dictionary encodings, data pages of both versions, without
//! compression or with Snappy, gzip or Zstandard: what pyarrow, Spark, DuckDB and polars
//! write by default. What else there is, is refused by name.

mod budget;
mod column;
mod footer;
mod hybrid;
mod page;
mod thrift;

use serde_json::{Map, Value};

use self::budget::Budget;
use self::column::{Column, VALUE};
use self::footer::{Footer, Node, Repetition, RowGroup};

/// Calls `row` with each row's number, counted from 1, and its fields; stops at the
/// first error, the file's own turned into an `E` by `unreadable`.
pub(crate) fn each_row<E>(
    file: &[u8],
    unreadable: impl Fn(String) -> E,
    mut row: impl FnMut(usize, Map<String, Value>) -> Result<(), E>,
) -> Result<(), E> {
    let footer = Footer::read(file).map_err(&unreadable)?;
    let mut budget = Budget::new(file.len());
    let mut number = 0;
    for group in &footer.groups {
        let mut rows = Rows::new(file, &footer, group, &mut budget);
        for _ in 0..group.rows {
            number += 1;
            let fields = rows.next(&footer.root).map_err(&unreadable)?;
            row(number, fields)?;
        }
        rows.end().map_err(&unreadable)?;
    }
    Ok(())
}

/// The rows of a row group: its columns put together again, as Dremel's paper describes.
struct Rows<'a, 'b> {
    columns: Vec<Column<'a>>,
    budget: &'b mut Budget,
}

impl<'a, 'b> Rows<'a, 'b> {
    fn new(file: &'a [u8], footer: &'a Footer, group: &RowGroup, budget: &'b mut Budget) -> Self {
        let columns = footer.leaves.iter().zip(&group.chunks);
        let columns = columns.map(|(leaf, chunk)| Column::new(file, leaf, chunk)).collect();
        Rows { columns, budget }
    }

    fn next(&mut self, root: &Node) -> Result<Map<String, Value>, String> {
        for column in &mut self.columns {
            if column.peek(self.budget)?.is_some_and(|levels| levels.repeat > 0) {
                return Err("its columns disagree about where a row begins".into());
            }
        }
        self.object(root)
    }

    /// The group holds nothing more.
    fn end(&mut self) -> Result<(), String> {
        for column in &mut self.columns {
            if column.peek(self.budget)?.is_some() {
                return Err("a column has more entries than there are rows".into());
            }
        }
        Ok(())
    }

    fn object(&mut self, node: &Node) -> Result<Map<String, Value>, String> {
        let mut fields = Map::new();
        for child in &node.children {
            self.budget.spend(VALUE + child.name.len())?;
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

    /// A field that is there.
    fn present(&mut self, node: &Node, list: bool) -> Result<Value, String> {
        match (&node.children[..], self.columns.get_mut(node.leaves.start)) {
            ([], Some(column)) => column.take(self.budget),
            ([items], _) if list => self.items(items, true),
            _ => self.object(node).map(Value::Object),
        }
    }

    /// The values of a repeated field. In a list they may be wrapped in a group of one.
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
            match first.peek(self.budget)? {
                Some(levels) if levels.repeat == node.repeat => {}
                Some(levels) if levels.repeat > node.repeat => {
                    return Err("its columns disagree about where a list ends".into());
                }
                _ => return Ok(items.into()),
            }
        }
    }

    /// Whether a field is null or an empty list; then its columns go past it.
    fn lacks(&mut self, node: &Node) -> Result<bool, String> {
        let first = &mut self.columns[node.leaves.start];
        let levels = first.peek(self.budget)?;
        let lacks = levels.is_some_and(|levels| levels.definition < node.definition);
        if lacks {
            for column in &mut self.columns[node.leaves.clone()] {
                column.take(self.budget)?;
            }
        }
        Ok(lacks)
    }
}
