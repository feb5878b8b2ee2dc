//! The way along the answers of a label table: which answer a row belongs to, and the features
//! that read earlier steps of it.

use std::collections::BTreeMap;

use tokenroute_core::{FeatureReader, History, LabelRow, Seen};

use crate::TrainError;

/// Split, question and round. Questions of two splits may have one id.
type Answer<'r> = (&'r str, &'r str, u32);

fn answer_of(row: &LabelRow) -> Answer<'_> {
    (&row.split, &row.question, row.round)
}

/// The way along the answers of a table.
pub(crate) struct Along<'r> {
    reader: &'r FeatureReader,
    /// Whether features or head read earlier steps, which need every position of an answer in
    /// order.
    ordered: bool,
    /// The numbers of the answers, in the order of their first rows.
    answers: BTreeMap<Answer<'r>, u32>,
    /// The answer of the row before.
    last: Option<u32>,
    /// The row before.
    before: Option<&'r LabelRow>,
    history: History,
}

impl<'r> Along<'r> {
    pub(crate) fn new(reader: &'r FeatureReader, recurrent: bool) -> Self {
        Along {
            reader,
            ordered: recurrent || reader.remembers(),
            answers: BTreeMap::new(),
            last: None,
            before: None,
            history: History::default(),
        }
    }

    /// The number of the next row's answer.
    ///
    /// # Errors
    /// An answer whose rows do not follow each other. Steps and rankings take each answer at once.
    pub(crate) fn answer(&mut self, row: &'r LabelRow) -> Result<u32, TrainError> {
        let next = self.answers.len() as u32;
        let answer = *self.answers.entry(answer_of(row)).or_insert(next);
        if answer != next && self.last != Some(answer) {
            let what = "the rows of this answer are in several places of the table; expected one after another: label again";
            return Err(bad_row(row, what.to_owned()));
        }
        self.last = Some(answer);
        Ok(answer)
    }

    /// The features of the next row.
    pub(crate) fn features(&mut self, row: &'r LabelRow) -> Result<Vec<f32>, TrainError> {
        if self.ordered {
            self.follow(row)?;
        }
        let now = Seen::of_row(row);
        let features = self.reader.read(&now, &self.history).0;
        self.history = self.reader.after(&now, &self.history);
        Ok(features)
    }

    /// Checks that a row follows the one before, or begins an answer.
    fn follow(&mut self, row: &'r LabelRow) -> Result<(), TrainError> {
        let before = self.before.replace(row);
        let same = before.filter(|before| answer_of(before) == answer_of(row));
        match same {
            Some(before) if before.position + 1 == row.position => Ok(()),
            None if row.position == 0 => {
                self.history = History::default();
                Ok(())
            }
            _ => {
                let what = "the row before it is missing, which this router reads; label this question again";
                Err(bad_row(row, what.to_owned()))
            }
        }
    }
}

/// A row that cannot be used.
pub(crate) fn bad_row(row: &LabelRow, what: String) -> TrainError {
    TrainError::Row { question: row.question.clone(), position: row.position, what }
}
