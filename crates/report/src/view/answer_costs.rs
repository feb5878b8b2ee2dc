//! What an answer costs, in words: one table of all ways, and sentences where another way is
//! cheaper than the router at no less accuracy.

use serde::Serialize;
use tokenroute_sweep::answer_cost::{AnswerCost, AnswerCosts, DRAFTS, PricedPoint, PricedWay};
use tokenroute_sweep::policies::PolicyKind;
use tokenroute_sweep::study::{HEADLINE_TARGET, is_headline};

use crate::number::{decimal, offload, percent, target};

/// Offload targets at which the router is compared with other ways.
const COMPARED: [f64; 5] = [0.01, 0.02, 0.05, HEADLINE_TARGET, 0.10];

/// The section.
#[derive(Debug, Serialize)]
pub(crate) struct AnswerCostsView {
    pub rows: Vec<CostRow>,
    pub sentences: Vec<String>,
    /// Heads of the columns that need stated prices and a stated network.
    pub money: Option<String>,
    pub seconds: bool,
    pub assumptions: Vec<String>,
}

/// One way, or one policy at one target.
#[derive(Debug, Serialize)]
pub(crate) struct CostRow {
    pub name: String,
    pub router: bool,
    pub offload: String,
    pub accuracy: String,
    pub offloaded: String,
    pub calls: String,
    pub waits: String,
    pub llm_positions: String,
    pub cached: String,
    pub kilobytes: String,
    pub money: String,
    pub seconds: String,
}

impl AnswerCostsView {
    pub(crate) fn of(costs: &AnswerCosts) -> Self {
        let mut rows: Vec<CostRow> = Vec::new();
        for way in &costs.ways {
            rows.push(CostRow::of(costs, way.name.clone(), None, way.accuracy, &way.cost));
        }
        let compared = |p: &PricedPoint| COMPARED.iter().any(|t| (t - p.target).abs() < 1e-9);
        let headline = |p: &PricedPoint| is_headline(p.target);
        let mut main = true;
        for policy in &costs.policies {
            let router = policy.kind == PolicyKind::Router && std::mem::take(&mut main);
            for point in policy.points.iter().filter(|p| headline(p) || (router && compared(p))) {
                let name = format!("{}, {}", policy.name, target(point.target));
                let mut row =
                    CostRow::of(costs, name, Some(point.offload), point.accuracy, &point.cost);
                row.router = router;
                rows.push(row);
            }
        }
        AnswerCostsView {
            rows,
            sentences: sentences(costs),
            money: costs.prices.as_ref().map(|p| format!("{} for 1000 answers", p.currency)),
            seconds: costs.network.is_some(),
            assumptions: assumptions(costs),
        }
    }
}

impl CostRow {
    fn of(
        costs: &AnswerCosts,
        name: String,
        ratio: Option<f64>,
        accuracy: f64,
        cost: &AnswerCost,
    ) -> Self {
        let number = |x: f64| decimal(Some(x), 1);
        CostRow {
            name,
            router: false,
            offload: ratio.map_or_else(|| "–".to_owned(), offload),
            accuracy: percent(accuracy),
            offloaded: number(cost.offloaded),
            calls: number(cost.calls),
            waits: number(cost.waits),
            llm_positions: number(cost.llm_positions),
            cached: number(cost.cached_positions),
            kilobytes: number((cost.bytes_up + cost.bytes_down) / 1e3),
            money: decimal(costs.prices.as_ref().map(|p| 1e3 * p.money(cost)), 4),
            seconds: decimal(costs.network.map(|n| n.seconds(cost)), 3),
        }
    }
}

/// One sentence for each target at which another way is as good and cheaper or faster.
fn sentences(costs: &AnswerCosts) -> Vec<String> {
    let Some(router) = costs.policies.iter().find(|p| p.kind == PolicyKind::Router) else {
        return Vec::new();
    };
    let mut said = Vec::new();
    for at in COMPARED {
        let Some(point) = router.points.iter().find(|p| (p.target - at).abs() < 1e-9) else {
            continue;
        };
        for way in &costs.ways {
            let less = lesser(costs, point, way);
            if way.accuracy >= point.accuracy && !less.is_empty() {
                said.push(format!(
                    "At the {} target {} answers {} where the router answers {}, and takes less: {}.",
                    target(at),
                    way.name,
                    percent(way.accuracy),
                    percent(point.accuracy),
                    less.join("; "),
                ));
            }
        }
    }
    said
}

/// The measures in which a way is below the router, with both figures.
fn lesser(costs: &AnswerCosts, point: &PricedPoint, way: &PricedWay) -> Vec<String> {
    let (mine, other) = (&point.cost, &way.cost);
    let mut less = Vec::new();
    let mut compare = |name: &str, other: f64, mine: f64, digits: usize| {
        if other < mine {
            let [other, mine] = [other, mine].map(|x| decimal(Some(x), digits));
            less.push(format!("{name} {other}, router {mine}"));
        }
    };
    if let Some(prices) = &costs.prices {
        let name = format!("{} for 1000 answers", prices.currency);
        compare(&name, 1e3 * prices.money(other), 1e3 * prices.money(mine), 4);
    }
    if let Some(network) = costs.network {
        compare("seconds", network.seconds(other), network.seconds(mine), 3);
    }
    compare("serial waits", other.waits, mine.waits, 1);
    compare("LLM positions", other.llm_positions, mine.llm_positions, 1);
    less
}

/// The stated prices and network, in words.
pub(crate) fn assumptions(costs: &AnswerCosts) -> Vec<String> {
    let mut stated = Vec::new();
    if costs.policies.iter().any(|p| p.kind == PolicyKind::Speculative) {
        stated.push(format!(
            "In the speculative cascade the LLM checks drafts of {} tokens. Tokens that it rejects \
             count as evenly spread over the answer.",
            DRAFTS[0]
        ));
    }
    if let Some(p) = &costs.prices {
        stated.push(format!(
            "Prices in {} for a million tokens: input {}, cached input {}, output {}.",
            p.currency, p.input, p.cached_input, p.output
        ));
    }
    if let Some(n) = &costs.network {
        let bandwidth = n.megabits.map_or_else(
            || "no limit of bandwidth".to_owned(),
            |megabits| format!("{megabits} Mbit/s"),
        );
        stated.push(format!(
            "Network: round trip {} ms, {bandwidth}. Pace: SLM {} ms a token, LLM {} ms a pass.",
            n.round_trip_ms, n.slm_ms_per_token, n.llm_ms_per_token
        ));
    }
    stated
}
