//! From samples to figures: means with bootstrap intervals over questions,
//! quantiles over all gaps.

use serde::{Deserialize, Serialize};
use tokenroute_core::Origin;

use super::TimedAnswer;
use crate::bootstrap::{Bootstrap, interval};

/// A mean, or a ratio of means, and its 95% bootstrap interval over questions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Mean {
    /// Over all questions.
    pub value: f64,
    /// 2.5% and 97.5% quantiles over the resamples.
    pub interval: [f64; 2],
}

/// Two quantiles of times, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Quantiles {
    /// Half of the times are no longer.
    pub median: f64,
    /// 95% of the times are no longer.
    pub p95: f64,
}

/// Figures of one way of decoding over one network. Means are over questions,
/// quantiles over the gaps of all questions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Seconds to the first token.
    pub first: Mean,
    /// Seconds to the last.
    pub total: Mean,
    /// Seconds between consecutive tokens.
    pub gaps: Quantiles,
    /// The same between neighbours that are both the SLM's.
    pub slm_gaps: Quantiles,
    /// Tokens of an answer.
    pub tokens: Mean,
    /// Tokens of the LLM over all tokens.
    pub offload: Mean,
    /// Share of right answers.
    pub accuracy: Mean,
    /// Serial waits of an answer.
    pub waits: Mean,
    /// Calls of an answer.
    pub calls: Mean,
    /// Calls without a committed token.
    pub wasted_calls: Mean,
    /// Positions the LLM processed for an answer.
    pub llm_positions: Mean,
    /// Bytes to the LLM.
    pub bytes_up: Mean,
    /// Bytes from it.
    pub bytes_down: Mean,
    /// Degraded tokens of all answers: the LLM could not be asked.
    pub degraded: u64,
}

impl Figures {
    /// The figures of samples; `bootstrap` is over the same number of questions.
    #[must_use]
    pub fn of(samples: &[TimedAnswer], bootstrap: &Bootstrap) -> Figures {
        let mean = |of: &dyn Fn(&TimedAnswer) -> f64| {
            ratio(samples, &|sample| [of(sample), 1.0], bootstrap)
        };
        let made = |s: &TimedAnswer, by| s.origins.iter().filter(|&&o| o == by).count();
        let tokens = |s: &TimedAnswer| s.at.len() as f64;
        Figures {
            first: mean(&|s| s.at.first().copied().unwrap_or_default()),
            total: mean(&|s| s.at.last().copied().unwrap_or_default()),
            gaps: quantiles(samples, Gaps::All),
            slm_gaps: quantiles(samples, Gaps::Kept),
            tokens: mean(&tokens),
            offload: ratio(samples, &|s| [made(s, Origin::Llm) as f64, tokens(s)], bootstrap),
            accuracy: mean(&|s| f64::from(u8::from(s.correct))),
            waits: mean(&|s| s.waits as f64),
            calls: mean(&|s| s.calls as f64),
            wasted_calls: mean(&|s| s.wasted_calls as f64),
            llm_positions: mean(&|s| s.llm_positions as f64),
            bytes_up: mean(&|s| s.bytes[0] as f64),
            bytes_down: mean(&|s| s.bytes[1] as f64),
            degraded: samples.iter().map(|s| made(s, Origin::Degraded) as u64).sum(),
        }
    }
}

/// The speedup of the second way: the sum of the first's times over that of the
/// second's, paired over questions.
#[must_use]
pub fn speedup(slow: &[TimedAnswer], fast: &[TimedAnswer], bootstrap: &Bootstrap) -> Mean {
    let last = |s: &TimedAnswer| s.at.last().copied().unwrap_or_default();
    let pairs: Vec<[f64; 2]> = slow.iter().zip(fast).map(|(a, b)| [last(a), last(b)]).collect();
    over(&pairs, bootstrap)
}

/// A choice of gaps between tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gaps {
    /// All.
    All,
    /// Those between consecutive kept tokens: neighbours that are both the SLM's.
    Kept,
}

impl Gaps {
    fn includes(self, origins: &[Origin]) -> bool {
        self == Gaps::All || origins.iter().all(|&origin| origin == Origin::Slm)
    }
}

/// The 95th percentile of gaps over that of the SLM alone, paired over questions.
#[must_use]
pub fn slowdown(
    alone: &[TimedAnswer],
    routed: &[TimedAnswer],
    gaps: Gaps,
    bootstrap: &Bootstrap,
) -> Mean {
    let (alone, routed) = (sorted(alone, Gaps::All), sorted(routed, gaps));
    let quotient = |weight: &dyn Fn(usize) -> u64| {
        let below = quantile(&alone, 0.95, weight);
        if below == 0.0 { 0.0 } else { quantile(&routed, 0.95, weight) / below }
    };
    let value = quotient(&|_| 1);
    let weights = bootstrap.weights().iter();
    let resampled = weights.map(|w| quotient(&|question| u64::from(w[question]))).collect();
    Mean { value, interval: interval(resampled).unwrap_or([value; 2]) }
}

fn ratio(
    samples: &[TimedAnswer],
    of: &dyn Fn(&TimedAnswer) -> [f64; 2],
    bootstrap: &Bootstrap,
) -> Mean {
    let pairs: Vec<[f64; 2]> = samples.iter().map(of).collect();
    over(&pairs, bootstrap)
}

