//! One module per command, each with a `run` function.

pub mod bench;
#[cfg(feature = "lab")]
pub mod calibrate;
pub mod chat;
#[cfg(feature = "lab")]
pub mod check_sweep;
#[cfg(feature = "server")]
pub mod cloud;
#[cfg(feature = "lab")]
pub mod compare;
pub mod completions;
pub mod export;
pub mod generate;
#[cfg(feature = "lab")]
pub mod inspect;
#[cfg(feature = "lab")]
pub mod label;
#[cfg(all(feature = "lab", feature = "server"))]
pub mod latency;
pub mod man;
#[cfg(feature = "server")]
mod memory;
#[cfg(feature = "lab")]
pub mod metrics;
pub mod random_model;
#[cfg(feature = "lab")]
pub mod report;
#[cfg(feature = "lab")]
pub mod router;
#[cfg(feature = "lab")]
pub mod run;
#[cfg(feature = "server")]
pub mod serve;
pub mod step;
#[cfg(feature = "lab")]
pub mod sweep;
#[cfg(feature = "lab")]
pub mod train;
#[cfg(all(feature = "lab", feature = "server"))]
mod watch;
