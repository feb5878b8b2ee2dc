//! Reads whole columns of one type without nulls, as our own tables have them.

use super::allowance::Allowance;
use super::column::{Column, VALUE};
use super::footer::{Footer, LeafColumn, Meaning, Node, Physical, RowGroup};
use super::value::Scalar;

/// A column with one value, or one list of `width` values, for each row.
pub(crate) struct TypedColumn {
    pub(crate) cells: Cells,
    /// Values of a list. A column of lists without rows has width 0.
    pub(crate) width: Option<usize>,
}

/// The values of a column.
pub(crate) enum Cells {
    Bool(Vec<bool>),
    U32(Vec<u32>),
    U64(Vec<u64>),
    F32(Vec<f32>),
    F64(Vec<f64>),
    Text(Vec<String>),
}

/// The named columns of a file, in the order of the names. All have the same number of rows.
pub(crate) fn columns(file: &[u8], names: &[&str]) -> Result<Vec<TypedColumn>, String> {
    let footer = Footer::read(file)?;
    let mut allowance = Allowance::new(file.len());
    let read = |name: &&str| {
        let found = footer.root.children.iter().find(|node| node.name == *name);
        let node = found.ok_or_else(|| format!("it has no column `{name}`"))?;
        column(file, &footer, node, &mut allowance)
    };
    names.iter().map(read).collect()
}

/// Whether a file has a column of this name.
pub(crate) fn has_column(file: &[u8], name: &str) -> Result<bool, String> {
    Ok(Footer::read(file)?.root.children.iter().any(|node| node.name == name))
}

fn column(
    file: &[u8],
    footer: &Footer,
    node: &Node,
    allowance: &mut Allowance,
) -> Result<TypedColumn, String> {
    let place = node.leaves.start;
    let leaf = &footer.leaves[place];
    let cells = Cells::of(leaf).filter(|_| node.leaves.len() == 1 && leaf.repeat <= 1);
    let cells = cells
        .ok_or_else(|| format!("column `{}` has a type that these tables do not use", node.name))?;
    let mut typed = TypedColumn { cells, width: None };
    for group in &footer.groups {
        typed.extend(&mut Column::new(file, leaf, &group.chunks[place]), group, allowance)?;
    }
    if leaf.repeat == 0 {
        typed.width = None;
    } else {
        typed.width.get_or_insert(0);
    }
    Ok(typed)
}

impl TypedColumn {
    /// Reads the values of a row group.
    fn extend(
        &mut self,
        column: &mut Column<'_>,
        group: &RowGroup,
        allowance: &mut Allowance,
    ) -> Result<(), String> {
        let (mut rows, mut items) = (0, 0);
        while let Some(levels) = column.peek(allowance)? {
            if levels.repeat == 0 {
                self.row_ends(rows, items).map_err(|what| column.error(&what))?;
                (rows, items) = (rows + 1, 0);
            }
            items += 1;
            let value = column.take(allowance)?;
            let value = value.ok_or_else(|| column.error("it has nulls"))?;
            self.cells.push(value, allowance).map_err(|what| column.error(&what))?;
        }
        self.row_ends(rows, items).map_err(|what| column.error(&what))?;
        if rows != group.rows {
            let expected = group.rows;
            return Err(column.error(&format!("it has {rows} rows of a group of {expected}")));
        }
        Ok(())
    }

    /// Checks that a row has as many values as those before. There is none before the first.
    fn row_ends(&mut self, rows: usize, items: usize) -> Result<(), String> {
        match (rows, items) {
            (0, 0) => Ok(()),
            (0, _) => Err("its first row begins within a list".into()),
            _ => match *self.width.get_or_insert(items) {
                width if width == items => Ok(()),
                width => Err(format!("it has lists of {width} and of {items} values")),
            },
        }
    }
}

impl Cells {
    /// No values yet, of a column's type.
    fn of(leaf: &LeafColumn) -> Option<Self> {
        match (leaf.physical, leaf.meaning) {
            (Physical::Boolean, Meaning::Plain) => Some(Cells::Bool(Vec::new())),
            (Physical::Int32, Meaning::Unsigned) => Some(Cells::U32(Vec::new())),
            (Physical::Int64, Meaning::Unsigned) => Some(Cells::U64(Vec::new())),
            (Physical::Float, Meaning::Plain) => Some(Cells::F32(Vec::new())),
            (Physical::Double, Meaning::Plain) => Some(Cells::F64(Vec::new())),
            (Physical::Bytes, Meaning::Text) => Some(Cells::Text(Vec::new())),
            _ => None,
        }
    }

    /// Adds a value. The column has counted its entry, which pays for a number.
    fn push(&mut self, value: Scalar, allowance: &mut Allowance) -> Result<(), String> {
        match (self, value) {
            (Cells::Bool(cells), Scalar::Bool(value)) => cells.push(value),
            (Cells::U32(cells), Scalar::Unsigned(value)) => {
                cells.push(u32::try_from(value).map_err(|_| format!("{value} is above 2^32"))?);
            }
            (Cells::U64(cells), Scalar::Unsigned(value)) => cells.push(value),
            (Cells::F32(cells), Scalar::Single(value)) => cells.push(value),
            (Cells::F64(cells), Scalar::Double(value)) => cells.push(value),
            (Cells::Text(cells), Scalar::Text(value)) => {
                allowance.spend(VALUE)?;
                cells.push(value);
            }
            _ => return Err("its values have several types".into()),
        }
        Ok(())
    }
}
