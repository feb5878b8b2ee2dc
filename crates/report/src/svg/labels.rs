//! Label composition: one bar per split. Most positions are identical, so a second
//! bar shows the differing ones alone.

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::canvas::{Area, Drawn, INK, MUTED, page, text};
use crate::data::LabelCounts;
use crate::error::RenderError;
use crate::number::{count, percent};

const CLASSES: [(&str, RGBColor); 5] = [
    ("identical", RGBColor(201, 206, 212)),
    ("neutral", RGBColor(86, 165, 216)),
    ("both wrong", RGBColor(154, 134, 184)),
    ("divergent", RGBColor(213, 94, 0)),
    ("unjudged", RGBColor(222, 203, 150)),
];
const WIDTH: i32 = 860;
const LEFT: i32 = 16;
const ROW: i32 = 74;

/// Draws the composition of every split.
///
/// # Errors
/// A figure the plotting library refuses.
pub fn svg_labels(labels: &[LabelCounts]) -> Result<String, RenderError> {
    let height = 56 + ROW * labels.len() as i32;
    page("labels.svg", (WIDTH as u32, height as u32), |root| draw(root, labels))
}

fn draw(root: &Area<'_>, labels: &[LabelCounts]) -> Drawn {
    let unjudged = labels.iter().any(|l| l.counts.unjudged > 0);
    let shown = if unjudged { CLASSES.len() } else { CLASSES.len() - 1 };
    for (i, (name, colour)) in CLASSES.iter().take(shown).enumerate() {
        let x = LEFT + 130 * i as i32;
        root.draw(&Rectangle::new([(x, 16), (x + 14, 30)], colour.filled()))?;
        root.draw(&Text::new(*name, (x + 22, 23), text(14, INK, HPos::Left)))?;
    }
    for (row, split) in labels.iter().enumerate() {
        let top = 48 + ROW * row as i32;
        let c = split.counts;
        let parts = [c.identical, c.neutral, c.both_wrong, c.divergent, c.unjudged];
        let differing = c.total() - c.identical;
        let caption = format!(
            "{}: {} positions, {} differ; divergent {}",
            split.split,
            count(c.total()),
            percent(differing as f64 / c.total().max(1) as f64),
            percent(c.divergent as f64 / c.total().max(1) as f64),
        );
        root.draw(&Text::new(caption, (LEFT, top + 8), text(13, MUTED, HPos::Left)))?;
        bar(root, top + 20, 20, &parts)?;
        bar(root, top + 44, 10, &[0, parts[1], parts[2], parts[3], parts[4]])?;
    }
    Ok(())
}

/// A stacked bar over the whole width.
fn bar(root: &Area<'_>, top: i32, height: i32, parts: &[u64; 5]) -> Drawn {
    let total = parts.iter().sum::<u64>().max(1) as f64;
    let span = f64::from(WIDTH - 2 * LEFT);
    let mut before = 0;
    for (part, (_, colour)) in parts.iter().zip(CLASSES) {
        let from = LEFT + (span * before as f64 / total).round() as i32;
        before += part;
        let to = LEFT + (span * before as f64 / total).round() as i32;
        if to > from {
            root.draw(&Rectangle::new([(from, top), (to, top + height)], colour.filled()))?;
        }
    }
    Ok(())
}
