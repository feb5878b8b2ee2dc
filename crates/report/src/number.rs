//! How reports print numbers.

use tokenroute_core::Tau;

/// A share as a percentage with one decimal: "62.4%".
pub(super) fn percent(x: f64) -> String {
    format!("{:.1}%", signless_zero(100.0 * x, 1))
}

/// An offload ratio, two decimals below 10%: "6.93%".
pub(super) fn offload(x: f64) -> String {
    if x < 0.0995 { format!("{:.2}%", 100.0 * x) } else { percent(x) }
}

/// A target ratio without trailing zeros: "7%", "0.5%".
pub(super) fn target(x: f64) -> String {
    let text = format!("{:.2}", 100.0 * x);
    format!("{}%", text.trim_end_matches('0').trim_end_matches('.'))
}

/// An interval of shares: "71.2–77.0%".
pub(super) fn percent_interval([lower, upper]: [f64; 2]) -> String {
    format!("{:.1}–{}", signless_zero(100.0 * lower, 1), percent(upper))
}

/// A number with `digits` decimals and a true minus sign. "–" if there is none.
pub(super) fn decimal(x: Option<f64>, digits: usize) -> String {
    x.filter(|x| x.is_finite()).map_or_else(
        || "–".to_owned(),
        |x| format!("{:.digits$}", signless_zero(x, digits)).replace('-', "−"),
    )
}

/// The same, always with a sign.
pub(super) fn signed(x: f64, digits: usize) -> String {
    let x = signless_zero(x, digits);
    format!("{x:+.digits$}").replace('-', "−")
}

/// "+0.021 to +0.054"
pub(super) fn signed_interval([lower, upper]: [f64; 2], digits: usize) -> String {
    format!("{} to {}", signed(lower, digits), signed(upper, digits))
}

/// A count with commas: "1,234,567".
pub(super) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// τ with enough digits to read back the same, and an exponent when tiny.
pub(super) fn tau(tau: Tau) -> String {
    let x = tau.get();
    if x > 0.0 && x < 1e-3 { format!("{x:e}").replace('-', "−") } else { tau.to_string() }
}

/// Wall time: "4.2 s", "3 min 05 s".
pub(super) fn duration(seconds: f64) -> String {
    if seconds < 60.0 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    if whole < 3600 {
        format!("{} min {:02} s", whole / 60, whole % 60)
    } else {
        format!("{} h {:02} min", whole / 3600, whole % 3600 / 60)
    }
}

/// Rounds "−0.0" to "0.0".
fn signless_zero(x: f64, digits: usize) -> f64 {
    let scale = 10f64.powi(digits as i32);
    if (x * scale).round() == 0.0 { 0.0 } else { x }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(percent(0.6239), "62.4%");
        assert_eq!(offload(0.06934), "6.93%");
        assert_eq!(offload(0.1004), "10.0%");
        assert_eq!(
            (target(0.07), target(0.005), target(0.2)),
            ("7%".into(), "0.5%".into(), "20%".into())
        );
        assert_eq!(percent_interval([0.712, 0.77]), "71.2–77.0%");
        assert_eq!(decimal(Some(-0.123), 2), "−0.12");
        assert_eq!(decimal(Some(-0.0001), 2), "0.00");
        assert_eq!(decimal(None, 2), "–");
        assert_eq!(signed_interval([-0.02, 0.05], 2), "−0.02 to +0.05");
        assert_eq!((count(7), count(1_234_567)), ("7".into(), "1,234,567".into()));
        assert_eq!(tau(Tau::new(0.987_654_3).expect("in range")), "0.9876543");
        assert_eq!(tau(Tau::new(5.960_464_5e-8).expect("in range")), "5.9604645e−8");
        assert_eq!((duration(4.21), duration(185.0)), ("4.2 s".into(), "3 min 05 s".into()));
    }
}
