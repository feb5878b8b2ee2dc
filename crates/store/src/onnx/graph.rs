//! A graph as it grows: nodes, constants, and the operators of a router's head.

use std::slice;

use tokenroute_core::{Activation, Operator};

use super::message::{Attribute, DOUBLE, FLOAT, INT, INT64, Node, Tensor};
use crate::RouterLayer;

/// Nodes and constants. Values are named by numbers, in the order they are made.
pub(super) struct Builder<'l> {
    pub(super) nodes: Vec<Node>,
    pub(super) tensors: Vec<Tensor>,
    /// The weights that are not used yet.
    layers: slice::Iter<'l, RouterLayer>,
    values: usize,
}

impl<'l> Builder<'l> {
    pub(super) fn new(layers: &'l [RouterLayer]) -> Self {
        let (nodes, tensors) = (Vec::new(), Vec::new());
        Builder { nodes, tensors, layers: layers.iter(), values: 0 }
    }

    /// A node with one output, whose name is returned.
    pub(super) fn node(&mut self, op: &str, inputs: &[&str]) -> String {
        self.node_with(op, inputs, &[])
    }

    /// The same with integer attributes.
    pub(super) fn node_with(&mut self, op: &str, inputs: &[&str], with: &[(&str, i64)]) -> String {
        let output = format!("value.{}", self.values);
        self.values += 1;
        let attribute =
            |&(name, i): &(&str, i64)| Attribute { name: name.into(), i: Some(i), kind: INT };
        self.nodes.push(Node {
            input: inputs.iter().map(|&name| name.to_owned()).collect(),
            output: vec![output.clone()],
            op_type: op.to_owned(),
            attribute: with.iter().map(attribute).collect(),
        });
        output
    }

    /// Gives the output of the last node this name.
    pub(super) fn name_last(&mut self, name: &str) {
        if let Some(node) = self.nodes.last_mut() {
            node.output = vec![name.to_owned()];
        }
    }

    /// A constant of 32-bit floats.
    pub(super) fn floats(&mut self, dims: &[usize], values: &[f32]) -> String {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.constant(dims, FLOAT, bytes)
    }

    /// A number as a 64-bit float.
    pub(super) fn double(&mut self, value: f64) -> String {
        self.constant(&[], DOUBLE, value.to_le_bytes().to_vec())
    }

    /// A list of integers.
    pub(super) fn integers(&mut self, values: &[i64]) -> String {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.constant(&[values.len()], INT64, bytes)
    }

    fn constant(&mut self, dims: &[usize], data_type: i32, raw_data: Vec<u8>) -> String {
        let name = format!("constant.{}", self.tensors.len());
        let dims = dims.iter().map(|&n| n as i64).collect();
        self.tensors.push(Tensor { dims, data_type, name: name.clone(), raw_data });
        name
    }

    /// A head's operators on `x` `[rows, width]`. `None` if weights are missing, which the check of
    /// a router file rules out.
    pub(super) fn operators(
        &mut self,
        operators: &[Operator],
        x: &str,
        mut width: usize,
    ) -> Option<(String, usize)> {
        let mut x = x.to_owned();
        for operator in operators {
            (x, width) = self.operator(operator, &x, width)?;
        }
        Some((x, width))
    }

    fn operator(&mut self, operator: &Operator, x: &str, now: usize) -> Option<(String, usize)> {
        Some(match operator {
            &Operator::Linear { inputs, outputs } => {
                let RouterLayer { weight, bias } = self.layers.next()?;
                let weight = self.floats(&[outputs, inputs], weight);
                let bias = self.floats(&[outputs], bias);
                (self.node_with("Gemm", &[x, &weight, &bias], &[("transB", 1)]), outputs)
            }
            Operator::Affine { .. } => {
                let (weight, bias) = self.scale(now)?;
                let scaled = self.node("Mul", &[x, &weight]);
                (self.node("Add", &[&scaled, &bias]), now)
            }
            Operator::LayerNorm { .. } => {
                let (weight, bias) = self.scale(now)?;
                // Its ε is 1e-5 unless stated.
                (self.node("LayerNormalization", &[x, &weight, &bias]), now)
            }
            Operator::Activation { activation } => (self.activation(*activation, x), now),
            Operator::Softmax => (self.node("Softmax", &[x]), now),
            Operator::Residual { operators, skip } => {
                let (kept, _) = self.operators(skip, x, now)?;
                let (given, width) = self.operators(operators, x, now)?;
                (self.node("Add", &[&kept, &given]), width)
            }
            &Operator::Embedding { rows, width } => {
                let RouterLayer { weight, .. } = self.layers.next()?;
                let table = self.floats(&[rows, width], weight);
                let axis = self.integers(&[1]);
                let id = self.node_with("Cast", &[x], &[("to", i64::from(INT64))]);
                let id = self.node("Squeeze", &[&id, &axis]); // [rows]
                (self.node("Gather", &[&table, &id]), width)
            }
            // Refused before.
            Operator::Gru { .. } => return None,
            Operator::Parts { parts } => {
                let axis = self.integers(&[1]);
                let (mut from, mut joined, mut total) = (0, Vec::new(), 0);
                for part in parts {
                    let ends = [from, from + part.inputs].map(|at| self.integers(&[at as i64]));
                    from += part.inputs;
                    let slice = self.node("Slice", &[x, &ends[0], &ends[1], &axis]);
                    let (given, width) = self.operators(&part.operators, &slice, part.inputs)?;
                    joined.push(given);
                    total += width;
                }
                let joined: Vec<&str> = joined.iter().map(String::as_str).collect();
                (self.node_with("Concat", &joined, &[("axis", 1)]), total)
            }
        })
    }

    /// The next factors and biases `[width]`.
    fn scale(&mut self, width: usize) -> Option<(String, String)> {
        let RouterLayer { weight, bias } = self.layers.next()?;
        Some((self.floats(&[width], weight), self.floats(&[width], bias)))
    }

    fn activation(&mut self, activation: Activation, x: &str) -> String {
        match activation {
            Activation::Relu => self.node("Relu", &[x]),
            // 0.5 · x · (1 + erf(x / √2)): ONNX's own Gelu is newer than many run-times.
            Activation::Gelu => {
                let [root, one, half] = [std::f32::consts::FRAC_1_SQRT_2, 1.0, 0.5]
                    .map(|value| self.floats(&[], &[value]));
                let inner = self.node("Mul", &[x, &root]);
                let inner = self.node("Erf", &[&inner]);
                let inner = self.node("Add", &[&inner, &one]);
                let inner = self.node("Mul", &[x, &inner]);
                self.node("Mul", &[&inner, &half])
            }
            Activation::Silu => {
                let gate = self.node("Sigmoid", &[x]);
                self.node("Mul", &[x, &gate])
            }
        }
    }
}
