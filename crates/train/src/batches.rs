//! Mini-batches of training rows: of any rows, or of whole answers.

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::Rows;

/// The order of rows, shuffled anew for every epoch.
pub(crate) struct Batches {
    /// Row numbers.
    order: Vec<usize>,
    /// Rows of a batch; at least as many where answers stay whole.
    rows: usize,
    /// The rows of each answer, if answers stay whole.
    answers: Option<Vec<Vec<usize>>>,
}

impl Batches {
    pub(crate) fn new(rows: &Rows, batch_rows: usize, whole_answers: bool) -> Self {
        let order: Vec<usize> = (0..rows.len()).collect();
        let same = |a: &usize, b: &usize| rows.answers.get(*a) == rows.answers.get(*b);
        let answers = whole_answers.then(|| order.chunk_by(same).map(<[usize]>::to_vec).collect());
        Batches { order, rows: batch_rows, answers }
    }

    /// Most batches of an epoch.
    pub(crate) fn most(&self) -> u64 {
        self.order.len().div_ceil(self.rows) as u64
    }

    /// The batches of the next epoch.
    pub(crate) fn shuffled(&mut self, rng: &mut ChaCha8Rng) -> Vec<&[usize]> {
        let Some(answers) = &mut self.answers else {
            self.order.shuffle(rng);
            return self.order.chunks(self.rows).collect();
        };
        answers.shuffle(rng);
        let mut ends = Vec::new();
        let (mut begin, mut end) = (0, 0);
        for answer in answers.iter() {
            self.order[end..end + answer.len()].copy_from_slice(answer);
            end += answer.len();
            if end - begin >= self.rows {
                ends.push(begin..end);
                begin = end;
            }
        }
        if begin < end {
            ends.push(begin..end);
        }
        ends.into_iter().map(|range| &self.order[range]).collect()
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn every_row_occurs_once_and_answers_stay_whole() {
        let answers: Vec<u32> = (0..20u32).flat_map(|a| vec![a; 1 + (a % 4) as usize]).collect();
        let targets = vec![1.0; answers.len()];
        let rows = Rows { answers, targets, ..Rows::default() };
        for whole in [false, true] {
            let mut batches = Batches::new(&rows, 8, whole);
            let most = batches.most() as usize;
            let found = batches.shuffled(&mut ChaCha8Rng::seed_from_u64(1));
            let mut all: Vec<usize> = found.iter().copied().flatten().copied().collect();
            assert_ne!(all, (0..rows.len()).collect::<Vec<_>>(), "shuffled");
            all.sort_unstable();
            assert_eq!(all, (0..rows.len()).collect::<Vec<_>>());
            assert!(found.len() <= most);
            for answer in 0..20 {
                let holds =
                    |batch: &&&[usize]| batch.iter().any(|&row| rows.answers[row] == answer);
                assert!(!whole || found.iter().filter(holds).count() == 1);
            }
        }
    }
}
