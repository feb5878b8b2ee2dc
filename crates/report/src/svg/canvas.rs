//! A white canvas of a size, and the colours and text styles of all figures.

use plotters::chart::MeshStyle;
use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::error::RenderError;
use crate::number::target;

pub(super) const INK: RGBColor = RGBColor(40, 44, 50);
pub(super) const MUTED: RGBColor = RGBColor(95, 102, 112);
const GRID: RGBColor = RGBColor(230, 232, 235);

pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub(super) type Drawn = Result<(), Box<dyn std::error::Error>>;

/// The axes and grid of a chart.
type Axes<'a, 'b, 's> = MeshStyle<'a, 'b, RangedCoordf64, RangedCoordf64, SVGBackend<'s>>;

/// Gives axes and grid the style of all charts; the vertical axis is in percent.
pub(super) fn axes<'m, 'a, 'b, 's>(mesh: &'m mut Axes<'a, 'b, 's>) -> &'m mut Axes<'a, 'b, 's> {
    mesh.y_label_formatter(&tick)
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(MUTED)
        .label_style(("sans-serif", 13).into_font().color(&MUTED))
        .axis_desc_style(("sans-serif", 14).into_font().color(&INK))
}

/// A chart of all three accuracy figures: something from 0 to `furthest` across, accuracy up.
pub(super) type AccuracyChart<'a, 's> =
    ChartContext<'a, SVGBackend<'s>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// An empty chart of accuracies.
pub(super) fn accuracy_chart<'a, 's>(
    plot: &'a Area<'s>,
    furthest: f64,
    (low, high): (f64, f64),
) -> Result<AccuracyChart<'a, 's>, Box<dyn std::error::Error>> {
    Ok(ChartBuilder::on(plot)
        .margin(12)
        .margin_right(16)
        .x_label_area_size(44)
        .y_label_area_size(52)
        .build_cartesian_2d(0.0..furthest, low..high)?)
}

/// The range of some accuracies with a margin, inside [0, 1].
pub(super) fn accuracy_range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values.fold((1.0f64, 0.0f64), |(l, h), y| (l.min(y), h.max(y)));
    ((low - 0.02).max(0.0), (high + 0.02).min(1.0).max(low + 0.05))
}

/// Draws on a white page of a size and returns the document.
pub(super) fn page(
    name: &str,
    size: (u32, u32),
    draw: impl FnOnce(&Area<'_>) -> Drawn,
) -> Result<String, RenderError> {
    let mut svg = String::new();
    let drawn = {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        area.fill(&WHITE)
            .map_err(Into::into)
            .and_then(|()| draw(&area))
            .and_then(|()| area.present().map_err(Into::into))
    };
    match drawn {
        Ok(()) => Ok(svg),
        Err(cause) => {
            Err(RenderError::Figure { figure: name.to_owned(), cause: cause.to_string() })
        }
    }
}

/// Text style of a size, colour and anchor.
pub(super) fn text(size: u32, colour: RGBColor, anchor: HPos) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&colour).pos(Pos::new(anchor, VPos::Center))
}

pub(super) fn rgb([r, g, b]: [u8; 3]) -> RGBColor {
    RGBColor(r, g, b)
}

/// An axis label without trailing zeros: "5%".
pub(super) fn tick(x: &f64) -> String {
    target(*x)
}
