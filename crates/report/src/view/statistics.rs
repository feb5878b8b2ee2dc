//! What a reviewer asks of a split: the router's differences to other policies with their
//! tests, and its routers of other seeds.

use serde::Serialize;
use tokenroute_sweep::policies::PolicyKind;
use tokenroute_sweep::study::{Comparison, Difference, PolicyResult, SplitResult};

use crate::number::{count, decimal, percent, signed, signed_interval, target};

/// The router against every other policy.
#[derive(Debug, Serialize)]
pub(crate) struct DifferencesView {
    pub rows: Vec<DifferenceView>,
    /// Number of tests that Holm's correction covers.
    pub family: usize,
    pub resamples: String,
    /// Resamples in which the LLM is no better than the SLM, if there are any.
    pub without_gap: Option<String>,
}

/// A difference with its test: the router's figures less one policy's, or one router's less the
/// first's.
#[derive(Debug, Serialize)]
pub(crate) struct DifferenceView {
    pub name: String,
    pub apgr20: String,
    pub apgr20_interval: String,
    /// Whether the interval excludes 0.
    pub clear: bool,
    /// Empty outside the family.
    pub p: String,
    pub holm_p: String,
    pub detectable: String,
    pub apgr: String,
    pub apgr_interval: String,
}

/// The routers of several seeds.
#[derive(Debug, Serialize)]
pub(crate) struct SeedsView {
    pub rows: Vec<SeedView>,
    /// Least and greatest figure of all seeds.
    pub range: SeedView,
    /// Targets of the accuracies.
    pub columns: Vec<String>,
    /// Whether all seeds gave the same router, as a fit without random draws does.
    pub same: bool,
}

/// One seed, or the range of all.
#[derive(Debug, Serialize)]
pub(crate) struct SeedView {
    pub name: String,
    pub apgr20: String,
    pub apgr: String,
    pub accuracies: Vec<String>,
}

impl DifferencesView {
    /// `None` if there is nothing to compare.
    pub(super) fn of(split: &SplitResult) -> Option<Self> {
        let others = || split.policies.iter().filter(|p| p.kind != PolicyKind::Router);
        let rows: Vec<DifferenceView> = others()
            .filter_map(|p| {
                let small = p.router_advantage20.as_ref()?;
                Some(DifferenceView::of(&p.name, small, p.router_advantage))
            })
            .collect();
        let tested = |p: &&PolicyResult| p.router_advantage20.is_some_and(|c| c.p.is_some());
        (!rows.is_empty()).then(|| DifferencesView {
            rows,
            family: others().filter(tested).count(),
            resamples: count(split.resamples),
            without_gap: (split.resamples_without_gap > 0)
                .then(|| count(split.resamples_without_gap)),
        })
    }
}

impl DifferenceView {
    /// A difference in APGR at small budgets, and the same over all budgets.
    pub(crate) fn of(name: &str, small: &Comparison, all: Option<Difference>) -> Self {
        let interval = small.difference.interval;
        let p = |p: Option<f64>| p.map(|p| format!("{p:.4}")).unwrap_or_default();
        DifferenceView {
            name: name.to_owned(),
            apgr20: signed(small.difference.value, 3),
            apgr20_interval: signed_interval(interval, 3),
            clear: interval[0] > 0.0 || interval[1] < 0.0,
            p: p(small.p),
            holm_p: p(small.holm_p),
            detectable: decimal(Some(small.detectable), 3),
            apgr: all.map(|d| signed(d.value, 3)).unwrap_or_default(),
            apgr_interval: all.map(|d| signed_interval(d.interval, 3)).unwrap_or_default(),
        }
    }
}

impl SeedsView {
    /// `None` with one router.
    pub(super) fn of(split: &SplitResult) -> Option<Self> {
        let routers: Vec<&PolicyResult> = split.routers().collect();
        let points = &routers.first().filter(|_| routers.len() > 1)?.points;
        let accuracies =
            |i: usize| routers.iter().filter_map(move |r| Some(r.points.get(i)?.accuracy));
        let areas =
            |of: fn(&PolicyResult) -> Option<f64>| routers.iter().filter_map(move |r| of(r));
        let number = |x: f64| decimal(Some(x), 3);
        let curve = |r: &PolicyResult| {
            r.points.iter().map(|p| (p.tau, p.offload, p.accuracy)).collect::<Vec<_>>()
        };
        Some(SeedsView {
            same: routers.windows(2).all(|pair| curve(pair[0]) == curve(pair[1])),
            range: SeedView {
                name: format!("range of {} seeds", routers.len()),
                apgr20: range(areas(|r| r.apgr20), number),
                apgr: range(areas(|r| r.apgr), number),
                accuracies: (0..points.len()).map(|i| range(accuracies(i), percent)).collect(),
            },
            columns: points.iter().map(|p| target(p.target)).collect(),
            rows: routers.iter().map(|r| seed(r)).collect(),
        })
    }
}

fn seed(router: &PolicyResult) -> SeedView {
    SeedView {
        name: match router.seed {
            Some(seed) if !router.name.contains("seed") => format!("{}, seed {seed}", router.name),
            _ => router.name.clone(),
        },
        apgr20: decimal(router.apgr20, 3),
        apgr: decimal(router.apgr, 3),
        accuracies: router.points.iter().map(|p| percent(p.accuracy)).collect(),
    }
}

/// As in "0.412–0.437", or "0.412" if all are printed alike.
pub(crate) fn range(values: impl Iterator<Item = f64>, print: impl Fn(f64) -> String) -> String {
    let (low, high) =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), x| (l.min(x), h.max(x)));
    match (print(low), print(high)) {
        _ if low > high => "–".to_owned(),
        (low, high) if low == high => low,
        (low, high) => format!("{low}–{high}"),
    }
}
