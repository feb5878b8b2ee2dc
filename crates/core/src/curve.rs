//! Exact step functions of τ: one per question, and their sum over all questions.

use serde::{Deserialize, Serialize};

use crate::Tau;

/// One constant piece of a question's step function. It holds for every τ above the
/// previous piece's end, up to its own `end`. The first piece also holds at τ = 0.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Piece {
    /// Greatest τ of the piece.
    pub end: f64,
    /// Whether the answer is right.
    pub correct: bool,
    /// Whether the answer was cut at its most tokens, so that nothing ended it.
    pub cut: bool,
    /// Number of tokens that the LLM made.
    pub offloaded: u32,
    /// Number of generated tokens, the end token included.
    pub generated: u32,
    /// Positions that the LLM processes, prefill included: the prompt and the tokens before
    /// the last offloaded one. This assumes that the LLM keeps its KV cache during the
    /// question and makes one token per call.
    pub llm_positions: u32,
}

impl Piece {
    /// Offload ratio of this question: LLM tokens / generated tokens.
    #[must_use]
    pub fn offload(&self) -> f64 {
        f64::from(self.offloaded) / f64::from(self.generated.max(1))
    }
}

/// The results of routed decoding of one question, at every τ.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QuestionCurve {
    /// Id of the question.
    pub question: String,
    /// Pieces in rising order; the last ends at 1.
    pub pieces: Vec<Piece>,
}

impl QuestionCurve {
    /// The piece that holds at τ.
    #[must_use]
    pub fn at(&self, tau: Tau) -> Piece {
        let i = self.pieces.partition_point(|p| p.end < tau.get());
        self.pieces[i.min(self.pieces.len() - 1)]
    }
}

/// The mean of the questions' offload ratios at τ, with equal weights. Reported beside the
/// ratio over all tokens, in which long answers weigh more. 0 without questions.
#[must_use]
pub fn mean_offload(questions: &[QuestionCurve], tau: Tau) -> f64 {
    let sum: f64 = questions.iter().map(|q| q.at(tau).offload()).sum();
    sum / questions.len().max(1) as f64
}

/// One constant piece of the summed step function.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// Greatest τ of the piece.
    pub end: f64,
    /// Number of right answers.
    pub correct: u64,
    /// Number of cut answers; see [`Piece::cut`].
    pub cut: u64,
    /// Number of tokens that the LLM made.
    pub offloaded: u64,
    /// Number of generated tokens.
    pub generated: u64,
    /// Positions that the LLM processes; see [`Piece::llm_positions`].
    pub llm_positions: u64,
}

impl CurvePoint {
    /// Offload ratio: LLM tokens / generated tokens.
    #[must_use]
    pub fn offload(&self) -> f64 {
        self.offloaded as f64 / self.generated.max(1) as f64
    }
}

/// Accuracy and offload ratio as exact step functions of τ.
///
/// ```
/// use tokenroute_core::{Curve, Gap, Piece, QuestionCurve, Tau, apgr, cpt};
///
/// // One question of ten tokens: wrong below τ = 0.4, right with two LLM tokens above it.
/// let piece = |end, correct, offloaded| Piece {
///     end,
///     correct,
///     cut: false,
///     offloaded,
///     generated: 10,
///     llm_positions: 0,
/// };
/// let pieces = vec![piece(0.4, false, 0), piece(0.9, true, 2), piece(1.0, true, 10)];
/// let curve = Curve::of(&[QuestionCurve { question: "q1".into(), pieces }]);
///
/// assert_eq!(curve.at(Tau::new(0.5)?).offload(), 0.2);
/// assert_eq!(curve.tau_at_offload(0.2), Tau::new(0.9)?);
/// let gap = Gap::of(&curve);
/// assert_eq!((gap.slm, gap.llm), (0.0, 1.0));
/// assert_eq!(cpt(&curve, gap, 0.8), Some(0.2));
/// assert_eq!(apgr(&curve, gap), Some(0.8));
/// # Ok::<(), tokenroute_core::TauError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// Number of questions, with multiplicity if resampled.
    pub questions: u64,
    /// Pieces in rising order of `end`; the last ends at 1.
    pub points: Vec<CurvePoint>,
}

impl Curve {
    /// Sums the questions' step functions.
    #[must_use]
    pub fn of(questions: &[QuestionCurve]) -> Curve {
        Sweepable::new(questions).curve(&vec![1; questions.len()])
    }

    /// The piece that holds at τ.
    #[must_use]
    pub fn at(&self, tau: Tau) -> CurvePoint {
        let i = self.points.partition_point(|p| p.end < tau.get());
        self.points[i.min(self.points.len() - 1)]
    }

    /// Share of right answers in a piece of this curve.
    #[must_use]
    pub fn accuracy(&self, point: &CurvePoint) -> f64 {
        point.correct as f64 / self.questions.max(1) as f64
    }

    /// Share of cut answers in a piece of this curve.
    #[must_use]
    pub fn cut_share(&self, point: &CurvePoint) -> f64 {
        point.cut as f64 / self.questions.max(1) as f64
    }

