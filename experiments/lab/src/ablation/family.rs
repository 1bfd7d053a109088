//! Every connection there is, each in a network with as many parameters as the baseline's.

use super::{Ablation, Arm, arm::shc};
use crate::preset::Body;
use nn::connection::ConnectionConfig;

pub(super) const ABLATION: Ablation = Ablation {
    name: "ablation-family",
    title: "every connection, feed-forward layers narrowed until parameters are equal",
    paper: None,
    body: Body::Decoder,
    arms: |tanh| {
        let mut arms = vec![Arm::pre_norm()];
        for connection in ConnectionConfig::all() {
            match connection {
                ConnectionConfig::PreNorm(_) => {}
                ConnectionConfig::Hyper(dynamic) => {
                    arms.push(Arm::hyper(&shc(dynamic.rate)));
                    arms.extend(tanh.values().iter().map(|&tanh| {
                        let dynamic = dynamic.clone();
                        Arm::hyper(&nn::connection::HyperConfig { tanh, ..dynamic })
                    }));
                }
                other => arms.push(Arm::of(&type_of(&other), &other.spec().label(), &other)),
            }
        }
        let matched = |arm: Arm| Arm {
            matched: !arm.is_baseline(),
            ..arm
        };
        arms.into_iter().map(matched).collect()
    },
};

/// Its name in files, with dashes.
fn type_of(connection: &ConnectionConfig) -> String {
    let table = toml::Table::try_from(connection).expect("a configuration becomes TOML");
    let name = table.get("type").and_then(toml::Value::as_str);
    name.expect("a connection has a type").replace('_', "-")
}
