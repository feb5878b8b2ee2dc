//! The table of story families.

use super::build::Build;
use super::{circles, elsewhere, knowledge, measures, relations, shopping};

/// One family of stories.
#[derive(Clone, Copy)]
pub struct StoryFamily {
    /// Name, the value of `Question::family`.
    pub name: &'static str,
    /// Whether the router never trains on it. A held-out family is only in pair training and
    /// `test-ood`.
    pub held_out: bool,
    /// Fewest and most rationale steps.
    pub steps: (usize, usize),
    pub(super) build: fn(&mut Build<'_>) -> Option<()>,
}

impl std::fmt::Debug for StoryFamily {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Family({}, held_out: {})", self.name, self.held_out)
    }
}

const fn family(
    name: &'static str,
    held_out: bool,
    steps: (usize, usize),
    build: fn(&mut Build<'_>) -> Option<()>,
) -> StoryFamily {
    StoryFamily { name, held_out, steps, build }
}

static FAMILIES: [StoryFamily; 18] = [
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

/// All families, the held-out ones last.
#[must_use]
pub fn families() -> &'static [StoryFamily] {
    &FAMILIES
}
