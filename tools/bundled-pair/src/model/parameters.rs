//! Builds parameters by Hugging Face name, and lists them.

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::{Device, Tensor, TensorData};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::Qwen2;
use crate::error::PairError;

/// Returns the values of a tensor, given its Hugging Face name and shape.
pub type Values<'a> = &'a mut dyn FnMut(&str, &[usize]) -> Result<Vec<f32>, PairError>;

/// Makes parameters in a fixed order. Their ids are then the same in every process, so that a
/// saved optimizer state fits.
pub(crate) struct Builder<'a> {
    device: &'a Device,
    values: Values<'a>,
    next_id: u64,
}

impl<'a> Builder<'a> {
    pub(crate) fn new(device: &'a Device, values: Values<'a>) -> Self {
        Self { device, values, next_id: 1 }
    }

    pub(crate) fn vector(
        &mut self,
        name: &str,
        count: usize,
    ) -> Result<Param<Tensor<1>>, PairError> {
        self.tensor(name, [count])
    }

    pub(crate) fn matrix(
        &mut self,
        name: &str,
        shape: [usize; 2],
    ) -> Result<Param<Tensor<2>>, PairError> {
        self.tensor(name, shape)
    }

    fn tensor<const D: usize>(
        &mut self,
        name: &str,
        shape: [usize; D],
    ) -> Result<Param<Tensor<D>>, PairError> {
        let values = (self.values)(name, &shape)?;
        let expected: usize = shape.iter().product();
        if values.len() != expected {
            let reason = format!("{} values for shape {shape:?} ({expected})", values.len());
            return Err(PairError::Tensor { name: name.to_owned(), reason });
        }
        let tensor = Tensor::from_data(TensorData::new(values, shape), self.device);
        let (_, tensor, mapper) = Param::from_tensor(tensor).consume();
        let id = ParamId::from(self.next_id);
        self.next_id += 1;
        Ok(Param::from_mapped_value(id, tensor, mapper))
    }
}

/// A copy of one parameter of a decoder.
#[derive(Debug, Clone)]
pub struct NamedParameter {
    /// Hugging Face name, for example `model.layers.0.mlp.up_proj.weight`.
    pub name: String,
    /// Burn's id.
    pub id: ParamId,
    /// Shape in Hugging Face's layout.
    pub shape: Vec<usize>,
    /// Values, row-major.
    pub values: Vec<f32>,
}

impl Qwen2 {
    /// Copies all parameters, in a fixed order.
    #[must_use]
    pub fn named_parameters(&self) -> Vec<NamedParameter> {
        let mut lister = Lister { path: vec!["model".to_owned()], found: Vec::new() };
        self.visit(&mut lister);
        lister.found
    }
}

struct Lister {
    path: Vec<String>,
    found: Vec<NamedParameter>,
}

impl ModuleVisitor for Lister {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        self.found.push(NamedParameter {
            name: self.path.join("."),
            id: param.id,
            shape: tensor.dims().to_vec(),
            values: values(tensor),
        });
    }
}

/// Copies the values of an f32 tensor.
pub(crate) fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    let data = tensor.into_data();
    match data.as_slice::<f32>() {
        Ok(slice) => slice.to_vec(),
        Err(_) => data.iter::<f32>().collect(),
    }
}

/// Seeded normal numbers (Box-Muller), the same on every device.
pub(super) struct Normal(ChaCha8Rng);

impl Normal {
    pub(super) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    pub(super) fn take(&mut self, count: usize, deviation: f64) -> Vec<f32> {
        (0..count)
            .map(|_| {
                let radius = (-2.0 * (1.0 - self.0.random::<f64>()).ln()).sqrt();
                let angle = std::f64::consts::TAU * self.0.random::<f64>();
                #[expect(clippy::cast_possible_truncation, reason = "the model is f32")]
                let value = (deviation * radius * angle.cos()) as f32;
                value
            })
            .collect()
    }
}
