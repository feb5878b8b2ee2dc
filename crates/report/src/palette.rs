//! Line colours and dash patterns of the policies. The hues are Okabe and Ito's,
//! which differ under common colour blindness. Dashes distinguish lines without colour.

use tokenroute_sweep::policies::PolicyKind;
use tokenroute_sweep::study::PolicyResult;

/// The stroke of a policy's line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Stroke {
    /// On a light page, RGB.
    pub light: [u8; 3],
    /// On a dark page, RGB.
    pub dark: [u8; 3],
    /// Pixels.
    pub width: u32,
    /// Pixels drawn and left out in turn; `None` for a solid line.
    pub dash: Option<[u32; 2]>,
}

const ROUTER: Stroke = Stroke { light: [0, 98, 160], dark: [86, 180, 233], width: 3, dash: None };
const ORACLE: Stroke = Stroke { light: [60, 60, 60], dark: [215, 215, 215], width: 2, dash: None };
const CHANCE: Stroke =
    Stroke { light: [130, 130, 130], dark: [150, 150, 150], width: 2, dash: Some([6, 4]) };
const OTHERS: [Stroke; 7] = [
    Stroke { light: [213, 94, 0], dark: [240, 128, 60], width: 2, dash: None },
    Stroke { light: [0, 140, 105], dark: [40, 190, 150], width: 2, dash: Some([10, 4]) },
    Stroke { light: [184, 80, 140], dark: [224, 140, 185], width: 2, dash: Some([5, 3]) },
    Stroke { light: [176, 122, 0], dark: [240, 190, 70], width: 2, dash: Some([14, 5]) },
    Stroke { light: [30, 130, 190], dark: [130, 200, 250], width: 2, dash: Some([3, 3]) },
    Stroke { light: [120, 60, 160], dark: [190, 150, 230], width: 2, dash: Some([8, 3]) },
    Stroke { light: [110, 85, 60], dark: [200, 170, 140], width: 2, dash: Some([4, 6]) },
];

/// Dash patterns of the oracles, and of the second and third policy of a hue.
const ORACLE_DASHES: [[u32; 2]; 3] = [[2, 4], [7, 2], [1, 2]];
const HUE_DASHES: [[u32; 2]; 2] = [[2, 7], [18, 2]];

/// One stroke per policy, by kind and order. Routers of other seeds are thin lines.
pub(super) fn strokes(policies: &[PolicyResult]) -> Vec<Stroke> {
    strokes_of(policies.iter().map(|policy| (policy.name.as_str(), policy.kind)))
}

fn strokes_of<'p>(policies: impl Iterator<Item = (&'p str, PolicyKind)>) -> Vec<Stroke> {
    let (mut others, mut oracles) = (0, 0);
    policies
        .enumerate()
        .map(|(i, (name, kind))| match kind {
            PolicyKind::Router if i == 0 => ROUTER,
            PolicyKind::Router => Stroke { width: 1, ..ROUTER },
            PolicyKind::Oracle => {
                oracles += 1;
                Stroke { dash: Some(ORACLE_DASHES[(oracles - 1) % ORACLE_DASHES.len()]), ..ORACLE }
            }
            _ if name == "random" => CHANCE,
            _ => {
                others += 1;
                let hue = OTHERS[(others - 1) % OTHERS.len()];
                match (others - 1) / OTHERS.len() {
                    0 => hue,
                    round => {
                        let dash = HUE_DASHES[(round - 1) % HUE_DASHES.len()];
                        Stroke { dash: Some(dash), ..hue }
                    }
                }
            }
        })
        .collect()
}

/// One of the hues, in order; they repeat.
pub(super) fn hue(i: usize) -> Stroke {
    OTHERS[i % OTHERS.len()]
}

/// "#rrggbb"
pub(super) fn hex([r, g, b]: [u8; 3]) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_of_a_full_report_has_a_line_of_its_own() {
        let kinds = [
            vec![PolicyKind::Router],
            vec![PolicyKind::TrainingFree; 7],
            vec![PolicyKind::Lookup; 2],
            vec![PolicyKind::Handoff],
            vec![PolicyKind::Speculative],
            vec![PolicyKind::QueryLevel; 4],
            vec![PolicyKind::Oracle; 3],
        ];
        let strokes = strokes_of(kinds.concat().into_iter().map(|kind| ("policy", kind)));
        for (i, stroke) in strokes.iter().enumerate() {
            assert!(!strokes[..i].contains(stroke), "line {i} looks like an earlier one");
        }
    }
}
