//! A study: something measured at many points along an axis, for several series; as a
//! table, and as a plot.

use crate::statistics::Summary;
use crate::table::{Cell, Table};
use plotters::prelude::*;

/// A measurement, or what it is measured along.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Axis {
    /// The name of its column.
    pub column: &'static str,
    /// What it is, with its unit, for people.
    pub label: &'static str,
    /// Digits after the point.
    pub digits: usize,
}

/// Measurements at points along an axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Study {
    /// The name of its files.
    pub id: &'static str,
    /// What it shows.
    pub title: String,
    /// Along what.
    pub x: Axis,
    /// What is measured.
    pub measures: Vec<Axis>,
    /// The measurements, series after series.
    pub points: Vec<Point>,
}

/// What was measured at one point of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// The series.
    pub series: String,
    /// Where.
    pub x: f64,
    /// One for each measure.
    pub values: Vec<Summary>,
}

/// Width and height of a plot, in pixels.
const PLOT_SIZE: (u32, u32) = (800, 500);

/// A plot could not be drawn.
#[derive(Debug, thiserror::Error)]
#[error("failed to draw {id}: {reason}")]
pub struct PlotError {
    id: &'static str,
    reason: String,
}

impl Study {
    /// A row for each point and measure. All studies have the same columns.
    pub fn table(&self) -> Table {
        let columns = [
            "figure",
            "series",
            "axis",
            "x",
            "measure",
            "runs",
            "mean",
            "deviation",
            "error",
        ];
        let mut table = Table::new(&self.title, &columns);
        for point in &self.points {
            for (measure, value) in self.measures.iter().zip(&point.values) {
                table.rows.push(vec![
                    self.id.into(),
                    point.series.as_str().into(),
                    self.x.column.into(),
                    Cell::Number(point.x, self.x.digits),
                    measure.column.into(),
                    Cell::Count(value.count as u64),
                    Cell::Number(value.mean, 6),
                    Cell::Number(value.deviation, 6),
                    Cell::Number(value.error(), 6),
                ]);
            }
        }
        table
    }

    /// The means of one measure: a row for each series, a column for each x. For people.
    pub fn overview(&self, measure: usize) -> String {
        let Axis { label, digits, .. } = self.measures[measure];
        let mut xs: Vec<f64> = self.points.iter().map(|point| point.x).collect();
        xs.sort_by(f64::total_cmp);
        xs.dedup();
        let mut out = format!("{}: {label}, by {}\n", self.title, self.x.label);
        let names = self.all_series();
        let wide = names.iter().map(|name| name.chars().count()).max();
        let wide = wide.unwrap_or(0);
        let row = |name: &str, cells: &mut dyn Iterator<Item = String>| {
            let cells: String = cells.map(|cell| format!(" {cell:>8}")).collect();
            format!("{name:<wide$}{cells}\n")
        };
        let head = |x: &f64| format!("{x:.digits$}", digits = self.x.digits);
        out += &row("", &mut xs.iter().map(head));
        for series in names {
            let cell = |x: &f64| {
                let at = |point: &&Point| point.series == series && point.x == *x;
                let point = self.points.iter().find(at);
                point.map_or(String::new(), |point| {
                    format!("{:.digits$}", point.values[measure].mean)
                })
            };
            out += &row(series, &mut xs.iter().map(cell));
        }
        out
    }

    fn all_series(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for point in &self.points {
            if names.last() != Some(&point.series.as_str()) {
                names.push(&point.series);
            }
        }
        names
    }

    /// One measure as an SVG plot: a line for each series, with bars of one standard
    /// deviation.
    ///
    /// # Errors
    /// If there is nothing to draw.
    pub fn svg(&self, measure: usize) -> Result<String, PlotError> {
        let mut svg = String::new();
        self.draw(measure, &mut svg).map_err(|reason| PlotError {
            id: self.id,
            reason,
        })?;
        Ok(svg)
    }

    fn draw(&self, measure: usize, svg: &mut String) -> Result<(), String> {
        let of = |point: &Point| point.values[measure];
        let xs = || self.points.iter().map(|point| point.x);
        let (left, right) = (
            xs().reduce(f64::min).ok_or("it has no points")?,
            xs().reduce(f64::max).ok_or("it has no points")?,
        );
        let top = self
            .points
            .iter()
            .map(|point| of(point).mean + of(point).deviation);
        let top = top.fold(0.0, f64::max) * 1.05 + f64::MIN_POSITIVE;
        let area = SVGBackend::with_string(svg, PLOT_SIZE).into_drawing_area();
        let told = |error: DrawingAreaErrorKind<_>| error.to_string();
        area.fill(&WHITE).map_err(told)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(&self.title, ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(42)
            .y_label_area_size(58)
            .build_cartesian_2d(left..right, 0.0..top)
            .map_err(told)?;
        chart
            .configure_mesh()
            .x_desc(self.x.label)
            .y_desc(self.measures[measure].label)
            .light_line_style(TRANSPARENT)
            .draw()
            .map_err(told)?;
        for (number, name) in self.all_series().into_iter().enumerate() {
            let colour = HSLColor(number as f64 * 0.618_034 % 1.0, 0.75, 0.4);
            let points = || self.points.iter().filter(|point| point.series == name);
            let line = LineSeries::new(
                points().map(|point| (point.x, of(point).mean)),
                colour.stroke_width(2),
            );
            chart
                .draw_series(line)
                .map_err(told)?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour));
            let bars = points()
                .filter(|point| of(point).deviation > 0.0)
                .map(|point| {
                    let (mean, deviation) = (of(point).mean, of(point).deviation);
                    let ends = [
                        (point.x, (mean - deviation).max(0.0)),
                        (point.x, mean + deviation),
                    ];
                    PathElement::new(ends, colour.mix(0.4))
                });
            chart.draw_series(bars).map_err(told)?;
        }
        chart
            .configure_series_labels()
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.3))
            .draw()
            .map_err(told)?;
        drop(chart);
        area.present().map_err(told)
    }
}
