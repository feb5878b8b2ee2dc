//! A model in several files, as `llama-gguf-split` writes them: `NAME-00001-of-00003.gguf` and
//! so on. The first file has the metadata, every file has some tensors.

use std::path::{Path, PathBuf};

use super::{Gguf, GgufError};

/// Keys of a part: their number, the part's own (from 0), the number of all tensors.
const COUNT: &str = "split.count";
const NUMBER: &str = "split.no";
const TENSORS: &str = "split.tensors.count";

/// Opens all parts of a model whose first part is open.
///
/// # Errors
/// A file that is not the first part or is not named like one; a part that is missing, damaged
/// or of another model.
pub(super) fn whole(path: &Path, mut first: Gguf) -> Result<Gguf, GgufError> {
    let count = count(&first)?;
    if count < 2 {
        return Ok(first);
    }
    let paths = paths(path, count);
    let number = number(&first)?;
    if number != 0 {
        let name = paths.first().and_then(|path| path.file_name()).unwrap_or_default();
        let first = match name.to_string_lossy() {
            name if name.is_empty() => "0, the first part".to_owned(),
            name => format!("0; name the first part, {name}, and all are loaded"),
        };
        return Err(GgufError::value(NUMBER, number, first));
    }
    if paths.is_empty() {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let expected = format!("a name that ends in {}", suffix(1, count));
        return Err(GgufError::value("name of the first part", name, expected));
    }
    for (expected, path) in paths.iter().enumerate().skip(1) {
        let part = Gguf::open_file(path)
            .and_then(|part| {
                of_part(&part, expected as u64, count)?;
                Ok(part)
            })
            .map_err(|error| in_part(path, error))?;
        first.join(part).map_err(|error| in_part(path, error))?;
    }
    let found = first.tensors().count() as u64;
    match first.get(TENSORS) {
        Some(stated) if stated.as_u64() != Some(found) => {
            Err(GgufError::value(TENSORS, stated, format!("{found}, those of all parts")))
        }
        _ => Ok(first),
    }
}

/// The files of a model, in order: one, or all parts if the file is the first of several.
///
/// # Errors
/// A file that cannot be read.
pub(crate) fn files(path: &Path) -> Result<Vec<PathBuf>, GgufError> {
    let parts = match parsed(path) {
        // Only a file that says so has parts beside it.
        Some((_, _, count)) if self::count(&Gguf::open_file(path)?)? == count => paths(path, count),
        _ => Vec::new(),
    };
    Ok(if parts.is_empty() { vec![path.to_owned()] } else { parts })
}

fn count(file: &Gguf) -> Result<u64, GgufError> {
    let Some(value) = file.get(COUNT) else { return Ok(1) };
    let count = value.as_u64().filter(|count| *count <= 99_999);
    count.ok_or_else(|| GgufError::value(COUNT, value, "1 to 99999 parts"))
}

fn number(file: &Gguf) -> Result<u64, GgufError> {
    let value = file.get(NUMBER).ok_or_else(|| GgufError::missing(NUMBER, "a part's number"))?;
    value.as_u64().ok_or_else(|| GgufError::value(NUMBER, value, "a part's number"))
}

/// Checks that a file is this part of a model in `count` parts.
fn of_part(file: &Gguf, expected: u64, count: u64) -> Result<(), GgufError> {
    let (found, all) = (number(file)?, self::count(file)?);
    if all != count {
        return Err(GgufError::value(COUNT, all, format!("{count}, as in the first part")));
    }
    if found != expected {
        return Err(GgufError::value(NUMBER, found, expected.to_string()));
    }
    Ok(())
}

/// The paths of `count` parts beside one of them. Empty if it is not named like a part.
fn paths(path: &Path, count: u64) -> Vec<PathBuf> {
    let Some((stem, _, named)) = parsed(path) else { return Vec::new() };
    let of = |number| path.with_file_name(format!("{stem}{}", suffix(number, count)));
    if named == count { (1..=count).map(of).collect() } else { Vec::new() }
}

/// `("model", 2, 3)` of `model-00002-of-00003.gguf`.
fn parsed(path: &Path) -> Option<(String, u64, u64)> {
    let name = path.file_name()?.to_str()?;
    let place = name.len().checked_sub(suffix(1, 1).len())?;
    let (stem, rest) = name.split_at_checked(place)?;
    let (number, count) = rest.strip_prefix('-')?.strip_suffix(".gguf")?.split_once("-of-")?;
    let (number, count) = (number.parse().ok()?, count.parse().ok()?);
    (suffix(number, count) == rest).then(|| (stem.to_owned(), number, count))
}

fn suffix(number: u64, count: u64) -> String {
    format!("-{number:05}-of-{count:05}.gguf")
}

fn in_part(path: &Path, error: GgufError) -> GgufError {
    match error {
        read @ GgufError::Read { .. } => read,
        source => GgufError::Part { path: path.to_owned(), source: Box::new(source) },
    }
}
