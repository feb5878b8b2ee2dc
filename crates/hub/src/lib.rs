//! Models and data sets from the Hugging Face Hub: `hf:` references to local paths,
//! through the cache that Hugging Face's own tools use.
//!
//! A crate of its own because it is the only thing that fetches files over the
//! network: everything else takes a local path and builds without it.
//!
//! Key types:
//! - [`Reference`]: `hf:owner/name[@revision][:file]`, `hf:datasets/...`.
//! - [`Settings`]: endpoint, cache, token and whether to stay offline.
//! - [`fetch`]: from a reference to a path.
//! - [`local`]: from a path or a reference, as a user names a model, to a path.
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
//! // 2. A directory for a model, a file for a file.
//! let folder = fetch(&"hf:Qwen/Qwen2.5-0.5B-Instruct".parse()?, &settings, &Silent)?;
//! # Ok(())
//! # }
//! ```

mod error;
mod fetch;
mod locate;
mod patience;
mod reference;
mod settings;

pub use error::HubError;
pub use fetch::fetch;
pub use locate::{fetched, local, reference};
pub use reference::{Kind, PREFIX, Reference};
pub use settings::{Settings, Token};
