//! Reads and writes columns as Parquet. The only module that calls polars.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use polars::prelude::*;

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

/// A Parquet file in memory.
pub(crate) struct Table {
    frame: DataFrame,
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
        Table::parse(path, atomic::read(path)?, kind, columns)
    }

    /// Reads the named columns of a file's bytes.
    pub(crate) fn parse(
        path: &Path,
        bytes: Vec<u8>,
        kind: &'static str,
        columns: &[&str],
    ) -> Result<Self, StoreError> {
        let columns = columns.iter().map(|&c| c.to_owned()).collect();
        let read = || ParquetReader::new(Cursor::new(bytes)).with_columns(Some(columns)).finish();
        let bad = |what| StoreError::Format { path: path.to_owned(), kind, what };
        // polars panics at some damaged files.
        let frame = catch_unwind(AssertUnwindSafe(read))
            .map_err(|_| bad("its pages contradict one another".to_owned()))?
            .map_err(|error| bad(error.to_string()))?;
        Ok(Table { frame, path: path.to_owned(), kind })
    }

    /// An error about this file.
    pub(crate) fn error(&self, what: String) -> StoreError {
        StoreError::Format { path: self.path.clone(), kind: self.kind, what }
    }

    fn column(&self, name: &str) -> Result<&Column, StoreError> {
        let column = self.frame.column(name).map_err(|e| self.error(e.to_string()))?;
        if column.null_count() > 0 {
            return Err(self.error(format!("column `{name}` has {} nulls", column.null_count())));
        }
        Ok(column)
    }

    /// A column of strings.
    pub(crate) fn strings(&self, name: &str) -> Result<Vec<String>, StoreError> {
        let values = self.column(name)?.str().map_err(|e| self.error(e.to_string()))?;
        Ok(values.no_null_iter().map(str::to_owned).collect())
    }

    /// A column of booleans.
    pub(crate) fn bools(&self, name: &str) -> Result<Vec<bool>, StoreError> {
        let values = self.column(name)?.bool().map_err(|e| self.error(e.to_string()))?;
        Ok(values.no_null_iter().collect())
    }

    /// A column of 32-bit unsigned numbers.
    pub(crate) fn u32s(&self, name: &str) -> Result<Vec<u32>, StoreError> {
        let values = self.column(name)?.u32().map_err(|e| self.error(e.to_string()))?;
        Ok(values.no_null_iter().collect())
    }

    /// A column of 64-bit unsigned numbers.
    pub(crate) fn u64s(&self, name: &str) -> Result<Vec<u64>, StoreError> {
        let values = self.column(name)?.u64().map_err(|e| self.error(e.to_string()))?;
        Ok(values.no_null_iter().collect())
    }

    /// A column of 32-bit floats.
    pub(crate) fn f32s(&self, name: &str) -> Result<Vec<f32>, StoreError> {
        let values = self.column(name)?.f32().map_err(|e| self.error(e.to_string()))?;
        Ok(values.no_null_iter().collect())
    }

    /// A column of floats of 64 bits, or of 32 bits, which are widened.
    pub(crate) fn widened(&self, name: &str) -> Result<Vec<f64>, StoreError> {
        if self.column(name)?.dtype() == &DataType::Float32 {
            return Ok(self.f32s(name)?.into_iter().map(f64::from).collect());
        }
        let values = self.column(name)?.f64().map_err(|e| self.error(e.to_string()))?;
        Ok(values.no_null_iter().collect())
    }

    /// A fixed-size list column of floats: its values `[rows, width]` and its width.
    pub(crate) fn f32_arrays(&self, name: &str) -> Result<(Vec<f32>, usize), StoreError> {
        let (inner, width) = self.arrays(name)?;
        let values = inner.f32().map_err(|e| self.error(e.to_string()))?;
        Ok((values.no_null_iter().collect(), width))
    }

    /// A fixed-size list column of whole numbers: its values `[rows, width]` and its width.
    pub(crate) fn u32_arrays(&self, name: &str) -> Result<(Vec<u32>, usize), StoreError> {
        let (inner, width) = self.arrays(name)?;
        let values = inner.u32().map_err(|e| self.error(e.to_string()))?;
        Ok((values.no_null_iter().collect(), width))
    }

    fn arrays(&self, name: &str) -> Result<(Series, usize), StoreError> {
        let arrays = self.column(name)?.array().map_err(|e| self.error(e.to_string()))?;
        let inner = arrays.get_inner();
        if inner.null_count() > 0 || inner.len() != arrays.len() * arrays.width() {
            return Err(self.error(format!("column `{name}` has lists with missing values")));
        }
        Ok((inner, arrays.width()))
    }
}
