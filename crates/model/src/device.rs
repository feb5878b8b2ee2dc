//! The devices that a decoder runs on, by their names.

use std::fmt;
use std::str::FromStr;

use tokenroute_kernels::Format;

use crate::{KvType, LoadError};

/// Where a decoder runs, and in which numbers.
///
/// [`Device::Kernels`] is this crate's own arithmetic, on the CPU. The others are candle's
/// devices: weights are held as f32 or bf16, whatever the file holds, and so are keys and values.
/// On them a step's hidden state and logits differ from those of [`Device::Kernels`] by rounding:
/// in f32 by less than 1e-4 where the file holds floats. They may also differ in their last bits
/// from one batch to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Device {
    /// This crate's kernels on the CPU, for f32 and quantised weights.
    #[default]
    Kernels,
    /// candle on the CPU, in f32.
    Cpu,
    /// candle on the first CUDA device, in bf16.
    Cuda,
    /// As [`Device::Cuda`], in f32.
    CudaF32,
    /// candle on the first Metal device, in bf16.
    Metal,
    /// As [`Device::Metal`], in f32.
    MetalF32,
}

/// A device that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no device {wanted:?}; expected {}", Device::ALL.map(Device::name).join(", "))]
pub struct UnknownDevice {
    /// The name that was given.
    pub wanted: String,
}

impl Device {
    /// All devices, the default first.
    pub const ALL: [Device; 6] = [
        Device::Kernels,
        Device::Cpu,
        Device::Cuda,
        Device::CudaF32,
        Device::Metal,
        Device::MetalF32,
    ];

    /// The name, as users write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Device::Kernels => "kernels",
            Device::Cpu => "cpu",
            Device::Cuda => "cuda",
            Device::CudaF32 => "cuda-f32",
            Device::Metal => "metal",
            Device::MetalF32 => "metal-f32",
        }
    }

    /// The cargo feature that builds it in, and whether this program has it.
    fn feature(self) -> Option<(&'static str, bool)> {
        match self {
            Device::Kernels => None,
            Device::Cpu => Some(("devices", cfg!(feature = "devices"))),
            Device::Cuda | Device::CudaF32 => Some(("cuda", cfg!(feature = "cuda"))),
            Device::Metal | Device::MetalF32 => Some(("metal", cfg!(feature = "metal"))),
        }
    }

    /// The number type of weights, keys and values on a device of candle; `None` for
    /// [`Device::Kernels`], where both have types of their own.
    #[must_use]
    pub const fn floats(self) -> Option<&'static str> {
        match self {
            Device::Kernels => None,
            Device::Cpu | Device::CudaF32 | Device::MetalF32 => Some("f32"),
            Device::Cuda | Device::Metal => Some("bf16"),
        }
    }

    /// Whether weights, keys and values are in the memory of a GPU.
    #[must_use]
    pub const fn is_gpu(self) -> bool {
        !matches!(self, Device::Kernels | Device::Cpu)
    }

    /// Checks that this program has the device, and that the device can hold weights and KV
    /// cache in these types.
    ///
    /// # Errors
    /// Names the cargo feature to build with, or the option to leave out.
    pub fn check(self, quantize: Option<Format>, kv: KvType) -> Result<(), LoadError> {
        if let Some((feature, false)) = self.feature() {
            return Err(LoadError::NoDevice { device: self.name(), feature });
        }
        let Some(floats) = self.floats() else { return Ok(()) };
        let refused = match (quantize, kv) {
            (Some(format), _) => format!("weights quantised to {format}"),
            (None, KvType::F32) => return Ok(()),
            (None, kv) => format!("a KV cache in {kv}"),
        };
        Err(LoadError::OnlyFloats { device: self.name(), floats, refused })
    }

    /// A name of weights with this device, where steps are not within rounding of those of
    /// [`Device::Kernels`]: bf16 on any model, and f32 on a GGUF file, whose blocks the kernels
    /// multiply in 8 bits.
    pub(crate) fn identify(self, weights: String, gguf: bool) -> String {
        match self.floats() {
            Some("f32") if !gguf => weights,
            Some(floats) => format!("{weights}+{floats}"),
            None => weights,
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Device {
    type Err = UnknownDevice;

    fn from_str(name: &str) -> Result<Self, UnknownDevice> {
        let known = Device::ALL.into_iter().find(|device| device.name().eq_ignore_ascii_case(name));
        known.ok_or_else(|| UnknownDevice { wanted: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changes_steps_changes_the_name_of_weights() {
        let named = |device: Device, gguf| device.identify("hash".to_owned(), gguf);
        for device in [Device::Kernels, Device::Cpu, Device::CudaF32, Device::MetalF32] {
            assert_eq!(named(device, false), "hash");
        }
        assert_eq!(named(Device::Kernels, true), "hash");
        assert_eq!(named(Device::Cpu, true), "hash+f32");
        assert_eq!(named(Device::Cuda, false), "hash+bf16");
        assert_eq!(named(Device::Metal, true), "hash+bf16");
    }

    #[test]
    fn names_are_read_back_and_others_refused_with_the_list() {
        for device in Device::ALL {
            assert_eq!(device.name().parse(), Ok(device));
        }
        let error = "gpu".parse::<Device>().expect_err("no such device").to_string();
        let expected = "expected kernels, cpu, cuda, cuda-f32, metal, metal-f32";
        assert_eq!(error, format!("no device \"gpu\"; {expected}"));
    }

    #[test]
    fn what_the_program_lacks_is_refused_by_its_feature() {
        let refusal = |device: Device, quantize, kv| match device.check(quantize, kv) {
            Ok(()) => String::new(),
            Err(error) => error.to_string(),
        };
        if cfg!(not(feature = "cuda")) {
            let error = refusal(Device::Cuda, None, KvType::F32);
            assert!(error.contains("`--features cuda`"), "{error}");
        }
        if cfg!(feature = "devices") {
            assert_eq!(refusal(Device::Cpu, None, KvType::F32), "");
            let error = refusal(Device::Cpu, Some(Format::Q4_0), KvType::F32);
            assert!(error.contains("q4_0") && error.contains("kernels"), "{error}");
            let error = refusal(Device::Cpu, None, KvType::Q8_0);
            assert!(error.contains("KV cache in q8_0"), "{error}");
        }
        assert_eq!(refusal(Device::Kernels, Some(Format::Q4_0), KvType::Q8_0), "");
    }
}
