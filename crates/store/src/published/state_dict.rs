//! A state dict whose tensors are taken one by one, so that none is overlooked.

use std::collections::BTreeSet;

use safetensors::tensor::{SafeTensors, TensorView};

use crate::floats::floats;

/// The tensors of a file.
pub(super) struct StateDict<'b> {
    tensors: SafeTensors<'b>,
    taken: BTreeSet<String>,
}

impl<'b> StateDict<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Result<Self, String> {
        let tensors = SafeTensors::deserialize(bytes).map_err(|error| {
            format!("{error}; expected safetensors, as `safetensors.torch.save_file` writes them")
        })?;
        Ok(StateDict { tensors, taken: BTreeSet::new() })
    }

    /// Whether there is such a tensor.
    pub(super) fn has(&self, name: &str) -> bool {
        self.tensors.tensor(name).is_ok()
    }

    /// A matrix of `columns`: the number of its rows, and its values.
    pub(super) fn matrix(
        &mut self,
        name: &str,
        columns: usize,
    ) -> Result<(usize, Vec<f32>), String> {
        match self.shape(name)?[..] {
            [rows, found] if found == columns && rows > 0 => Ok((rows, self.values(name)?)),
            ref other => Err(format!("{name} is {other:?}; expected [any, {columns}]")),
        }
    }

    /// The two sizes of a matrix.
    pub(super) fn size(&self, name: &str) -> Result<[usize; 2], String> {
        match self.shape(name)?[..] {
            [rows, columns] if rows > 0 && columns > 0 => Ok([rows, columns]),
            ref other => Err(format!("{name} is {other:?}; expected a matrix")),
        }
    }

    /// A vector of this length.
    pub(super) fn vector(&mut self, name: &str, length: usize) -> Result<Vec<f32>, String> {
        match self.shape(name)?[..] {
            [found] if found == length => self.values(name),
            ref other => Err(format!("{name} is {other:?}; expected [{length}]")),
        }
    }

    /// Leaves a tensor unread, if it is there.
    pub(super) fn pass(&mut self, name: &str) {
        self.taken.insert(name.to_owned());
    }

    /// Refuses tensors that were not taken.
    pub(super) fn finish(self) -> Result<(), String> {
        let mut names: Vec<String> = self.tensors.names().into_iter().map(str::to_owned).collect();
        names.sort();
        match names.into_iter().find(|name| !self.taken.contains(name)) {
            Some(name) => Err(format!("{name} is unknown in this layout")),
            None => Ok(()),
        }
    }

    fn view(&self, name: &str) -> Result<TensorView<'_>, String> {
        self.tensors.tensor(name).map_err(|_| format!("it has no tensor {name}"))
    }

    fn shape(&self, name: &str) -> Result<Vec<usize>, String> {
        Ok(self.view(name)?.shape().to_vec())
    }

    fn values(&mut self, name: &str) -> Result<Vec<f32>, String> {
        let view = self.view(name)?;
        let values = floats(name, view.dtype(), view.data())?;
        self.taken.insert(name.to_owned());
        Ok(values)
    }
}
