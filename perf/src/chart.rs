//! Bars in SVG: the value that decides, for each candidate of one shape.

use std::path::Path;

use plotters::{
    coord::Shift,
    prelude::{
        Color, DrawingArea, IntoDrawingArea, IntoFont, RGBColor, Rectangle, SVGBackend, Text, WHITE,
    },
    style::TextStyle,
};

use crate::{
    candidate::Candidate,
    error::Error,
    results::significant,
    summary::{Line, Summary},
};

/// Writes the bars of one shape.
pub(crate) fn draw(summary: &Summary, path: &Path) -> Result<(), Error> {
    let lines: Vec<(&Line, f64)> =
        summary.lines.iter().filter_map(|line| Some((line, line.value(&summary.shape)?))).collect();
    let count = i32::try_from(lines.len()).unwrap_or(0);
    let height = u32::try_from(TOP + count * STEP + MARGIN).unwrap_or(0);
    let area = SVGBackend::new(path, (WIDTH, height)).into_drawing_area();
    let explain = |error: &dyn std::fmt::Display| {
        Error::Options(format!("cannot draw {}: {error}", path.display()))
    };
    paint(&area, summary, &lines).map_err(|error| explain(&error))?;
    area.present().map_err(|error| explain(&error))
}

type Outcome<'a> = Result<(), Box<dyn std::error::Error + 'a>>;

fn paint<'a>(
    area: &DrawingArea<SVGBackend<'a>, Shift>,
    summary: &Summary,
    lines: &[(&Line, f64)],
) -> Outcome<'a> {
    area.fill(&WHITE)?;
    let style = |size: i32| TextStyle::from(("sans-serif", size).into_font());
    area.draw(&Text::new(summary.shape.title(), (MARGIN, MARGIN), style(18)))?;
    area.draw(&Text::new(summary.shape.metric.title(), (MARGIN, MARGIN + 26), style(13)))?;
    let most = lines.iter().map(|(_, value)| *value).fold(f64::MIN_POSITIVE, f64::max);
    for ((line, value), top) in lines.iter().zip((TOP..).step_by(STEP_SIZE)) {
        let end = LEFT + length(value / most);
        let bar = [(LEFT, top), (end, top + BAR)];
        area.draw(&Rectangle::new(bar, color(line.candidate).filled()))?;
        area.draw(&Text::new(line.candidate.label(), (MARGIN, top + 4), style(14)))?;
        let ratio = line.ratio.map(|ratio| format!("  ({ratio:.2})")).unwrap_or_default();
        let text = format!("{}{ratio}", significant(*value));
        area.draw(&Text::new(text, (end + 6, top + 4), style(14)))?;
    }
    Ok(())
}

#[allow(clippy::cast_possible_truncation, reason = "a share of a few hundred pixels")]
fn length(share: f64) -> i32 {
    (share * f64::from(LONGEST)).round() as i32
}

fn color(candidate: Candidate) -> RGBColor {
    match candidate {
        _ if candidate.is_ours() => RGBColor(0, 110, 160),
        _ if candidate.is_floor() => RGBColor(200, 200, 200),
        Candidate::BASELINE => RGBColor(200, 110, 40),
        _ => RGBColor(150, 150, 150),
    }
}

const WIDTH: u32 = 760;
const MARGIN: i32 = 12;
const TOP: i32 = 64;
const STEP: i32 = 30;
const STEP_SIZE: usize = 30;
const BAR: i32 = 22;
const LEFT: i32 = 190;
const LONGEST: i32 = 440;
