//! The drawn curves as CSV: every policy on the common grid of offload budgets.

use std::fmt::Write as _;

use tokenroute_sweep::study::SplitResult;

use crate::grid::on_grid;

/// One line per policy and budget ρ: policy, ρ, τ(ρ), offload and accuracy there, 95%
/// interval, share of cut answers. The interval is empty where the policy has no band.
/// Numbers read back the same.
#[must_use]
pub fn curves_csv(split: &SplitResult) -> String {
    let mut text = "policy,budget,tau,offload,accuracy,lower,upper,cut\n".to_owned();
    for policy in &split.policies {
        let name = field(&policy.name);
        for point in on_grid(policy) {
            let [lower, upper] = match point.interval {
                Some(interval) => interval.map(|x| x.to_string()),
                None => [String::new(), String::new()],
            };
            // Writing into a String cannot fail.
            let _ = writeln!(
                text,
                "{name},{},{},{},{},{lower},{upper},{}",
                point.rho, point.tau, point.offload, point.accuracy, point.cut
            );
        }
    }
    text
}

/// A text as one field: quoted where it holds a comma, a quotation mark or a line break.
fn field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn every_line_has_every_column_and_reads_back() {
        let data = sample::report();
        let csv = curves_csv(&data.test);
        let mut lines = csv.lines();
        let columns = lines.next().map(|l| l.split(',').count());
        assert_eq!(columns, Some(8));
        let mut count = 0;
        for line in lines {
            // A name with a comma is one field.
            let (name, rest) = match line.strip_prefix('"') {
                Some(quoted) => quoted.split_once("\",").expect("a closing quotation mark"),
                None => line.split_once(',').expect("a name"),
            };
            let cells: Vec<&str> = std::iter::once(name).chain(rest.split(',')).collect();
            assert_eq!(cells.len(), 8, "{line}");
            let tau: tokenroute_core::Tau = cells[2].parse().expect("a threshold");
            let policy = data.test.policies.iter().find(|p| p.name == cells[0]).expect("known");
            let exact = policy.curve.accuracy(&policy.curve.at(tau));
            assert_eq!(cells[4].parse::<f64>().expect("a number"), exact);
            let cut = policy.curve.cut_share(&policy.curve.at(tau));
            assert_eq!(cells[7].parse::<f64>().expect("a number"), cut);
            count += 1;
        }
        assert_eq!(count, data.test.policies.len() * crate::budgets().len());
    }

    #[test]
    fn a_name_with_a_comma_stays_one_field() {
        assert_eq!(field("router, seed 2"), "\"router, seed 2\"");
        assert_eq!(field("a \"b\""), "\"a \"\"b\"\"\"");
        assert_eq!(field("entropy"), "entropy");
    }
}
