//! Several matrices stacked by rows and read as one.

use crate::LoadError;
use crate::weights::WeightSource;

/// Tensors with the same inputs, one below the other, and their biases.
pub(crate) struct Stack<'a> {
    source: &'a dyn WeightSource,
    inputs: usize,
    /// Checked tensors and the number of rows that each adds.
    parts: Vec<(String, usize)>,
    bias: Option<Vec<f32>>,
}

impl<'a> Stack<'a> {
    pub(crate) fn new(source: &'a dyn WeightSource, inputs: usize, bias: bool) -> Self {
        Stack { source, inputs, parts: Vec::new(), bias: bias.then(Vec::new) }
    }

    /// Adds `{module}.weight` `[outputs, inputs]` and, with biases, `{module}.bias`.
    pub(crate) fn push(&mut self, module: &str, outputs: usize) -> Result<(), LoadError> {
        let weight = format!("{module}.weight");
        self.source.check(&weight, &[outputs, self.inputs])?;
        if let Some(bias) = &mut self.bias {
            bias.extend(self.source.tensor(&format!("{module}.bias"), &[outputs])?);
        }
        self.parts.push((weight, outputs));
        Ok(())
    }

    /// Adds the first rows of a checked tensor.
    pub(crate) fn push_rows(&mut self, tensor: &str, rows: usize) {
        self.parts.push((tensor.to_owned(), rows));
    }

    pub(crate) fn inputs(&self) -> usize {
        self.inputs
    }

    /// Rows of all parts.
    pub(crate) fn outputs(&self) -> usize {
        self.parts.iter().map(|part| part.1).sum()
    }

    /// Checked tensors and the number of rows that each adds.
    pub(crate) fn parts(&self) -> &[(String, usize)] {
        &self.parts
    }

    /// `[outputs]`, if there are biases.
    pub(crate) fn bias(&self) -> Option<&[f32]> {
        self.bias.as_deref()
    }

    /// Reads rows of the stack from `first` on, and refuses NaN and infinity.
    pub(crate) fn rows(&self, mut first: usize, mut out: &mut [f32]) -> Result<(), LoadError> {
        for (tensor, outputs) in &self.parts {
            if first >= *outputs {
                first -= outputs;
                continue;
            }
            let here = (outputs - first).min(out.len() / self.inputs);
            let (rows, rest) = out.split_at_mut(here * self.inputs);
            self.source.finite_rows(tensor, first, self.inputs, rows)?;
            out = rest;
            first = 0;
            if out.is_empty() {
                break;
            }
        }
        Ok(())
    }
}
