//! The table of families.

use super::build::Build;
use super::{circles, elsewhere, knowledge, measures, relations, shopping};

/// One family of stories.
#[derive(Clone, Copy)]
pub struct Family {
    /// Name, as in `Question::family`.
    pub name: &'static str,
    /// Whether the router never trains on it: it appears in pair training and `test-ood` only.
    pub held_out: bool,
    /// Fewest and most rationale steps.
    pub steps: (usize, usize),
    pub(super) build: fn(&mut Build<'_>) -> Option<()>,
}

impl std::fmt::Debug for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Family({}, held_out: {})", self.name, self.held_out)
    }
}

const fn family(
    name: &'static str,
    held_out: bool,
    steps: (usize, usize),
    build: fn(&mut Build<'_>) -> Option<()>,
) -> Family {
    Family { name, held_out, steps, build }
}

static FAMILIES: [Family; 18] = [
    family("purchases", false, (1, 4), shopping::purchases),
    family("sharing", false, (1, 4), shopping::sharing),
    family("stock", false, (1, 4), shopping::stock),
    family("travel", false, (1, 4), measures::travel),
    family("units", false, (1, 4), measures::units),
    family("points", false, (1, 4), measures::points),
    family("ages", false, (1, 4), relations::ages),
    family("comparisons", false, (1, 4), relations::comparisons),
    family("most", false, (1, 4), relations::most),
    family("facts", false, (2, 4), knowledge::facts),
    family("kinds", false, (2, 4), knowledge::kinds),
    family("calendar", false, (1, 4), circles::calendar),
    family("turning", false, (1, 4), circles::turning),
    family("months", true, (1, 4), circles::months),
    family("bus", true, (1, 4), elsewhere::bus),
    family("recipe", true, (1, 4), elsewhere::recipe),
    family("garden", true, (1, 4), elsewhere::garden),
    family("reading", true, (1, 4), elsewhere::reading),
];

/// All families, those of the router's splits first.
#[must_use]
pub fn families() -> &'static [Family] {
    &FAMILIES
}