    /// τ(ρ): the largest τ with offload ≤ ρ at every smaller τ (offload need
    /// not be monotone in τ).
    #[must_use]
    pub fn tau_at_offload(&self, rho: f64) -> Tau {
        let held = self.points.iter().take_while(|p| p.offload() <= rho).last();
        held.map_or(Tau::SLM_ONLY, |p| Tau::new(p.end).unwrap_or(Tau::LLM_ONLY))
    }
}

/// Question curves, sorted once. They can then be summed under any weighting.
#[derive(Debug, Clone)]
pub struct Sweepable<'a> {
    questions: &'a [QuestionCurve],
    /// (end, question, piece), rising in `end`.
    ends: Vec<(f64, u32, u32)>,
}

impl<'a> Sweepable<'a> {
    /// Sorts the ends of all pieces.
    #[must_use]
    pub fn new(questions: &'a [QuestionCurve]) -> Self {
        let mut ends: Vec<(f64, u32, u32)> = Vec::new();
        for (q, question) in questions.iter().enumerate() {
            ends.extend(
                question
                    .pieces
                    .iter()
                    .enumerate()
                    .map(|(p, piece)| (piece.end, q as u32, p as u32)),
            );
        }
        ends.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2)));
        Sweepable { questions, ends }
    }

    /// The summed curve where question `q` counts `weights[q]` times.
    #[must_use]
    pub fn curve(&self, weights: &[u32]) -> Curve {
        let mut sum = [0i64; 5];
        let mut add = |piece: &Piece, times: i64| {
            sum[0] += times * i64::from(piece.correct);
            sum[1] += times * i64::from(piece.offloaded);
            sum[2] += times * i64::from(piece.generated);
            sum[3] += times * i64::from(piece.llm_positions);
            sum[4] += times * i64::from(piece.cut);
            sum
        };
        let mut now = [0i64; 5];
        for (question, &w) in self.questions.iter().zip(weights) {
            now = add(&question.pieces[0], i64::from(w));
        }
        let mut points = Vec::new();
        let mut i = 0;
        while i < self.ends.len() {
            let end = self.ends[i].0;
            points.push(CurvePoint {
                end,
                correct: now[0].unsigned_abs(),
                cut: now[4].unsigned_abs(),
                offloaded: now[1].unsigned_abs(),
                generated: now[2].unsigned_abs(),
                llm_positions: now[3].unsigned_abs(),
            });
            while i < self.ends.len() && self.ends[i].0 == end {
                let (_, q, p) = self.ends[i];
                let (q, p) = (q as usize, p as usize);
                let pieces = &self.questions[q].pieces;
                if let (Some(next), true) = (pieces.get(p + 1), weights[q] > 0) {
                    add(&pieces[p], -i64::from(weights[q]));
                    now = add(next, i64::from(weights[q]));
                }
                i += 1;
            }
        }
        Curve { questions: weights.iter().map(|&w| u64::from(w)).sum(), points }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(id: &str, pieces: &[(f64, bool, u32, u32)]) -> QuestionCurve {
        QuestionCurve {
            question: id.into(),
            pieces: pieces
                .iter()
                .map(|&(end, correct, offloaded, generated)| Piece {
                    end,
                    correct,
                    cut: generated >= 12,
                    offloaded,
                    generated,
                    llm_positions: 2 * offloaded,
                })
                .collect(),
        }
    }

    #[test]
    fn the_sum_equals_the_parts_at_every_tau() {
        let parts = [
            question("a", &[(0.2, false, 0, 10), (0.6, true, 3, 12), (1.0, true, 12, 12)]),
            question("b", &[(0.2, true, 0, 8), (0.7, false, 5, 9), (1.0, true, 8, 8)]),
        ];
        let sum = Curve::of(&parts);
        let weighted = Sweepable::new(&parts).curve(&[3, 0]);
        for i in 0..=20u8 {
            let tau = Tau::new(f64::from(i) / 20.0).expect("in range");
            let (a, b, s) = (parts[0].at(tau), parts[1].at(tau), sum.at(tau));
            assert_eq!(s.correct, u64::from(a.correct) + u64::from(b.correct));
            assert_eq!(s.cut, u64::from(a.cut) + u64::from(b.cut));
            assert_eq!(sum.cut_share(&s), s.cut as f64 / 2.0);
            assert_eq!(s.offloaded, u64::from(a.offloaded + b.offloaded));
            assert_eq!(s.generated, u64::from(a.generated + b.generated));
            assert_eq!(s.llm_positions, 2 * s.offloaded);
            assert_eq!(weighted.at(tau).generated, 3 * u64::from(a.generated));
        }
    }

    #[test]
    fn tau_at_offload_stops_before_the_first_excess() {
        // Offload rises to .5, falls back to .1, then ends at 1.
        let curve = Curve::of(&[question(
            "a",
            &[(0.1, false, 0, 10), (0.3, false, 5, 10), (0.5, true, 1, 10), (1.0, true, 10, 10)],
        )]);
        assert_eq!(curve.tau_at_offload(0.2), Tau::new(0.1).expect("in range"));
        assert_eq!(curve.tau_at_offload(0.5), Tau::new(0.5).expect("in range"));
        assert_eq!(curve.tau_at_offload(1.0), Tau::LLM_ONLY);
    }
}
