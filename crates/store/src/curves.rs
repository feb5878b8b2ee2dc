//! Curve files: the exact step functions of policies as Parquet, and a summed curve as CSV.

use std::fmt::Write as _;
use std::path::Path;

use polars::prelude::Column;
use tokenroute_core::{Curve, Piece, QuestionCurve};

use crate::table::{Table, encode};
use crate::{StoreError, atomic};

const KIND: &str = "curve file";

/// The step functions of one policy over the questions of one split.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyCurves {
    /// Name of the policy ("router", "random", ...).
    pub policy: String,
    /// Name of the split.
    pub split: String,
    /// One per question, in the split's order.
    pub curves: Vec<QuestionCurve>,
}

/// Writes curves as Parquet, one row per piece. The columns are policy, split, question,
/// end (f64, the highest τ of the piece), correct, cut, offloaded, generated, llm_positions.
///
/// # Errors
/// A write that fails.
pub fn write_curves(path: &Path, policies: &[PolicyCurves]) -> Result<(), StoreError> {
    let mut names = Vec::new();
    let mut pieces: Vec<Piece> = Vec::new();
    for policy in policies {
        for curve in &policy.curves {
            for &piece in &curve.pieces {
                let name = [&policy.policy, &policy.split, &curve.question].map(String::as_str);
                names.push(name);
                pieces.push(piece);
            }
        }
    }
    let string = |name: &str, i: usize| {
        Column::new(name.into(), names.iter().map(|n| n[i]).collect::<Vec<_>>())
    };
    let columns = vec![
        string("policy", 0),
        string("split", 1),
        string("question", 2),
        Column::new("end".into(), pieces.iter().map(|p| p.end).collect::<Vec<_>>()),
        Column::new("correct".into(), pieces.iter().map(|p| p.correct).collect::<Vec<_>>()),
        Column::new("cut".into(), pieces.iter().map(|p| p.cut).collect::<Vec<_>>()),
        Column::new("offloaded".into(), pieces.iter().map(|p| p.offloaded).collect::<Vec<_>>()),
        Column::new("generated".into(), pieces.iter().map(|p| p.generated).collect::<Vec<_>>()),
        Column::new(
            "llm_positions".into(),
            pieces.iter().map(|p| p.llm_positions).collect::<Vec<_>>(),
        ),
    ];
    atomic::write(path, &encode(KIND, pieces.len(), columns)?)
}

/// Reads a file of [`write_curves`], in its order. Files of earlier versions have their ends
/// in f32.
///
/// # Errors
/// A file that cannot be read, or pieces whose ends do not rise to τ = 1.
pub fn read_curves(path: &Path) -> Result<Vec<PolicyCurves>, StoreError> {
    let names = [
        "policy",
        "split",
        "question",
        "end",
        "correct",
        "cut",
        "offloaded",
        "generated",
        "llm_positions",
    ];
    let table = Table::read(path, KIND, &names)?;
    let (policy, split, question) =
        (table.strings("policy")?, table.strings("split")?, table.strings("question")?);
    let (end, correct) = (table.widened("end")?, table.bools("correct")?);
    let cut = table.bools("cut")?;
    let (offloaded, generated) = (table.u32s("offloaded")?, table.u32s("generated")?);
    let llm_positions = table.u32s("llm_positions")?;
    let mut policies: Vec<PolicyCurves> = Vec::new();
    for i in 0..end.len() {
        let piece = Piece {
            end: end[i],
            correct: correct[i],
            cut: cut[i],
            offloaded: offloaded[i],
            generated: generated[i],
            llm_positions: llm_positions[i],
        };
        if policies.last().is_none_or(|p| p.policy != policy[i] || p.split != split[i]) {
            policies.push(PolicyCurves {
                policy: policy[i].clone(),
                split: split[i].clone(),
                curves: Vec::new(),
            });
        }
        let Some(current) = policies.last_mut() else { continue };
        if current.curves.last().is_none_or(|c| c.question != question[i]) {
            let question = question[i].clone();
            current.curves.push(QuestionCurve { question, pieces: Vec::new() });
        }
        if let Some(curve) = current.curves.last_mut() {
            curve.pieces.push(piece);
        }
    }
    for curve in policies.iter().flat_map(|p| &p.curves) {
        let rising = curve.pieces.windows(2).all(|w| w[0].end < w[1].end);
        if !rising || curve.pieces.last().is_none_or(|p| p.end != 1.0) {
            let question = &curve.question;
            return Err(
                table.error(format!("the pieces of question {question:?} do not rise to τ = 1"))
            );
        }
    }
    Ok(policies)
}

/// A summed curve as CSV, one line per constant piece: highest τ of the piece, offload
/// ratio, accuracy, right answers, cut answers, questions, LLM tokens, generated tokens, LLM
/// positions.
/// Printed numbers parse to the same values.
#[must_use]
pub fn curve_csv(curve: &Curve) -> String {
    let mut text =
        "tau_end,offload,accuracy,correct,cut,questions,offloaded,generated,llm_positions\n"
            .to_owned();
    for point in &curve.points {
        // Writing into a String cannot fail.
        let _ = writeln!(
            text,
            "{},{},{},{},{},{},{},{},{}",
            point.end,
            point.offload(),
            curve.accuracy(point),
            point.correct,
            point.cut,
            curve.questions,
            point.offloaded,
            point.generated,
            point.llm_positions
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_in_f32_are_read_and_widened() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("curves.parquet");
        let name = |name: &str, value: &str| Column::new(name.into(), [value, value]);
        let number = |name: &str, values: [u32; 2]| Column::new(name.into(), values);
        let columns = vec![
            name("policy", "router"),
            name("split", "test"),
            name("question", "q"),
            Column::new("end".into(), [0.1f32, 1.0]),
            Column::new("correct".into(), [false, true]),
            Column::new("cut".into(), [true, false]),
            number("offloaded", [0, 9]),
            number("generated", [9, 9]),
            number("llm_positions", [0, 12]),
        ];
        atomic::write(&path, &encode(KIND, 2, columns).expect("columns")).expect("a file");
        let read = read_curves(&path).expect("an older file");
        let ends: Vec<f64> = read[0].curves[0].pieces.iter().map(|piece| piece.end).collect();
        assert_eq!(ends, [f64::from(0.1f32), 1.0]);
    }
}
