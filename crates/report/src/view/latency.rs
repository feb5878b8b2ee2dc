//! The network study in words.

use serde::Serialize;

use tokenroute_sweep::latency::{
    LatencyRow, LatencyStudy, Mean, Network, NetworkRows, Quantiles, Way,
};

use crate::names::way_name;
use crate::number::{count, decimal, offload, percent, percent_interval, tau};

/// The study.
#[derive(Debug, Serialize)]
pub(crate) struct LatencyView {
    pub questions: String,
    pub split: String,
    pub tau: String,
    pub identical: bool,
    pub branches: String,
    pub max_ahead: String,
    pub max_extra: Option<String>,
    pub lookahead: Option<String>,
    pub step_ms: Option<f64>,
    pub own_processor: bool,
    pub relay: String,
    pub ways: Vec<WayView>,
    pub networks: Vec<NetworkView>,
}

/// Figures of one way that do not depend on the round trip, from the study's first
/// network.
#[derive(Debug, Serialize)]
pub(crate) struct WayView {
    pub name: &'static str,
    pub accuracy: String,
    pub interval: String,
    pub tokens: String,
    pub offload: String,
    pub degraded: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct NetworkView {
    pub name: String,
    pub rows: Vec<RowView>,
    pub speedup: String,
    pub kept_slowdown: String,
    pub slowdown: String,
    pub token: String,
    pub call: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct RowView {
    pub name: &'static str,
    pub first: String,
    pub median: String,
    pub p95: String,
    pub slm_p95: String,
    pub total: String,
    pub interval: String,
    pub modelled: String,
    pub waits: String,
    pub calls: String,
    pub wasted: String,
    pub positions: String,
    pub up: String,
    pub down: String,
}

impl LatencyView {
    pub(crate) fn of(study: &LatencyStudy) -> LatencyView {
        let s = &study.setting;
        let first = study.networks.first();
        LatencyView {
            questions: count(s.questions as u64),
            split: s.split.clone(),
            tau: tau(s.tau),
            identical: study.identical,
            branches: s.branches.to_string(),
            max_ahead: s.max_ahead.to_string(),
            max_extra: s.max_extra.map(count),
            lookahead: (s.lookahead > 1).then(|| s.lookahead.to_string()),
            step_ms: (s.step_ms > 0.0).then_some(s.step_ms),
            own_processor: s.own_processor,
            relay: s.relay.to_string(),
            ways: first.map(|n| n.rows.iter().map(WayView::of).collect()).unwrap_or_default(),
            networks: study.networks.iter().map(NetworkView::of).collect(),
        }
    }
}

impl WayView {
    fn of(row: &LatencyRow) -> WayView {
        let f = &row.figures;
        WayView {
            name: way_name(row.way),
            accuracy: percent(f.accuracy.value),
            interval: percent_interval(f.accuracy.interval),
            tokens: decimal(Some(f.tokens.value), 1),
            offload: offload(f.offload.value),
            degraded: count(f.degraded),
        }
    }
}

impl NetworkView {
    fn of(found: &NetworkRows) -> NetworkView {
        let two = |x| decimal(Some(x), 2);
        let times = |Mean { value, interval: [low, high] }| {
            format!("{} × ({}–{})", two(value), two(low), two(high))
        };
        NetworkView {
            name: network(found.network),
            rows: found.rows.iter().map(RowView::of).collect(),
            speedup: times(found.speedup),
            kept_slowdown: times(found.kept_slowdown),
            slowdown: times(found.slowdown),
            token: milliseconds(found.token_seconds),
            call: milliseconds(found.call_seconds),
        }
    }
}

impl RowView {
    fn of(row: &LatencyRow) -> RowView {
        let f = &row.figures;
        let Quantiles { median, p95 } = f.gaps;
        let [low, high] = f.total.interval.map(|x| decimal(Some(1e3 * x), 0));
        let number = |mean: Mean| decimal(Some(mean.value), 1);
        // The LLM alone makes no token of the SLM's.
        let slm = (row.way != Way::Llm).then_some(1e3 * f.slm_gaps.p95);
        RowView {
            name: way_name(row.way),
            first: milliseconds(f.first.value),
            median: decimal(Some(1e3 * median), 3),
            p95: decimal(Some(1e3 * p95), 3),
            slm_p95: decimal(slm, 3),
            total: decimal(Some(1e3 * f.total.value), 0),
            interval: format!("{low}–{high}"),
            modelled: decimal(row.modelled.map(|x| 1e3 * x), 0),
            waits: number(f.waits),
            calls: number(f.calls),
            wasted: number(f.wasted_calls),
            positions: count(f.llm_positions.value.round() as u64),
            up: count(f.bytes_up.value.round() as u64),
            down: count(f.bytes_down.value.round() as u64),
        }
    }
}

/// As in "100 ms, 10 Mbit/s".
fn network(network: Network) -> String {
    let bandwidth = match network.megabits {
        Some(megabits) => format!("{megabits} Mbit/s"),
        None => "no limit of bandwidth".to_owned(),
    };
    format!("{} ms, {bandwidth}", network.round_trip_ms)
}

fn milliseconds(seconds: f64) -> String {
    decimal(Some(1e3 * seconds), 2)
}
