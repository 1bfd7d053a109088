//! GLM-5.3-Flash: the form of DeepSeek-V4, the mean of the streams at the end, and settings in
//! `text_config`. Layers from `num_hidden_layers` on predict further tokens.

use super::{Dialect, Last, PLAIN, deepseek_v4};
use crate::settings::{EPS, ITERATIONS, NORM_EPS_5};

pub(super) static DIALECT: Dialect = Dialect {
    name: "glm5_next",
    title: "GLM-5.3-Flash",
    source: "transformers 5.24, models/glm5_next",
    families: &["glm5next", "glm5nexttext"],
    sites: deepseek_v4::SITES,
    settings: &[ITERATIONS, EPS, NORM_EPS_5],
    last: Last::Mean,
    ..PLAIN
};
