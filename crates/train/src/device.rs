//! Maps `--device` names to Burn devices.

use burn::tensor::Device;

use crate::TrainError;

/// The names of the backends in this build, the default first.
#[must_use]
pub fn backends() -> Vec<&'static str> {
    let mut names = Vec::new();
    if cfg!(feature = "flex") {
        names.push("flex");
    }
    if cfg!(feature = "ndarray") {
        names.push("ndarray");
    }
    if cfg!(feature = "wgpu") {
        names.push("wgpu");
    }
    names
}

/// The device of that name.
///
/// # Errors
/// A name that is not among [`backends`].
pub fn device(name: &str) -> Result<Device, TrainError> {
    match name {
        #[cfg(feature = "flex")]
        "flex" => Ok(Device::flex()),
        #[cfg(feature = "ndarray")]
        #[expect(deprecated, reason = "offered until Burn drops it; flex is the default")]
        "ndarray" => Ok(Device::ndarray()),
        #[cfg(feature = "wgpu")]
        "wgpu" => Ok(Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)),
        other => Err(TrainError::Device(other.to_owned())),
    }
}
