//! What trained networks make: text byte by byte, images step by step.

mod images;
mod text;

pub use images::{Drawing, Grid, GridError, draw_images};
pub use text::{Choice, continue_text};
