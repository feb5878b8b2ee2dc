//! The page of `tokenroute run --watch`.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;
use tokenroute_core::Progress;
use tokenroute_lab::Watch;
use tokenroute_server::watch;

use crate::output;

/// How long the page can still be read after a run that somebody follows: longer than the page
/// waits between two requests.
const LAST: Duration = Duration::from_secs(3);

/// Runs `work` on the experiment at `path`, and serves the page meanwhile.
pub fn follow(
    address: SocketAddr,
    path: &Path,
    progress: &dyn Progress,
    work: impl FnOnce(&dyn Progress) -> Result<()>,
) -> Result<()> {
    ensure!(
        address.ip().is_loopback(),
        "--watch={address}: the page has no key, so it is served on this machine alone; give an address such as 127.0.0.1:8435"
    );
    let run = path.parent().unwrap_or(Path::new("")).join("run");
    let followed = Arc::new(Watch::new(run));
    let asked = Arc::clone(&followed);
    let state = move || serde_json::to_value(asked.state()).unwrap_or(Value::Null);
    let server = watch::start(address, Arc::new(state))?;
    output::line(&format!("run at http://{}", server.address()))?;
    let result = work(&followed.progress(progress));
    let how = match &result {
        Ok(()) => "finished".to_owned(),
        Err(error) => format!("failed: {}", output::causes(error)),
    };
    followed.end(&how);
    if followed.is_followed(LAST) {
        thread::sleep(LAST);
    }
    server.stop()?;
    result
}
