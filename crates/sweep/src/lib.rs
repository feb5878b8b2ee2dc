//! Grading, the exact τ sweep, baselines, statistics, report rendering.
//!
//! Key types:
//! - [`sweep::sweep`]: what routed decoding does at every τ, exactly.
//! - [`policies::Baseline`]: what the router is held against.
//! - [`latency::measure`]: what answers cost in time and bytes behind a network.
//! - [`study::study`]: from curves to figures with intervals.
//! - [`summary::Summary`]: those figures as `summary.json`.
//! - [`report::ReportData`]: those figures as pages.

pub mod bootstrap;
pub mod diagnostics;
pub mod latency;
pub mod policies;
pub mod report;
pub mod study;
pub mod summary;
pub mod sweep;
