//! Our own tables as Parquet. polars writes them; [`parquet`] reads them. The only module that
//! calls polars.

use std::path::{Path, PathBuf};

use polars::prelude::*;

use crate::parquet::{self, Cells, TypedColumn};
use crate::{StoreError, atomic};

/// Encodes columns of `height` rows as Parquet with Zstandard. Equal columns give equal
/// bytes.
pub(crate) fn encode(
    kind: &'static str,
    height: usize,
    columns: Vec<Column>,
) -> Result<Vec<u8>, StoreError> {
    let failed = |e: PolarsError| StoreError::Encode { kind, what: e.to_string() };
    let mut frame = DataFrame::new(height, columns).map_err(failed)?;
    let mut bytes = Vec::new();
    ParquetWriter::new(&mut bytes)
        .with_compression(ParquetCompression::Zstd(None))
        .finish(&mut frame)
        .map_err(failed)?;
    Ok(bytes)
}

/// A fixed-size list column from `[rows, width]` values.
pub(crate) fn array_column<T>(
    kind: &'static str,
    name: &str,
    rows: &[&[T::Native]],
) -> Result<Column, StoreError>
where
    T: PolarsNumericType,
{
    let failed = |what: String| StoreError::Encode { kind, what };
    let width = rows.first().map_or(0, |r| r.len());
    if width == 0 || rows.iter().any(|r| r.len() != width) {
        return Err(failed(format!("`{name}` needs the same width, at least 1, in every row")));
    }
    let dtype = T::get_static_dtype();
    let mut builder = ListPrimitiveChunkedBuilder::<T>::new(
        name.into(),
        rows.len(),
        rows.len() * width,
        dtype.clone(),
    );
    rows.iter().for_each(|row| builder.append_slice(row));
    let lists = builder.finish().into_series();
    let arrays =
        lists.cast(&DataType::Array(Box::new(dtype), width)).map_err(|e| failed(e.to_string()))?;
    Ok(arrays.into_column())
}

/// Columns of a Parquet file in memory.
pub(crate) struct Table {
    /// By name.
    columns: Vec<(String, TypedColumn)>,
    path: PathBuf,
    kind: &'static str,
}

impl Table {
    /// Reads the named columns of a file.
    pub(crate) fn read(
        path: &Path,
        kind: &'static str,
        columns: &[&str],
    ) -> Result<Self, StoreError> {
        Table::parse(path, &atomic::read(path)?, kind, columns)
    }

    /// Reads the named columns of a file's bytes.
    pub(crate) fn parse(
        path: &Path,
        bytes: &[u8],
        kind: &'static str,
        columns: &[&str],
    ) -> Result<Self, StoreError> {
        let read = parquet::columns(bytes, columns);
        let read = read.map_err(|what| StoreError::Format { path: path.to_owned(), kind, what })?;
        let columns = columns.iter().map(|&name| name.to_owned()).zip(read).collect();
        Ok(Table { columns, path: path.to_owned(), kind })
    }

    /// As [`Table::parse`], with a column that the file may lack.
    pub(crate) fn parse_with(
        path: &Path,
        bytes: &[u8],
        kind: &'static str,
        columns: &[&str],
        optional: &str,
    ) -> Result<Self, StoreError> {
        let there = parquet::has_column(bytes, optional).map_err(|what| StoreError::Format {
            path: path.to_owned(),
            kind,
            what,
        })?;
        let optional = there.then_some(optional);
        let columns: Vec<&str> = columns.iter().copied().chain(optional).collect();
        Table::parse(path, bytes, kind, &columns)
    }

    /// Whether a column was read.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.columns.iter().any(|(known, _)| known == name)
    }

    /// An error about this file.
    pub(crate) fn error(&self, what: String) -> StoreError {
        StoreError::Format { path: self.path.clone(), kind: self.kind, what }
    }

    fn column(&self, name: &str) -> Result<&TypedColumn, StoreError> {
        let found = self.columns.iter().find(|(known, _)| known == name);
        let (_, column) = found.ok_or_else(|| self.error(format!("it has no column `{name}`")))?;
        Ok(column)
    }

    fn mistyped(&self, name: &str, expected: &str) -> StoreError {
        self.error(format!("column `{name}` has another type; expected {expected}"))
    }

    /// The values of a column without lists.
    fn cells(&self, name: &str) -> Result<&Cells, StoreError> {
        let column = self.column(name)?;
        match column.width {
            None => Ok(&column.cells),
            Some(_) => Err(self.mistyped(name, "one value a row")),
        }
    }

    /// The values of a column of lists, and the width of these.
    fn lists(&self, name: &str) -> Result<(&Cells, usize), StoreError> {
        let column = self.column(name)?;
        let width = column.width.ok_or_else(|| self.mistyped(name, "lists"))?;
        Ok((&column.cells, width))
    }

    /// The values of a column without lists, of one type.
    fn of<T>(
        &self,
        name: &str,
        expected: &str,
        pick: impl FnOnce(&Cells) -> Option<&Vec<T>>,
    ) -> Result<&[T], StoreError> {
        let values = pick(self.cells(name)?).ok_or_else(|| self.mistyped(name, expected))?;
        Ok(values)
    }

    /// A column of strings.
    pub(crate) fn strings(&self, name: &str) -> Result<&[String], StoreError> {
        self.of(name, "texts", |cells| if let Cells::Text(of) = cells { Some(of) } else { None })
    }

    /// A column of booleans.
    pub(crate) fn bools(&self, name: &str) -> Result<&[bool], StoreError> {
        self.of(name, "booleans", |cells| if let Cells::Bool(of) = cells { Some(of) } else { None })
    }

    /// A column of 32-bit unsigned numbers.
    pub(crate) fn u32s(&self, name: &str) -> Result<&[u32], StoreError> {
        self.of(name, "u32", |cells| if let Cells::U32(of) = cells { Some(of) } else { None })
    }

    /// A column of 64-bit unsigned numbers.
    pub(crate) fn u64s(&self, name: &str) -> Result<&[u64], StoreError> {
        self.of(name, "u64", |cells| if let Cells::U64(of) = cells { Some(of) } else { None })
    }

    /// A column of 32-bit floats.
    pub(crate) fn f32s(&self, name: &str) -> Result<&[f32], StoreError> {
        self.of(name, "f32", |cells| if let Cells::F32(of) = cells { Some(of) } else { None })
    }

    /// A column of floats of 64 bits, or of 32 bits, which are widened.
    pub(crate) fn widened(&self, name: &str) -> Result<Vec<f64>, StoreError> {
        match self.cells(name)? {
            Cells::F32(values) => Ok(values.iter().map(|&value| value.into()).collect()),
            Cells::F64(values) => Ok(values.clone()),
            _ => Err(self.mistyped(name, "f64 or f32")),
        }
    }

    /// A fixed-size list column of floats: its values `[rows, width]` and its width.
    pub(crate) fn f32_arrays(&self, name: &str) -> Result<(&[f32], usize), StoreError> {
        match self.lists(name)? {
            (Cells::F32(values), width) => Ok((values, width)),
            _ => Err(self.mistyped(name, "lists of f32")),
        }
    }

    /// A fixed-size list column of whole numbers: its values `[rows, width]` and its width.
    pub(crate) fn u32_arrays(&self, name: &str) -> Result<(&[u32], usize), StoreError> {
        match self.lists(name)? {
            (Cells::U32(values), width) => Ok((values, width)),
            _ => Err(self.mistyped(name, "lists of u32")),
        }
    }
}
