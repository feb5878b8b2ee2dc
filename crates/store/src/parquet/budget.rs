//! What a file may unpack to.

/// A file of any size may unpack to `LEAST` bytes, each of its own bytes to `GROWTH`
/// more, none to more than `MOST`. Real question sets grow twentyfold at most.
const LEAST: u64 = 16 << 20;
const GROWTH: u64 = 256;
const MOST: u64 = 4 << 30;

/// What is left of a file's allowance. Runs and dictionaries let a few bytes stand for
/// any number of values, so that the values themselves have to be counted.
pub(super) struct Budget {
    left: u64,
    whole: u64,
}

impl Budget {
    pub(super) fn new(file: usize) -> Self {
        let whole = LEAST.saturating_add((file as u64).saturating_mul(GROWTH)).min(MOST);
        Budget { left: whole, whole }
    }

    /// Takes the cost of something before it is made.
    pub(super) fn spend(&mut self, bytes: usize) -> Result<(), String> {
        let left = self.left.checked_sub(bytes as u64);
        self.left = left.ok_or_else(|| {
            format!("it unpacks to more than {} bytes, too much for a file of its size", self.whole)
        })?;
        Ok(())
    }
}
