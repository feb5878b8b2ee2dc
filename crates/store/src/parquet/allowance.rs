//! Limits the unpacked size of a file.

/// A file may unpack to `LEAST` bytes plus `GROWTH` bytes for each of its own, at most
/// `MOST`. Real question sets grow by a factor of 20 at most.
const LEAST: u64 = 16 << 20;
const GROWTH: u64 = 256;
const MOST: u64 = 4 << 30;

/// The bytes that a file may still unpack to. A few bytes of runs or dictionaries can stand
/// for any number of values, so every value is counted.
pub(super) struct Allowance {
    left: u64,
    whole: u64,
}

impl Allowance {
    pub(super) fn new(file: usize) -> Self {
        let whole = LEAST.saturating_add((file as u64).saturating_mul(GROWTH)).min(MOST);
        Allowance { left: whole, whole }
    }

    /// Subtracts bytes before they are allocated.
    pub(super) fn spend(&mut self, bytes: usize) -> Result<(), String> {
        let left = self.left.checked_sub(bytes as u64);
        self.left = left.ok_or_else(|| {
            format!("it unpacks to more than {} bytes, too much for a file of its size", self.whole)
        })?;
        Ok(())
    }
}
