//! `--memory` of `serve` and `cloud`: a limit for the whole process.

use std::path::Path;

use anyhow::{Result, bail};
use tokenroute_core::Progress;
use tokenroute_hub::local;
use tokenroute_model::{Device, Format, KvType, least_memory, process_memory};
use tokenroute_server::net::{MemoryLimit, ONE_REQUEST};

/// Refuses a limit that is too small for these models' weights and one request, before they are
/// loaded. Returns the bytes of weights at least. The memory of a GPU does not count.
pub fn check(
    limit: Option<usize>,
    models: &[(&Path, Option<Format>, Device)],
    kv: KvType,
    progress: &dyn Progress,
) -> Result<usize> {
    let Some(total) = limit else { return Ok(0) };
    let (mut weights, mut all) = (0_usize, 0_usize);
    for (model, format, device) in models.iter().filter(|(.., device)| !device.is_gpu()) {
        let path = local(model, progress)?;
        let least = |positions| least_memory(&path, *format, kv, *device, positions);
        weights = weights.saturating_add(least(0)?);
        all = all.saturating_add(least(ONE_REQUEST)?);
    }
    if total < all {
        bail!(
            "--memory {total} is too small: weights take at least {weights} bytes, and a request of {ONE_REQUEST} tokens {} more; raise it to more than {all}",
            all - weights
        );
    }
    Ok(weights)
}

/// The limit, with what the process uses now. `weights` is a least value for that.
pub fn limit(total: Option<usize>, weights: usize) -> Option<MemoryLimit> {
    let used = process_memory::resident().and_then(|bytes| usize::try_from(bytes).ok());
    total.map(|total| MemoryLimit { total, loaded: used.unwrap_or(0).max(weights) })
}
