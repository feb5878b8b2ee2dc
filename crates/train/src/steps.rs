//! Whole answers for recurrent heads: every step of an answer, and the order in which a pass takes
//! the steps of several answers.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

/// The steps of all answers of a part, judged and unjudged ones.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Steps {
    /// Normalised features `[positions, width]`, answer by answer.
    pub features: Vec<f32>,
    /// The positions of each answer, by its number.
    pub answers: BTreeMap<u32, Range<usize>>,
    /// The position of each row of the part.
    pub of_rows: Vec<usize>,
}

impl Steps {
    /// Appends a position of an answer.
    pub(crate) fn push(&mut self, features: &[f32], answer: u32, judged: bool) {
        let at = self.features.len() / features.len().max(1);
        self.features.extend_from_slice(features);
        self.answers.entry(answer).or_insert(at..at).end = at + 1;
        if judged {
            self.of_rows.push(at);
        }
    }

    /// The numbers of positions of the answers, in their order.
    pub(crate) fn lengths(&self) -> Vec<usize> {
        self.answers.values().map(Range::len).collect()
    }

    /// The answers of some rows, packed, and the places of these rows there. `answers` has the
    /// number of each row's answer.
    pub(crate) fn pack(&self, rows: &[usize], answers: &[u32]) -> (Packed, Vec<i64>) {
        let mut wanted: Vec<u32> = rows.iter().map(|&row| answers[row]).collect();
        wanted.dedup();
        let ranges: Vec<Range<usize>> =
            wanted.iter().filter_map(|answer| self.answers.get(answer)).cloned().collect();
        let packed = Packed::of(&ranges);
        let places: HashMap<usize, usize> =
            packed.positions.iter().enumerate().map(|(place, &at)| (at, place)).collect();
        let places = rows.iter().map(|&row| places[&self.of_rows[row]] as i64).collect();
        (packed, places)
    }
}

/// The order of a recurrent pass: the first step of every answer, then the second of all that have
/// one, and so on. Longer answers stand first, so those that go on are the first ones of a step.
pub(crate) struct Packed {
    /// Positions, in the order of the pass.
    pub(crate) positions: Vec<usize>,
    /// Number of answers at each step.
    pub(crate) sizes: Vec<usize>,
}

impl Packed {
    /// Packs these answers.
    pub(crate) fn of(answers: &[Range<usize>]) -> Self {
        let mut order: Vec<&Range<usize>> = answers.iter().collect();
        order.sort_by_key(|range| std::cmp::Reverse(range.len()));
        let longest = order.first().map_or(0, |range| range.len());
        let (mut positions, mut sizes) = (Vec::new(), Vec::with_capacity(longest));
        for step in 0..longest {
            let before = positions.len();
            let there = order.iter().take_while(|range| range.len() > step);
            positions.extend(there.map(|range| range.start + step));
            sizes.push(positions.len() - before);
        }
        Packed { positions, sizes }
    }

    /// The positions of answers of these lengths, in chunks of about `rows` positions.
    pub(crate) fn chunks(lengths: &[usize], rows: usize) -> Vec<Vec<Range<usize>>> {
        let (mut from, mut filled) = (0, usize::MAX);
        let mut chunks: Vec<Vec<Range<usize>>> = Vec::new();
        for &length in lengths {
            if filled >= rows {
                chunks.push(Vec::new());
                filled = 0;
            }
            if let Some(chunk) = chunks.last_mut() {
                chunk.push(from..from + length);
            }
            from += length;
            filled += length;
        }
        chunks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longer_answers_stand_first_at_every_step() {
        let packed = Packed::of(&[0..2, 2..5, 5..6]);
        assert_eq!(packed.positions, [2, 0, 5, 3, 1, 4]);
        assert_eq!(packed.sizes, [3, 2, 1]);
        let chunks = Packed::chunks(&[2, 3, 1, 2], 4);
        assert_eq!(chunks, [vec![0..2, 2..5], vec![5..6, 6..8]]);
        assert!(Packed::of(&[]).sizes.is_empty() && Packed::chunks(&[], 4).is_empty());
    }

    #[test]
    fn rows_are_found_among_all_steps() {
        let mut steps = Steps::default();
        for (answer, judged) in [(4, true), (4, false), (4, true), (7, false), (7, true)] {
            steps.push(&[0.0, 1.0], answer, judged);
        }
        assert_eq!((steps.lengths(), &steps.of_rows), (vec![3, 2], &vec![0, 2, 4]));
        // The rows of answer 7, then those of answer 4.
        let (packed, places) = steps.pack(&[2, 0, 1], &[4, 4, 7]);
        assert_eq!(packed.positions, [0, 3, 1, 4, 2]);
        assert_eq!(places, [3, 0, 4]);
    }
}
