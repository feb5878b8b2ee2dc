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
    /// s(x) + f(x). f and s give as many numbers.
    Residual {
        /// The operators of f.
        operators: Vec<Operator>,
        /// The operators of s. Without them s(x) = x.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        skip: Vec<Operator>,
    },
    /// (x − m) / √(v + 1e-5) · w + b with mean m and variance v of all numbers (layer norm, Ba et
    /// al. 2016, as in PyTorch).
    LayerNorm {
        /// Numbers read and given.
        width: usize,
    },
    /// exp(x) / Σ exp(x).
    Softmax,
    /// One number names a row of a table, such as the embedding of a token. No row has a bias.
    Embedding {
        /// Rows of the table.
        rows: usize,
        /// Numbers given.
        width: usize,
    },
    /// A gated recurrent unit over the steps of an answer (Cho et al. 2014, as in PyTorch). It gives
    /// its state after the step. The state before the first step is 0.
    ///
    /// r = σ(W_r x + b_r + U_r h + c_r), z = σ(W_z x + b_z + U_z h + c_z),
    /// n = tanh(W_n x + b_n + r · (U_n h + c_n)), h ← (1 − z) · n + z · h.
    Gru {
        /// Numbers read.
        inputs: usize,
        /// Numbers of the state.
        width: usize,
    },
    /// Consecutive parts of x, each through operators of its own, one after another.
    Parts {
        /// The parts, first to last.
        parts: Vec<OperatorPart>,
    },
}

/// A part of the numbers, and what it goes through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorPart {
    /// Numbers read.
    pub inputs: usize,
    /// Without operators the part stays as it is.
    pub operators: Vec<Operator>,
}

/// What the weights of an operator are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightKind {
    /// A matrix and a bias.
    Linear,
    /// A factor and a bias for each number.
    Scale,
    /// A table without a bias.
    Table,
}

