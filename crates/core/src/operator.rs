//! Operators: what a router's head is made of. A device runs a list of them, so a new head needs
//! no new code there.

use serde::{Deserialize, Serialize};

use crate::Activation;

/// One step of a head, from the features to a logit or two rewards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Operator {
    /// W · x + b with W `[outputs, inputs]`.
    Linear {
        /// Numbers read.
        inputs: usize,
        /// Numbers given.
        outputs: usize,
    },
    /// w · x + b for each number, as batch norm is after training.
    Affine {
        /// Numbers read and given.
        width: usize,
    },
    /// A function of each number.
    Activation {
        /// The function.
        activation: Activation,
    },
    /// x + f(x). f gives as many numbers as it reads.
    Residual {
        /// The operators of f.
        operators: Vec<Operator>,
    },
}

/// The tensors of an operator that has weights: `layers.{i}.weight` and `layers.{i}.bias`, where
/// i counts such operators from the first to the last, those of a residual among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightShape {
    /// `[outputs, inputs]` of a linear operator, `[width]` of an affine one.
    pub weight: Vec<usize>,
    /// Length of the bias.
    pub bias: usize,
}

impl WeightShape {
    /// Number of weights. Saturates, because a damaged file may hold any number.
    #[must_use]
    pub fn weights(&self) -> usize {
        self.weight.iter().fold(1, |product: usize, &n| product.saturating_mul(n))
    }
}

impl Operator {
    /// The tensors of some operators, in the order of their use.
    #[must_use]
    pub fn weights(operators: &[Operator]) -> Vec<WeightShape> {
        let mut shapes = Vec::new();
        for operator in operators {
            match operator {
                Operator::Linear { inputs, outputs } => {
                    shapes.push(WeightShape { weight: vec![*outputs, *inputs], bias: *outputs });
                }
                Operator::Affine { width } => {
                    shapes.push(WeightShape { weight: vec![*width], bias: *width });
                }
                Operator::Activation { .. } => {}
                Operator::Residual { operators } => shapes.extend(Operator::weights(operators)),
            }
        }
        shapes
    }

    /// How many numbers the operators make of `width`.
    ///
    /// # Errors
    /// The first operator that does not fit, and why.
    pub fn width_after(operators: &[Operator], width: usize) -> Result<usize, String> {
        let mut now = width;
        for (i, operator) in operators.iter().enumerate() {
            let bad = |what: String| Err(format!("operator {i} {what}"));
            match operator {
                Operator::Linear { inputs, outputs } if *inputs == now && *outputs > 0 => {
                    now = *outputs;
                }
                Operator::Linear { inputs, outputs } => {
                    return bad(format!(
                        "is linear from {inputs} to {outputs} numbers; expected from {now}, to 1 at least"
                    ));
                }
                Operator::Affine { width } if *width == now => {}
                Operator::Affine { width } => {
                    return bad(format!("is affine over {width} numbers; expected {now}"));
                }
                Operator::Activation { .. } => {}
                Operator::Residual { operators } => {
                    let given = Operator::width_after(operators, now)
                        .map_err(|error| format!("operator {i}, residual: {error}"))?;
                    if given != now {
                        return bad(format!("adds {given} numbers to {now}; expected as many"));
                    }
                }
            }
        }
        Ok(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_and_tensors_follow_the_operators() {
        let linear = |inputs, outputs| Operator::Linear { inputs, outputs };
        let block = vec![Operator::Affine { width: 4 }, linear(4, 4)];
        let head = [linear(7, 4), Operator::Residual { operators: block }, linear(4, 1)];
        assert_eq!(Operator::width_after(&head, 7), Ok(1));
        let shapes: Vec<Vec<usize>> =
            Operator::weights(&head).into_iter().map(|shape| shape.weight).collect();
        assert_eq!(shapes, [vec![4, 7], vec![4], vec![4, 4], vec![1, 4]]);
        for (operators, width, cause) in [
            (vec![linear(7, 4)], 6, "expected from 6"),
            (vec![Operator::Affine { width: 3 }], 7, "expected 7"),
            (vec![Operator::Residual { operators: vec![linear(7, 2)] }], 7, "adds 2 numbers to 7"),
        ] {
            let error = Operator::width_after(&operators, width).expect_err(cause);
            assert!(error.contains(cause), "{error}");
        }
    }
}
