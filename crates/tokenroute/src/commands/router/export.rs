//! `tokenroute router export`: a router file as an ONNX model.

use std::io::Write;

use anyhow::Result;
use tokenroute_core::Progress;
use tokenroute_store::RouterFile;

use crate::args::RouterExport;
use crate::output;

/// Writes the model, and prints what its input is.
pub fn run(args: &RouterExport, progress: &dyn Progress) -> Result<()> {
    let router = RouterFile::read(&tokenroute_hub::router(&args.router, progress)?)?;
    let bytes = router.to_onnx()?;
    output::whole_file(&args.onnx, |file| Ok(file.write_all(&bytes)?))?;
    let features = &router.header.features;
    output::line(&format!("features [rows, {}], f32:", features.width()))?;
    for place in features.places() {
        output::line(&format!("  {place}"))?;
    }
    output::line("logit [rows], f32; score [rows], f64: P(the small model's token may be kept)")
}
