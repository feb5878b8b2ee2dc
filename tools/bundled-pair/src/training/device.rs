//! Maps device names to Burn devices: "flex", "ndarray", "wgpu", optionally with ":index" for a
//! GPU.

use burn::tensor::Device;

use crate::error::PairError;

/// The backends in this build.
pub const AVAILABLE: &[&str] = &[
    #[cfg(feature = "flex")]
    "flex",
    #[cfg(feature = "ndarray")]
    "ndarray",
    #[cfg(feature = "wgpu")]
    "wgpu",
];

/// Parses a device name. CPU backends take no index. "wgpu" is the default adapter, "wgpu:1" the
/// second discrete GPU.
///
/// # Errors
/// [`PairError::Device`] with the backends of this build.
pub fn parse(name: &str) -> Result<Device, PairError> {
    let (backend, index) = match name.split_once(':') {
        Some((backend, "")) => (backend, None),
        Some((backend, index)) => (backend, Some(index)),
        None => (name, None),
    };
    let index = match index.map(str::parse::<usize>) {
        None => None,
        Some(Ok(index)) => Some(index),
        Some(Err(_)) => return Err(unavailable(name, "the part after ':' must be a number")),
    };
    match backend {
        #[cfg(feature = "flex")]
        "flex" if index.unwrap_or(0) == 0 => Ok(Device::flex()),
        #[cfg(feature = "ndarray")]
        "ndarray" if index.unwrap_or(0) == 0 => Ok(Device::ndarray()),
        #[cfg(feature = "wgpu")]
        "wgpu" => {
            use burn::tensor::DeviceKind;
            Ok(Device::wgpu(index.map_or(DeviceKind::DefaultDevice, DeviceKind::DiscreteGpu)))
        }
        "flex" | "ndarray" if AVAILABLE.contains(&backend) => {
            Err(unavailable(name, "the CPU backends have only device 0"))
        }
        "flex" | "ndarray" | "wgpu" => {
            Err(unavailable(name, &format!("rebuild with --features {backend}")))
        }
        _ => Err(unavailable(name, "use one of these")),
    }
}

fn unavailable(name: &str, hint: &str) -> PairError {
    let available = match AVAILABLE {
        [] => "no training backend".to_owned(),
        names => names.join(", "),
    };
    PairError::Device { name: name.to_owned(), available, hint: hint.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_what_is_available() {
        let error = parse("cuda").unwrap_err().to_string();
        assert!(error.contains("\"cuda\"") && AVAILABLE.iter().all(|name| error.contains(name)));
        assert!(parse("flex:x").unwrap_err().to_string().contains("number"));
    }

    #[test]
    #[cfg(feature = "flex")]
    fn cpu_backends_parse() {
        assert!(parse("flex").is_ok() && parse("flex:0").is_ok() && parse("flex:1").is_err());
    }
}