/// The tensors of an operator that has weights: `layers.{i}.weight` and `layers.{i}.bias`, where
/// i counts such operators from the first to the last. Those of a residual (first those of s) and
/// of parts count in their place. A recurrent unit has two: W `[3 width, inputs]` with b, and U
/// `[3 width, width]` with c, in the order r, z, n.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightShape {
    /// What they are.
    pub kind: WeightKind,
    /// `[outputs, inputs]` of a linear operator, `[width]` of an affine one or a layer norm,
    /// `[rows, width]` of an embedding.
    pub weight: Vec<usize>,
    /// Length of the bias. An embedding has 0 and no such tensor.
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
    /// Calls `of` with every operator that has weights, in the order of the file.
    fn each_with_weights(operators: &[Operator], of: &mut dyn FnMut(&Operator)) {
        for operator in operators {
            match operator {
                Operator::Linear { .. }
                | Operator::Affine { .. }
                | Operator::LayerNorm { .. }
                | Operator::Gru { .. }
                | Operator::Embedding { .. } => of(operator),
                Operator::Activation { .. } | Operator::Softmax => {}
                Operator::Residual { operators, skip } => {
                    Operator::each_with_weights(skip, of);
                    Operator::each_with_weights(operators, of);
                }
                Operator::Parts { parts } => {
                    for part in parts {
                        Operator::each_with_weights(&part.operators, of);
                    }
                }
            }
        }
    }

    /// The tensors of some operators, in the order of their use.
    #[must_use]
    pub fn weights(operators: &[Operator]) -> Vec<WeightShape> {
        let mut shapes = Vec::new();
        Operator::each_with_weights(operators, &mut |operator| {
            let (kind, weight, bias) = match *operator {
                Operator::Linear { inputs, outputs } => {
                    (WeightKind::Linear, vec![outputs, inputs], outputs)
                }
                Operator::Affine { width } | Operator::LayerNorm { width } => {
                    (WeightKind::Scale, vec![width], width)
                }
                Operator::Embedding { rows, width } => (WeightKind::Table, vec![rows, width], 0),
                Operator::Gru { inputs, width } => {
                    let gates = width.saturating_mul(3);
                    let weight = vec![gates, inputs];
                    shapes.push(WeightShape { kind: WeightKind::Linear, weight, bias: gates });
                    (WeightKind::Linear, vec![gates, width], gates)
                }
                _ => return,
            };
            shapes.push(WeightShape { kind, weight, bias });
        });
        shapes
    }

    /// Whether some operator keeps a state from step to step.
    #[must_use]
    pub fn remembers(operators: &[Operator]) -> bool {
        let mut found = false;
        Operator::each_with_weights(operators, &mut |operator| {
            found |= matches!(operator, Operator::Gru { .. });
        });
        found
    }

    /// Bytes of the states that recurrent units keep from step to step.
    #[must_use]
    pub fn state_bytes(operators: &[Operator]) -> usize {
        let mut bytes = 0_usize;
        Operator::each_with_weights(operators, &mut |operator| {
            if let Operator::Gru { width, .. } = operator {
                let state = width.saturating_mul(size_of::<f32>());
                bytes = bytes.saturating_add(state).saturating_add(size_of::<Vec<f32>>());
            }
        });
        bytes
    }

    /// How many numbers the operators make of `width`.
    ///
    /// # Errors
    /// The first operator that does not fit, and why.
    pub fn width_after(operators: &[Operator], width: usize) -> Result<usize, String> {
        let mut now = width;
        for (i, operator) in operators.iter().enumerate() {
            now = operator.width_of(now).map_err(|what| format!("operator {i} {what}"))?;
        }
        Ok(now)
    }

    /// How many numbers the operator makes of `now`.
    fn width_of(&self, now: usize) -> Result<usize, String> {
        match self {
            _ if now == 0 => Err("reads no numbers; expected 1 at least".to_owned()),
            Operator::Linear { inputs, outputs } if *inputs == now && *outputs > 0 => Ok(*outputs),
            Operator::Linear { inputs, outputs } => Err(format!(
                "is linear from {inputs} to {outputs} numbers; expected from {now}, to 1 at least"
            )),
            Operator::Affine { width } | Operator::LayerNorm { width } if *width == now => Ok(now),
            Operator::Affine { width } => {
                Err(format!("is affine over {width} numbers; expected {now}"))
            }
            Operator::LayerNorm { width } => {
                Err(format!("is a layer norm over {width} numbers; expected {now}"))
            }
            Operator::Activation { .. } | Operator::Softmax => Ok(now),
            Operator::Gru { inputs, width } if *inputs == now && *width > 0 => Ok(*width),
            Operator::Gru { inputs, width } => Err(format!(
                "is a recurrent unit from {inputs} to {width} numbers; expected from {now}, to 1 at least"
            )),
            Operator::Residual { operators, skip } => {
                let within = |error| format!("is a residual: {error}");
                let given = Operator::width_after(operators, now).map_err(within)?;
                let kept = Operator::width_after(skip, now).map_err(within)?;
                if given != kept {
                    return Err(format!("adds {given} numbers to {kept}; expected as many"));
                }
                Ok(given)
            }
            Operator::Embedding { rows, width } if now == 1 && *rows > 0 && *width > 0 => {
                Ok(*width)
            }
            Operator::Embedding { rows, width } => Err(format!(
                "looks up one of {rows} rows of {width} numbers for {now} numbers; expected 1 number, and a table that is not empty"
            )),
            Operator::Parts { parts } => {
                let (mut read, mut given) = (0usize, 0usize);
                for (i, part) in parts.iter().enumerate() {
                    read = read.saturating_add(part.inputs);
                    let width = Operator::width_after(&part.operators, part.inputs)
                        .map_err(|error| format!("has the part {i}: {error}"))?;
                    given = given.saturating_add(width);
                }
                if read != now {
                    return Err(format!("has parts of {read} numbers; expected {now}"));
                }
                Ok(given)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_and_tensors_follow_the_operators() {
        let linear = |inputs, outputs| Operator::Linear { inputs, outputs };
        let block = vec![Operator::Affine { width: 4 }, linear(4, 4)];
        let head =
            [linear(7, 4), Operator::Residual { operators: block, skip: vec![] }, linear(4, 1)];
        assert_eq!(Operator::width_after(&head, 7), Ok(1));
        let shapes: Vec<Vec<usize>> =
            Operator::weights(&head).into_iter().map(|shape| shape.weight).collect();
        assert_eq!(shapes, [vec![4, 7], vec![4], vec![4, 4], vec![1, 4]]);
        for (operators, width, cause) in [
            (vec![linear(7, 4)], 6, "expected from 6"),
            (vec![Operator::Affine { width: 3 }], 7, "expected 7"),
            (
                vec![Operator::Residual { operators: vec![linear(7, 2)], skip: vec![] }],
                7,
                "adds 2 numbers to 7",
            ),
            (vec![Operator::Embedding { rows: 9, width: 3 }], 2, "for 2 numbers; expected 1"),
            (
                vec![Operator::Gru { inputs: 6, width: 3 }],
                7,
                "from 6 to 3 numbers; expected from 7",
            ),
            (vec![Operator::LayerNorm { width: 3 }], 7, "layer norm over 3 numbers; expected 7"),
            (vec![linear(0, 3)], 0, "operator 0 reads no numbers"),
        ] {
            let error = Operator::width_after(&operators, width).expect_err(cause);
            assert!(error.contains(cause), "{error}");
        }
    }

    #[test]
    fn a_recurrent_unit_has_two_matrices_and_a_state() {
        let head =
            [Operator::Gru { inputs: 7, width: 2 }, Operator::Linear { inputs: 2, outputs: 1 }];
        assert_eq!(Operator::width_after(&head, 7), Ok(1));
        let shapes: Vec<_> =
            Operator::weights(&head).into_iter().map(|shape| (shape.weight, shape.bias)).collect();
        assert_eq!(shapes, [(vec![6, 7], 6), (vec![6, 2], 6), (vec![1, 2], 1)]);
        assert!(Operator::remembers(&head) && !Operator::remembers(&head[1..]));
        let bytes = |head: &[Operator]| Operator::state_bytes(head);
        assert_eq!((bytes(&head), bytes(&head[1..])), (2 * 4 + size_of::<Vec<f32>>(), 0));
        let within = Operator::Residual { operators: vec![head[0].clone()], skip: vec![] };
        assert!(Operator::remembers(&[within]));
        let json = serde_json::to_string(&head[0]).expect("JSON");
        assert_eq!(json, r#"{"op":"gru","inputs":7,"width":2}"#);
    }

    #[test]
    fn parts_are_read_one_after_another_and_joined() {
        let linear = |inputs, outputs| Operator::Linear { inputs, outputs };
        let part = |inputs, operators| OperatorPart { inputs, operators };
        let parts = |token| {
            vec![Operator::Parts {
                parts: vec![
                    part(4, vec![]),
                    part(token, vec![Operator::Embedding { rows: 10, width: 3 }]),
                    part(2, vec![Operator::Softmax, linear(2, 5)]),
                ],
            }]
        };
        assert_eq!(Operator::width_after(&parts(1), 7), Ok(12));
        let shapes = Operator::weights(&parts(1));
        assert_eq!((shapes[0].kind, shapes[0].bias), (WeightKind::Table, 0));
        assert_eq!((shapes[1].kind, &shapes[1].weight), (WeightKind::Linear, &vec![5, 2]));
        let error = Operator::width_after(&parts(1), 8).expect_err("one number too few");
        assert!(error.contains("parts of 7 numbers; expected 8"), "{error}");
        let nothing = Operator::Parts { parts: vec![part(3, vec![]), part(0, vec![linear(0, 1)])] };
        let error = Operator::width_after(&[nothing], 3).expect_err("a part of nothing");
        assert!(error.contains("the part 1: operator 0 reads no numbers"), "{error}");
        let error = Operator::width_after(&parts(2), 8).expect_err("two tokens");
        assert!(error.contains("the part 1: operator 0 looks up"), "{error}");
    }

    #[test]
    fn a_residual_may_change_the_width_on_both_ways() {
        let linear = |inputs, outputs| Operator::Linear { inputs, outputs };
        let block = Operator::Residual {
            operators: vec![Operator::LayerNorm { width: 4 }, linear(4, 2)],
            skip: vec![linear(4, 2)],
        };
        let shapes: Vec<Vec<usize>> =
            Operator::weights(std::slice::from_ref(&block)).into_iter().map(|s| s.weight).collect();
        assert_eq!(shapes, [vec![2, 4], vec![4], vec![2, 4]], "the way past the block is first");
        assert_eq!(Operator::width_after(&[block], 4), Ok(2));
    }
}
