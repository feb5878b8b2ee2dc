//! A part of a stage's work, for several processes or machines.

use std::fmt;
use std::str::FromStr;

/// Part i of n, counted from 1. Of a list of tasks it takes every n-th, from the i-th on, so
/// that the parts together take each task once.
///
/// ```
/// use tokenroute_core::Part;
///
/// let part: Part = "2/3".parse()?;
/// let taken: Vec<usize> = (0..7).filter(|&task| part.takes(task)).collect();
/// assert_eq!(taken, [1, 4]);
/// assert_eq!((part.to_string(), part.folder()), ("2/3".to_owned(), "2-of-3".to_owned()));
/// # Ok::<(), tokenroute_core::PartError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Part {
    of: u32,
    number: u32,
}

impl Part {
    /// Part `number` of `of`.
    ///
    /// # Errors
    /// A number that is 0 or above `of`.
    pub fn new(number: u32, of: u32) -> Result<Self, PartError> {
        if (1..=of).contains(&number) {
            Ok(Part { of, number })
        } else {
            Err(PartError(format!("{number}/{of}")))
        }
    }

    /// All parts of `of`.
    pub fn all(of: u32) -> impl Iterator<Item = Part> {
        (1..=of).map(move |number| Part { of, number })
    }

    /// The number of parts.
    #[must_use]
    pub fn of(self) -> u32 {
        self.of
    }

    /// Whether the part does the task of this index.
    #[must_use]
    pub fn takes(self, index: usize) -> bool {
        index % self.of as usize == (self.number - 1) as usize
    }

    /// The name of the part's folder.
    #[must_use]
    pub fn folder(self) -> String {
        format!("{}-of-{}", self.number, self.of)
    }

    /// The part of a folder's name.
    #[must_use]
    pub fn of_folder(name: &str) -> Option<Self> {
        let (number, of) = name.split_once("-of-")?;
        let part = Part::new(number.parse().ok()?, of.parse().ok()?).ok()?;
        (part.folder() == name).then_some(part)
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

impl FromStr for Part {
    type Err = PartError;
    fn from_str(text: &str) -> Result<Self, PartError> {
        let parsed = || {
            let (number, of) = text.split_once('/')?;
            Part::new(number.trim().parse().ok()?, of.trim().parse().ok()?).ok()
        };
        parsed().ok_or_else(|| PartError(text.to_owned()))
    }
}

/// A text that names no part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the part is {0:?}; expected i/n with i from 1 to n, as in 2/8")]
pub struct PartError(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_take_each_task_once() {
        for of in [1, 2, 5, 9] {
            for task in 0..30 {
                assert_eq!(Part::all(of).filter(|part| part.takes(task)).count(), 1);
            }
        }
    }

    #[test]
    fn texts_that_name_no_part_are_refused() {
        for text in ["", "1", "0/4", "5/4", "-1/4", "1/0", "a/b", "1/4/2"] {
            let error = text.parse::<Part>().expect_err(text).to_string();
            assert!(error.contains(&format!("{text:?}")) && error.contains("2/8"), "{error}");
        }
        for name in ["", "2-of-1", "02-of-4", "2-of-4-of-4", "x"] {
            assert_eq!(Part::of_folder(name), None, "{name}");
        }
    }
}
