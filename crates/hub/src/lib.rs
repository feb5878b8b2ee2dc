//! Fetches models and data sets from the Hugging Face Hub: turns `hf:` references into
//! local paths. Uses the same cache as Hugging Face's own tools.
//!
//! Only this crate fetches files over the network. Everything else takes a local path and
//! builds without it.
//!
//! Key types:
//! - [`HubReference`]: `hf:owner/name[@revision][:file]`, `hf:datasets/...`.
//! - [`Settings`]: endpoint, cache, token, offline mode and timeout.
//! - [`fetch`]: turns a reference into a path.
//! - [`local`]: the same for a path or a reference.
//! - [`router`]: the same for a router's file, its folder or a reference.
//!
//! Usage:
//! ```no_run
//! use tokenroute_core::Silent;
//! use tokenroute_hub::{Settings, fetch};
//!
//! # fn main() -> Result<(), tokenroute_hub::HubError> {
//! // 1. HF_HOME, HF_HUB_CACHE, HF_TOKEN, HF_HUB_OFFLINE, HF_ENDPOINT,
//! //    HF_HUB_DOWNLOAD_TIMEOUT.
//! let settings = Settings::from_env();
//! // 2. The path of a model's directory, or of one file.
//! let folder = fetch(&"hf:Qwen/Qwen2.5-0.5B-Instruct".parse()?, &settings, &Silent)?;
//! # Ok(())
//! # }
//! ```

mod download;
mod error;
mod fetch;
mod locate;
mod reference;
mod request;
mod settings;
mod timeout;

pub use error::HubError;
pub use fetch::fetch;
pub use locate::{ROUTER_FILE, fetched, local, reference, router};
pub use reference::{HubReference, PREFIX, RepoKind};
pub use settings::{AccessToken, Settings};
