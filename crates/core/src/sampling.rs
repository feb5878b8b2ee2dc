//! Decoding at a temperature: draws a token from logits. The draw depends on the tokens
//! before and the seed alone.

use std::fmt;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use serde::Serialize;

use crate::{Step, TokenId};

/// Number of 32-bit words that one position takes of the random stream.
const WORDS: u128 = 2;

/// Which model draws. Each has a random stream of its own, so the draws are independent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The small model, also when it answers alone.
    Slm = 0,
    /// The large model.
    Llm = 1,
}

/// How tokens are drawn. `Option<Sampling>` is `None` for greedy decoding.
///
/// A draw is a function of (seed, side, position, logits). The position is the number of
/// tokens before, prompt included. So timing, the rest of the batch and rolled-back draws
/// do not change a token.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Sampling {
    temperature: f64,
    top_p: f64,
    seed: u64,
}

/// A sampling parameter outside its range.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum SamplingError {
    /// Below 0, above 2, or NaN.
    #[error("temperature is {0}; expected 0 (greedy) to {max}", max = Sampling::HOTTEST)]
    Temperature(f64),
    /// Not above 0, above 1, or NaN.
    #[error("top_p is {0}; expected a number above 0 and at most 1 (1 keeps all tokens)")]
    TopP(f64),
}

impl Sampling {
    /// The highest temperature.
    pub const HOTTEST: f64 = 2.0;

    /// Shown beside every sampled answer.
    pub const NOTE: &str =
        "this answer was sampled; τ and its curves hold for greedy decoding (temperature 0) alone";

    /// Draws from softmax(logits / temperature), cut to the fewest most probable tokens
    /// that reach `top_p`. Temperature 0 is greedy and gives `None`.
    ///
    /// # Errors
    /// A temperature outside [0, 2], a `top_p` outside (0, 1].
    pub fn new(temperature: f64, top_p: f64, seed: u64) -> Result<Option<Self>, SamplingError> {
        if !(0.0..=Self::HOTTEST).contains(&temperature) {
            return Err(SamplingError::Temperature(temperature));
        }
        if !(top_p > 0.0 && top_p <= 1.0) {
            return Err(SamplingError::TopP(top_p));
        }
        Ok((temperature > 0.0).then_some(Sampling { temperature, top_p, seed }))
    }

    /// The temperature, above 0.
    #[must_use]
    pub fn temperature(&self) -> f64 {
        self.temperature
    }

    /// The share of probability to draw from.
    #[must_use]
    pub fn top_p(&self) -> f64 {
        self.top_p
    }

    /// The seed of both streams.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The same with the seed `by` higher, for the further answers to one prompt.
    #[must_use]
    pub fn shifted(self, by: u64) -> Self {
        Sampling { seed: self.seed.wrapping_add(by), ..self }
    }

    /// The 64 random bits of a position; the same on every call.
    fn bits(&self, side: Side, position: usize) -> u64 {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&self.seed.to_le_bytes());
        let mut stream = ChaCha8Rng::from_seed(key);
        stream.set_stream(side as u64);
        stream.set_word_pos(position as u128 * WORDS);
        stream.next_u64()
    }

    /// A seed for one call to a server with a random stream of its own. It has 31 bits,
    /// which every server accepts.
    #[must_use]
    pub fn call_seed(&self, position: usize) -> u32 {
        (self.bits(Side::Llm, position) >> 33) as u32
    }

    /// Draws the token at `position` (the number of tokens before it). Sums are taken in
    /// one fixed order. Among equal logits, top-p keeps the lowest ids. Gives the greedy
    /// token if the step has no logits.
    fn draw(&self, step: &Step, side: Side, position: usize) -> TokenId {
        let logits = step.logits.as_deref().unwrap_or_default();
        let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weight = |logit: &f32| (f64::from(logit - most) / self.temperature).exp();
        let mut weights: Vec<(usize, f64)> = logits.iter().map(weight).enumerate().collect();
        let mut mass: f64 = weights.iter().map(|w| w.1).sum();
        if self.top_p < 1.0 {
            // All tokens below this weight together have less mass than top-p leaves out.
            let least = (1.0 - self.top_p) * mass / weights.len() as f64;
            weights.retain(|w| w.1 >= least);
            weights.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            let wanted = self.top_p * mass;
            mass = 0.0;
            let enough = weights.iter().position(|w| {
                mass += w.1;
                mass >= wanted
            });
            weights.truncate(enough.map_or(weights.len(), |last| last + 1));
        }
        // An f64 holds 53 bits exactly: a number in [0, 1).
        let unit = (self.bits(side, position) >> 11) as f64 / (1u64 << 53) as f64;
        let mut left = unit * mass;
        let drawn = weights.iter().find(|w| {
            left -= w.1;
            left < 0.0
        });
        // Rounding may leave a little mass at the end; then the last token is drawn.
        let last = || weights.iter().rfind(|w| w.1 > 0.0);
        drawn.or_else(last).map_or(step.token, |w| w.0 as TokenId)
    }
}

impl fmt::Display for Sampling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sampling { temperature, top_p, seed } = self;
        write!(f, "temperature {temperature}, top-p {top_p}, seed {seed}")
    }
}

