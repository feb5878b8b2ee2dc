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
const ORACLE: Stroke =
    Stroke { light: [60, 60, 60], dark: [215, 215, 215], width: 2, dash: Some([2, 4]) };
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

/// One stroke per policy, by kind and order. Routers of other seeds are thin lines.
pub(super) fn strokes(policies: &[PolicyResult]) -> Vec<Stroke> {
    let mut next = 0;
    policies
        .iter()
        .enumerate()
        .map(|(i, policy)| match policy.kind {
            PolicyKind::Router if i == 0 => ROUTER,
            PolicyKind::Router => Stroke { width: 1, ..ROUTER },
            PolicyKind::Oracle => ORACLE,
            _ if policy.name == "random" => CHANCE,
            _ => {
                next += 1;
                OTHERS[(next - 1) % OTHERS.len()]
            }
        })
        .collect()
}

/// "#rrggbb"
pub(super) fn hex([r, g, b]: [u8; 3]) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}
