//! Constants of the rotary embedding and the frequencies that follow from them.

/// Base and scaling of the rotary frequencies.
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// Base of the frequencies, θ.
    pub theta: f64,
    /// How frequencies are stretched for longer contexts.
    pub scaling: RopeScaling,
}

/// Scaling of the rotary frequencies, named as in `config.json`.
#[derive(Debug, Clone, PartialEq)]
pub enum RopeScaling {
    /// `default`: θ^(−2i/d) as they are.
    Default,
    /// `linear`: all frequencies divided by a factor.
    Linear {
        /// The divisor.
        factor: f64,
    },
    /// `llama3`: frequencies of long waves divided, those of short waves kept, those between
    /// blended (transformers' `_compute_llama3_parameters`).
    Llama3 {
        /// The divisor of long waves.
        factor: f64,
        /// Waves longer than the original context / this factor are divided.
        low_freq_factor: f64,
        /// Waves shorter than the original context / this factor are kept.
        high_freq_factor: f64,
        /// Context of the first training.
        original_max_position_embeddings: f64,
    },
    /// `longrope`: each frequency divided by a factor of its own, and cosines and sines times one
    /// (transformers' `_compute_longrope_parameters`). The factors are those of sequences up to the
    /// context of the first training.
    LongRope {
        /// The divisors.
        short_factor: Vec<f64>,
        /// The factor of cosines and sines.
        attention_factor: f64,
    },
}

impl Rope {
    /// Checks the constants. The error is the first one that is out of range, by name.
    pub(crate) fn check(&self, rotary_dim: usize) -> Result<(), (&'static str, f64)> {
        let mut constants = vec![("rope_theta", self.theta)];
        match &self.scaling {
            RopeScaling::Default => {}
            RopeScaling::Linear { factor } => constants.push(("rope factor", *factor)),
            RopeScaling::LongRope { short_factor, attention_factor } => {
                constants.push(("rope attention_factor", *attention_factor));
                constants.extend(short_factor.iter().map(|factor| ("rope short_factor", *factor)));
                if short_factor.len() != rotary_dim / 2 {
                    return Err(("number of rope short_factor", short_factor.len() as f64));
                }
            }
            &RopeScaling::Llama3 {
                factor,
                low_freq_factor: low,
                high_freq_factor: high,
                original_max_position_embeddings: original,
            } => constants.extend([
                ("rope factor", factor),
                ("rope low_freq_factor", low),
                // Zero or less, and so refused, if there is no band between the two.
                ("rope high_freq_factor", if high > low { high } else { low - high }),
                ("rope original_max_position_embeddings", original),
            ]),
        }
        let usable = |value: f64| value.is_finite() && value > 0.0;
        constants.into_iter().find(|c| !usable(c.1)).map_or(Ok(()), Err)
    }

    /// The factor of cosines and sines.
    pub(crate) fn attention_factor(&self) -> f32 {
        match self.scaling {
            RopeScaling::LongRope { attention_factor, .. } => attention_factor as f32,
            _ => 1.0,
        }
    }

    /// The `rotary_dim / 2` angles between neighbouring positions, in radians. θ^(−2i/d) is
    /// rounded to f32 before it is scaled, as transformers does.
    pub(crate) fn frequencies(&self, rotary_dim: usize) -> Vec<f32> {
        let powers =
            (0..rotary_dim / 2).map(|i| self.theta.powf((2 * i) as f64 / rotary_dim as f64) as f32);
        let plain = powers.clone().map(|power| 1.0 / power);
        match &self.scaling {
            RopeScaling::Default => plain.collect(),
            RopeScaling::Linear { factor } => plain.map(|f| f / *factor as f32).collect(),
            RopeScaling::LongRope { short_factor, .. } => {
                powers.zip(short_factor).map(|(p, &factor)| 1.0 / (factor as f32 * p)).collect()
            }
            &RopeScaling::Llama3 {
                factor,
                low_freq_factor: low,
                high_freq_factor: high,
                original_max_position_embeddings: original,
            } => plain
                .map(|frequency| {
                    let f = f64::from(frequency);
                    // Number of waves that fit into the original context.
                    let waves = original * f / std::f64::consts::TAU;
                    let kept = ((waves - low) / (high - low)).clamp(0.0, 1.0);
                    (kept * f + (1.0 - kept) * f / factor) as f32
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn llama3_keeps_short_waves_divides_long_ones_and_blends_between() {
        let plain = Rope { theta: 500_000.0, scaling: RopeScaling::Default }.frequencies(128);
        let scaling = RopeScaling::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position_embeddings: 8192.0,
        };
        let scaled = Rope { theta: 500_000.0, scaling }.frequencies(128);
        // transformers' numbers for Llama 3.1.
        assert_eq!(scaled[..29], plain[..29]);
        assert!(scaled[29] < plain[29] && scaled[34] > plain[34] / 8.0);
        for (a, b) in plain[36..].iter().zip(&scaled[36..]) {
            assert!((a / 8.0 - b).abs() <= 1e-7 * a);
        }
    }

    #[test]
    fn constants_out_of_range_are_named() {
        let llama3 = |low, high| RopeScaling::Llama3 {
            factor: 8.0,
            low_freq_factor: low,
            high_freq_factor: high,
            original_max_position_embeddings: 32.0,
        };
        let check = |theta, scaling| Rope { theta, scaling }.check(32).map_err(|bad| bad.0);
        assert_eq!(check(1e4, llama3(1.0, 4.0)), Ok(()));
        assert_eq!(check(1e4, llama3(4.0, 4.0)), Err("rope high_freq_factor"));
        assert_eq!(check(-1.0, RopeScaling::Default), Err("rope_theta"));
        let nan = RopeScaling::Linear { factor: f64::NAN };
        assert_eq!(check(1e4, nan), Err("rope factor"));
    }
}
