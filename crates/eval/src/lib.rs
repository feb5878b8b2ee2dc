//! Grading, the exact τ sweep, baselines, statistics, report rendering.
