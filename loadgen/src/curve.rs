//! Draws the latency at each percentile, the rare ones as wide as the frequent ones.

use std::path::Path;

use plotters::prelude::*;

use crate::{Error, report::Load};

/// Writes the curve as SVG.
pub(crate) fn draw(load: &Load, title: &str, path: &Path) -> Result<(), Error> {
    let explain = |error: &dyn std::fmt::Display| Error::Write(path.into(), error.to_string());
    let mut text = String::new();
    draw_into(load, title, &mut text).map_err(|error| explain(&error))?;
    std::fs::write(path, text).map_err(|error| explain(&error))
}

fn draw_into(
    load: &Load,
    title: &str,
    text: &mut String,
) -> Result<(), Box<dyn std::error::Error>> {
    let points: Vec<(f64, f64)> =
        load.latency.curve.iter().map(|(percentile, us)| (rarity(*percentile), *us)).collect();
    let top = load.latency.max.max(1.0) * 1.05;
    let root = SVGBackend::with_string(text, (800, 480)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 18))
        .margin(16)
        .x_label_area_size(40)
        .y_label_area_size(70)
        .build_cartesian_2d(0.0..rarity(100.0), 0.0..top)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .y_label_formatter(&|us| format!("{us:.0}"))
        .x_labels(6)
        .x_label_formatter(&|rarity| percentile_label(*rarity))
        .x_desc("percentile")
        .y_desc("latency in microseconds")
        .draw()?;
    chart.draw_series(LineSeries::new(points, BLUE.stroke_width(2)))?;
    root.present()?;
    Ok(())
}

/// How many nines a percentile has: 90 % is 1, 99 % is 2. The last one that is drawn is 5.
fn rarity(percentile: f64) -> f64 {
    (-(1.0 - percentile / 100.0).log10()).min(5.0)
}

fn percentile_label(rarity: f64) -> String {
    let percentile = 100.0 * (1.0 - 10_f64.powf(-rarity));
    match rarity {
        r if r < 0.5 => "0 %".into(),
        r if r > 4.5 => "100 %".into(),
        _ => format!("{} %", (percentile * 1000.0).round() / 1000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_nine_is_as_wide_as_the_one_before() {
        for (percentile, expected) in [(0.0, 0.0), (90.0, 1.0), (99.0, 2.0), (99.9, 3.0)] {
            assert!((rarity(percentile) - expected).abs() < 1e-9, "{percentile}");
        }
        assert!((rarity(100.0) - 5.0).abs() < 1e-9);
        assert_eq!(percentile_label(3.0), "99.9 %");
    }
}
