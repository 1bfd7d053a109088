//! Plots as SVG, without any other program: line charts with bands, forest plots, scatter plots,
//! heat-maps.
//!
//! A plot is a value ([`LineChart`], [`Forest`], [`Scatter`], [`HeatMap`]) that draws itself into a
//! [`Picture`], which is written as a file of its own, into a page, or (with the cargo feature
//! `png-plots`) as PNG. Colours are classes of one style sheet, [`STYLE`], so that a plot is
//! readable on white and, where the reader's system asks for it, on dark. Series are told apart
//! by colour, and by dashes or marks too, since not everybody sees colours.

mod axis;
mod canvas;
mod forest;
mod heatmap;
mod lines;
mod png;
mod scatter;

pub use axis::{Axis, Scale};
pub use canvas::{Anchor, Canvas, Picture, SERIES, STYLE, escaped, series_class};
pub use forest::{Forest, ForestRow};
pub use heatmap::HeatMap;
pub use lines::{LineChart, LinePoint, LineSeries};
pub use png::PngError;
pub use scatter::{Scatter, ScatterPoint};

#[cfg(test)]
mod tests;
