//! Questions' step functions, sorted once and read quickly under many weightings, as the
//! bootstrap does. Nothing is allocated per reading.

use tokenroute_core::{QuestionCurve, Tau};

/// The summed step function of several questions.
pub(super) struct Steps {
    /// Values of each question in its first piece.
    first: Vec<[i64; 3]>,
    /// Whether each question is right in its first piece and in its last.
    ends: Vec<[bool; 2]>,
    /// Greatest τ of each summed piece, rising; the last is 1.
    taus: Vec<Tau>,
    /// Number of changes before the end of each piece.
    upto: Vec<u32>,
    changes: Vec<Change>,
}

/// What one question changes at a τ.
struct Change {
    question: u32,
    correct: i32,
    offloaded: i32,
    generated: i32,
}

/// The sum over all questions in one piece.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sum {
    /// Number of right answers.
    pub correct: i64,
    /// Number of tokens that the LLM made.
    pub offloaded: i64,
    /// Number of generated tokens.
    pub generated: i64,
}

impl Sum {
    /// Offload ratio: LLM tokens / generated tokens.
    pub fn offload(&self) -> f64 {
        self.offloaded as f64 / self.generated.max(1) as f64
    }

    /// Whether the offload ratio is greater than the other's, exactly.
    pub fn offloads_more_than(&self, other: &Sum) -> bool {
        self.offloaded * other.generated.max(1) > other.offloaded * self.generated.max(1)
    }
}

impl Steps {
    /// Sorts the ends of all pieces. Every question has at least one.
    pub fn new(questions: &[QuestionCurve]) -> Steps {
        let mut at: Vec<(Tau, Option<Change>)> = Vec::new();
        for (question, curve) in (0u32..).zip(questions) {
            for (i, piece) in curve.pieces.iter().enumerate() {
                let change = curve.pieces.get(i + 1).map(|next| Change {
                    question,
                    correct: i32::from(next.correct) - i32::from(piece.correct),
                    offloaded: next.offloaded.cast_signed() - piece.offloaded.cast_signed(),
                    generated: next.generated.cast_signed() - piece.generated.cast_signed(),
                });
                at.push((Tau::new(piece.end).unwrap_or(Tau::LLM_ONLY), change));
            }
        }
        at.sort_by(|a, b| a.0.get().total_cmp(&b.0.get()));
        let mut steps = Steps {
            first: questions
                .iter()
                .filter_map(|q| q.pieces.first())
                .map(|p| [i64::from(p.correct), p.offloaded.into(), p.generated.into()])
                .collect(),
            ends: questions
                .iter()
                .filter_map(|q| Some([q.pieces.first()?.correct, q.pieces.last()?.correct]))
                .collect(),
            taus: Vec::new(),
            upto: Vec::new(),
            changes: Vec::new(),
        };
        for (tau, change) in at {
            if steps.taus.last() != Some(&tau) {
                steps.taus.push(tau);
                steps.upto.push(steps.changes.len() as u32);
            }
            steps.changes.extend(change);
        }
        steps
    }

    /// Accuracy at τ = 0 and at τ = 1 where question `q` counts `weights[q]` times.
    pub fn ends(&self, weights: &[u32]) -> [f64; 2] {
        let total: u32 = weights.iter().sum();
        [0, 1].map(|end| {
            let right: u32 =
                self.ends.iter().zip(weights).map(|(e, &w)| w * u32::from(e[end])).sum();
            f64::from(right) / f64::from(total.max(1))
        })
    }

    /// Reads the summed pieces in rising order of τ, until `visit` returns false.
    pub fn read(&self, weights: &[u32], mut visit: impl FnMut(usize, Sum) -> bool) {
        let mut sum = Sum { correct: 0, offloaded: 0, generated: 0 };
        for (first, &w) in self.first.iter().zip(weights) {
            sum.correct += first[0] * i64::from(w);
            sum.offloaded += first[1] * i64::from(w);
            sum.generated += first[2] * i64::from(w);
        }
        let mut from = 0;
        for (piece, &upto) in self.upto.iter().enumerate() {
            for change in &self.changes[from..upto as usize] {
                let w = i64::from(weights[change.question as usize]);
                sum.correct += w * i64::from(change.correct);
                sum.offloaded += w * i64::from(change.offloaded);
                sum.generated += w * i64::from(change.generated);
            }
            from = upto as usize;
            if !visit(piece, sum) {
                return;
            }
        }
    }

    /// For every rising budget ρ, the piece of the largest τ with offload ≤ ρ at every smaller
    /// τ; `None` where τ = 0 offloads more already.
    fn pieces_at<const N: usize>(&self, weights: &[u32], rho: &[f64; N]) -> [Option<usize>; N] {
        let mut chosen = [None; N];
        let mut next = 0;
        self.read(weights, |piece, sum| {
            let offload = sum.offload();
            while next < N && rho[next] < offload {
                chosen[next] = piece.checked_sub(1);
                next += 1;
            }
            next < N
        });
        let last = self.taus.len().checked_sub(1);
        chosen[next..].fill(last);
        chosen
    }
}

/// τ chosen on some questions, read on others.
pub(super) struct ChosenTaus<'a> {
    calibration: &'a Steps,
    /// The piece of the test questions that holds at τ = 0, and at the end of each piece of
    /// the questions that τ is chosen on.
    seen: Vec<usize>,
}

impl<'a> ChosenTaus<'a> {
    /// Finds the pieces.
    pub fn new(calibration: &'a Steps, test: &Steps) -> Self {
        let piece = |tau: &Tau| test.taus.partition_point(|end| end.get() < tau.get());
        let seen = std::iter::once(&Tau::SLM_ONLY).chain(&calibration.taus).map(piece).collect();
        ChosenTaus { calibration, seen }
    }

    /// Chooses τ(ρ) under these weights for every rising budget ρ. Returns the pieces of the
    /// test questions that hold there, rising too.
    pub fn pieces<const N: usize>(&self, weights: &[u32], rho: &[f64; N]) -> [usize; N] {
        let chosen = self.calibration.pieces_at(weights, rho);
        chosen.map(|piece| self.seen[piece.map_or(0, |p| p + 1)])
    }
}
