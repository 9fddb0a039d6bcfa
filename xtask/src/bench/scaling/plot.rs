//! A plot of costs, as an SVG file.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use plotters::prelude::*;

const SIZE: (u32, u32) = (640, 320);

/// Writes a plot of nanoseconds a record over `axis`, which is logarithmic.
pub fn write(path: &Path, axis: &str, points: &[(f64, f64)]) -> Result<()> {
    let name = || format!("cannot draw {}", path.display());
    draw(path, axis, points).map_err(|error| anyhow!("{error}")).with_context(name)
}

fn draw(path: &Path, axis: &str, points: &[(f64, f64)]) -> Result<(), Box<dyn std::error::Error>> {
    let (first, last) = points.first().zip(points.last()).ok_or("there are no points")?;
    let highest = points.iter().fold(0.0, |highest: f64, point| highest.max(point.1));
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(12)
        .margin_right(40)
        .x_label_area_size(44)
        .y_label_area_size(60)
        .build_cartesian_2d((first.0..last.0).log_scale(), 0.0..highest * 1.1)?;
    let whole = |number: &f64| format!("{number:.0}");
    let mut mesh = chart.configure_mesh();
    mesh.x_label_formatter(&whole).y_label_formatter(&whole).light_line_style(WHITE);
    mesh.x_desc(axis).y_desc("processor time, ns a record").draw()?;
    chart.draw_series(LineSeries::new(points.iter().copied(), BLUE.stroke_width(2)))?;
    chart.draw_series(points.iter().map(|point| Circle::new(*point, 3, BLUE.filled())))?;
    area.present()?;
    Ok(())
}
