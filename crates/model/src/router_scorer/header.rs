//! The header of a router file: read and checked.

use std::path::Path;

use serde_json::Value;
use tokenroute_core::RouterHeader;

use crate::LoadError;
use crate::weights::WeightFile;

/// Reads and checks the header.
pub(super) fn header(path: &Path, file: &WeightFile) -> Result<RouterHeader, LoadError> {
    let bad = |message: String| LoadError::Router { path: path.to_owned(), message };
    let key = RouterHeader::METADATA_KEY;
    let text = file.metadata(key).ok_or_else(|| {
        bad(format!("no `{key}` in its metadata; expected a file written by `tokenroute train`"))
    })?;
    let json: Value = serde_json::from_str(text).map_err(|e| bad(format!("`{key}`: {e}")))?;
    let format = json.get("format").unwrap_or(&Value::Null);
    let (oldest, newest) = (RouterHeader::OLDEST, RouterHeader::FORMAT);
    if !format.as_u64().is_some_and(|f| (u64::from(oldest)..=u64::from(newest)).contains(&f)) {
        return Err(bad(format!(
            "router format {format}; this version reads formats {oldest} to {newest}"
        )));
    }
    let header: RouterHeader =
        serde_json::from_value(json).map_err(|e| bad(format!("`{key}`: {e}")))?;
    let header = header.widened();
    header.check().map_err(bad)?;
    let width = header.features.width();
    let normalisation = &header.normalisation;
    for (name, values) in [("mean", &normalisation.mean), ("scale", &normalisation.scale)] {
        if width == 0 || values.len() != width {
            let found = values.len();
            return Err(bad(format!(
                "normalisation.{name} has {found} values; expected {width}, one per feature"
            )));
        }
        if let Some(i) = values.iter().position(|v| !v.is_finite()) {
            return Err(bad(format!(
                "normalisation.{name}[{i}] is {}; expected a finite number",
                values[i]
            )));
        }
    }
    for (name, value) in [("scale", header.platt.scale), ("bias", header.platt.bias)] {
        if !value.is_finite() {
            return Err(bad(format!("platt.{name} is {value}; expected a finite number")));
        }
    }
    Ok(header)
}
