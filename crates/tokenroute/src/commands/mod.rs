//! One module per command, each with a `run` function.

pub mod bench;
#[cfg(feature = "train")]
pub mod calibrate;
pub mod chat;
#[cfg(feature = "train")]
pub mod check_sweep;
#[cfg(feature = "server")]
pub mod cloud;
pub mod export;
pub mod generate;
#[cfg(feature = "lab")]
pub mod inspect;
#[cfg(feature = "train")]
pub mod label;
#[cfg(all(feature = "train", feature = "server"))]
pub mod latency;
pub mod random_model;
#[cfg(feature = "train")]
pub mod report;
#[cfg(feature = "train")]
pub mod run;
#[cfg(feature = "server")]
pub mod serve;
pub mod step;
#[cfg(feature = "train")]
pub mod sweep;
#[cfg(feature = "train")]
pub mod train;
