//! DeepSeek-V4.1: the tensors of DeepSeek-V4 with another meaning. The read that a site computes
//! acts at the next site, that of the first is `e_0`, and that of the last is the output.

use super::{Dialect, Last, PLAIN, deepseek_v4};
use crate::settings::{EPS, ITERATIONS, NORM_EPS, Setting};

pub(super) static DIALECT: Dialect = Dialect {
    name: "deepseek_v41",
    title: "DeepSeek-V4.1-Flash (single-pass): reads act one site later",
    source: "model card and inference code of the release; Megatron-LM, mhc_single_pass",
    families: &["deepseekv41", "deepseek41"],
    sites: deepseek_v4::SITES,
    settings: &[ITERATIONS, EPS, NORM],
    delayed: |_| true,
    last: Last::Learned,
    ..PLAIN
};

/// The released value is far smaller than that of DeepSeek-V4; no certain one is known.
const NORM: Setting = NORM_EPS;
