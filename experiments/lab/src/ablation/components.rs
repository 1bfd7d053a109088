//! Which part of DHC x4 matters: width connections (A_m and A_r) or B frozen at their initial
//! values, the paper's Table 3.

use super::{
    Ablation, Arm,
    arm::{dhc, paper_name},
};
use crate::{paper::TABLE_3, preset::Body};
use nn::connection::hyper::FrozenPart::{Mix, Read, Write};

pub(super) const ABLATION: Ablation = Ablation {
    name: "ablation-components",
    title: "DHC x4 with parts frozen at their initial values",
    paper: Some(&TABLE_3),
    body: Body::Decoder,
    arms: |tanh| {
        let mut arms = vec![Arm::pre_norm()];
        for &tanh in tanh.values() {
            let whole = dhc(4, tanh);
            let frozen = |parts: &[_], name, label| {
                let mut config = whole.clone();
                config.frozen = parts.to_vec();
                Arm::hyper(&config).named(name, label)
            };
            let whole = Arm::hyper(&whole);
            let name = paper_name(&whole.label);
            let paper = |suffix: &str| TABLE_3.row(&format!("{name}{suffix}"));
            arms.extend([
                frozen(&[Read, Mix], "frozen-wc", "frozen WC").paper(paper(", frozen WC")),
                frozen(&[Write], "frozen-b", "frozen B").paper(paper(", frozen B")),
                whole.paper(paper("")),
            ]);
        }
        arms
    },
};