/// The sum of the first numbers over the sum of the second.
fn over(pairs: &[[f64; 2]], bootstrap: &Bootstrap) -> Mean {
    let quotient = |weight: &dyn Fn(usize) -> f64| {
        let sum = |side: usize| -> f64 {
            pairs.iter().enumerate().map(|(i, pair)| weight(i) * pair[side]).sum()
        };
        let below = sum(1);
        if below == 0.0 { 0.0 } else { sum(0) / below }
    };
    let value = quotient(&|_| 1.0);
    let resampled = bootstrap.weights().iter().map(|w| quotient(&|i| f64::from(w[i]))).collect();
    Mean { value, interval: interval(resampled).unwrap_or([value; 2]) }
}

/// Gaps in ascending order, each with its question.
fn sorted(samples: &[TimedAnswer], wanted: Gaps) -> Vec<(f64, usize)> {
    let of = |(question, s): (usize, &TimedAnswer)| {
        let pairs = s.at.windows(2).zip(s.origins.windows(2));
        let wanted = pairs.filter(|(_, origins)| wanted.includes(origins));
        wanted.map(|(at, _)| (at[1] - at[0], question)).collect::<Vec<_>>()
    };
    let mut gaps: Vec<(f64, usize)> = samples.iter().enumerate().flat_map(of).collect();
    gaps.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    gaps
}

/// The least gap that the given share of all gaps does not exceed, with each question's
/// gaps weighted by `weight`. 0 without gaps.
fn quantile(gaps: &[(f64, usize)], share: f64, weight: &dyn Fn(usize) -> u64) -> f64 {
    let all: u64 = gaps.iter().map(|&(_, question)| weight(question)).sum();
    let rank = ((share * all as f64).ceil() as u64).max(1);
    let mut seen = 0;
    let reaches = |&&(_, question): &&(f64, usize)| {
        seen += weight(question);
        seen >= rank
    };
    gaps.iter().find(reaches).map_or(0.0, |&(gap, _)| gap)
}

fn quantiles(samples: &[TimedAnswer], wanted: Gaps) -> Quantiles {
    let gaps = sorted(samples, wanted);
    let at = |share| quantile(&gaps, share, &|_| 1);
    Quantiles { median: at(0.5), p95: at(0.95) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at: &[f64], origins: &[Origin]) -> TimedAnswer {
        let (at, origins) = (at.to_vec(), origins.to_vec());
        TimedAnswer { at, origins, waits: 1, calls: 3, correct: true, ..TimedAnswer::default() }
    }

    #[test]
    fn means_are_over_questions_and_offload_over_tokens() {
        use Origin::{Degraded, Llm, Slm};
        let samples = [
            sample(&[1.0, 2.0, 4.0], &[Slm, Llm, Slm]),
            TimedAnswer { correct: false, ..sample(&[3.0], &[Degraded]) },
        ];
        let figures = Figures::of(&samples, &Bootstrap::new(2, 50, 1));
        assert_eq!((figures.first.value, figures.total.value), (2.0, 3.5));
        assert_eq!((figures.offload.value, figures.tokens.value), (0.25, 2.0));
        assert_eq!((figures.accuracy.value, figures.degraded), (0.5, 1));
        assert_eq!(figures.total.interval, [3.0, 4.0]);
    }

    #[test]
    fn quantiles_are_over_all_gaps_or_those_between_tokens_of_the_slm() {
        use Origin::{Llm, Slm};
        let at: Vec<f64> = (0..=20).map(f64::from).chain([120.0]).collect();
        let origins: Vec<Origin> = (0..22).map(|i| if i == 21 { Llm } else { Slm }).collect();
        let samples = [sample(&at, &origins)];
        let figures = Figures::of(&samples, &Bootstrap::new(1, 2, 1));
        // One gap of 100 among 21 is within the last 5%.
        assert_eq!(figures.gaps, Quantiles { median: 1.0, p95: 1.0 });
        assert_eq!(figures.slm_gaps, Quantiles { median: 1.0, p95: 1.0 });
        let shorter = [sample(&at[5..], &origins[5..])];
        let figures = Figures::of(&shorter, &Bootstrap::new(1, 2, 1));
        assert_eq!(figures.gaps.p95, 100.0);
        assert_eq!(figures.slm_gaps.p95, 1.0);
        assert_eq!(Figures::of(&[], &Bootstrap::new(0, 2, 1)).gaps, Quantiles::default());
    }

    #[test]
    fn a_slowdown_is_a_ratio_of_quantiles_over_the_same_questions() {
        use Origin::{Llm, Slm};
        let alone = [sample(&[0.0, 1.0], &[Slm, Slm]), sample(&[0.0, 4.0], &[Slm, Slm])];
        let routed = [
            sample(&[0.0, 2.0, 9.0], &[Slm, Slm, Llm]),
            sample(&[0.0, 8.0, 99.0], &[Slm, Slm, Llm]),
        ];
        let bootstrap = Bootstrap::new(2, 200, 3);
        let kept = slowdown(&alone, &routed, Gaps::Kept, &bootstrap);
        // Whichever questions are drawn, their gaps take twice as long.
        assert_eq!((kept.value, kept.interval), (2.0, [2.0, 2.0]));
        let all = slowdown(&alone, &routed, Gaps::All, &bootstrap);
        assert_eq!((all.value, all.interval), (91.0 / 4.0, [7.0, 91.0 / 4.0]));
    }

    #[test]
    fn a_speedup_is_a_ratio_of_sums() {
        use Origin::Slm;
        let slow = [sample(&[4.0], &[Slm]), sample(&[8.0], &[Slm])];
        let fast = [sample(&[2.0], &[Slm]), sample(&[2.0], &[Slm])];
        let mean = speedup(&slow, &fast, &Bootstrap::new(2, 200, 3));
        assert_eq!((mean.value, mean.interval), (3.0, [2.0, 4.0]));
    }
}