impl Step {
    /// The model's token at `position` (tokens before it, prompt included): drawn with
    /// `sampling`, greedy without. A draw needs a step with logits.
    #[must_use]
    pub fn said(&self, sampling: Option<Sampling>, side: Side, position: usize) -> TokenId {
        sampling.map_or(self.token, |sampling| sampling.draw(self, side, position))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGITS: [f32; 6] = [1.0, -0.5, 2.0, 0.0, 2.0, -3.0];

    fn step(logits: &[f32]) -> Step {
        let token = 2;
        let logits = Some(logits.to_vec());
        Step {
            token,
            top: Vec::new(),
            top_logits: Vec::new(),
            entropy: 0.0,
            rest: 1.0,
            hidden: [].into(),
            logits,
        }
    }

    fn sampling(temperature: f64, top_p: f64, seed: u64) -> Sampling {
        Sampling::new(temperature, top_p, seed).expect("in range").expect("not greedy")
    }

    /// How often each token is drawn at many positions.
    fn counts(sampling: Sampling, side: Side, draws: usize) -> [usize; 6] {
        let step = step(&LOGITS);
        let mut counts = [0; 6];
        for position in 0..draws {
            counts[step.said(Some(sampling), side, position) as usize] += 1;
        }
        counts
    }

    /// The probability of each token if top-p leaves `tokens`, computed directly.
    fn expected(temperature: f64, tokens: &[usize]) -> [f64; 6] {
        let mut p = [0.0; 6];
        tokens.iter().for_each(|&t| p[t] = (f64::from(LOGITS[t]) / temperature).exp());
        let sum: f64 = p.iter().sum();
        p.map(|x| x / sum)
    }

    #[test]
    fn tokens_come_as_often_as_their_probability_says() {
        const DRAWS: usize = 4000;
        for (temperature, top_p, tokens) in [
            (1.0, 1.0, &[0, 1, 2, 3, 4, 5][..]),
            (0.5, 1.0, &[0, 1, 2, 3, 4, 5]),
            (2.0, 1.0, &[0, 1, 2, 3, 4, 5]),
            // 2 and 4 have 0.378 each, 0 has 0.139 and 3 has 0.051.
            (1.0, 0.8, &[2, 4, 0]),
            (1.0, 0.5, &[2, 4]),
            (1.0, 0.3, &[2]),
        ] {
            for (seed, side) in [(0, Side::Slm), (7, Side::Llm), (u64::MAX, Side::Slm)] {
                let found = counts(sampling(temperature, top_p, seed), side, DRAWS);
                let p = expected(temperature, tokens);
                let chi: f64 = (0..6)
                    .filter(|&t| p[t] > 0.0)
                    .map(|t| {
                        (found[t] as f64 - p[t] * DRAWS as f64).powi(2) / (p[t] * DRAWS as f64)
                    })
                    .sum();
                assert!((0..6).all(|t| p[t] > 0.0 || found[t] == 0), "{found:?}");
                // The 0.999 quantile for 5 degrees of freedom; the draws never change.
                assert!(chi < 20.5, "{chi} at {temperature}, {top_p}, {seed}: {found:?}");
            }
        }
    }

    #[test]
    fn a_draw_is_a_function_of_seed_side_position_and_logits() {
        let said = |seed, side, position| {
            step(&LOGITS).said(Some(sampling(1.0, 1.0, seed)), side, position)
        };
        let run = |seed, side| (0..64).map(|i| said(seed, side, i)).collect::<Vec<_>>();
        assert_eq!(run(3, Side::Slm), run(3, Side::Slm));
        assert_ne!(run(3, Side::Slm), run(3, Side::Llm));
        assert_ne!(run(3, Side::Slm), run(4, Side::Slm));
        assert_ne!(run(3, Side::Slm)[1..], run(3, Side::Slm)[..63]);
        // The generator's bits are fixed: a seed gives the same tokens in every version.
        assert_eq!(run(3, Side::Slm)[..12], [4, 2, 4, 2, 2, 2, 2, 2, 2, 3, 4, 4]);
    }

    #[test]
    fn near_0_and_with_little_of_the_mass_the_best_is_drawn() {
        let logits = [0.5, 3.0, 2.999, -7.0];
        for position in 0..200 {
            for sampling in
                [sampling(1e-5, 1.0, 1), sampling(1e-300, 0.5, 1), sampling(2.0, 1e-9, 1)]
            {
                assert_eq!(step(&logits).said(Some(sampling), Side::Llm, position), 1);
            }
        }
        assert_eq!(step(&logits).said(None, Side::Llm, 0), 2, "greedy is the step's own token");
    }

    #[test]
    fn values_that_say_nothing_are_named() {
        for t in [-0.1, 2.1, f64::NAN, f64::INFINITY] {
            let error = Sampling::new(t, 1.0, 0).expect_err("refused").to_string();
            assert!(error.contains(&format!("temperature is {t}; expected 0")), "{error}");
        }
        for p in [0.0, -1.0, 1.1, f64::NAN] {
            let error = Sampling::new(1.0, p, 0).expect_err("refused").to_string();
            assert!(error.contains(&format!("top_p is {p}")), "{error}");
        }
        assert_eq!(Sampling::new(0.0, 0.5, 9), Ok(None));
        assert_eq!(sampling(0.5, 1.0, 9).to_string(), "temperature 0.5, top-p 1, seed 9");
    }

    #[test]
    fn seeds_of_calls_differ_and_fit_everywhere() {
        let sampling = sampling(1.0, 1.0, 5);
        let seeds: std::collections::BTreeSet<u32> =
            (0..500).map(|i| sampling.call_seed(i)).collect();
        assert_eq!(seeds.len(), 500);
        assert!(seeds.iter().all(|&s| s < 1 << 31));
    }
}
