//! What trained networks make: text byte by byte, images step by step.

mod grid;
mod images;
mod text;

pub use grid::{Grid, GridError};
pub use images::{Drawing, draw_images};
pub use text::{Choice, continue_text};
