//! The pictures of a sweep over lengths of training.

use super::{
    plot::{Plot, Room},
    recorded::Recorded,
};
use crate::ablation::OverHorizons;
use figures::{
    plot::{Axis, LineChart, LinePoint, LineSeries, Scale},
    stats::sd,
};

/// Final losses over the lengths of the runs; `None` for runs of one length.
pub(super) fn losses_by_length(recorded: &Recorded) -> Option<Plot> {
    let points = |arm: &OverHorizons| {
        let points = arm.points.iter().map(|point| LinePoint {
            x: point.tokens as f64,
            y: point.val_loss,
            band: sd(&point.losses).map(|sd| [point.val_loss - sd, point.val_loss + sd]),
        });
        points.collect()
    };
    let caption = "Loss after the last step of runs of several lengths, each with a schedule of its \
        own: mean over seeds, with one standard deviation on either side.";
    let unit = recorded.results.loss_unit.to_owned();
    let titles = ["Final loss by length of training", "Final loss by length"];
    by_length(recorded, "horizons", (titles, unit), caption, points)
}

/// Tokens multipliers over the lengths of the runs, as far as they are known.
pub(super) fn multipliers(recorded: &Recorded) -> Option<Plot> {
    let points = |arm: &OverHorizons| {
        let known = arm.points.iter().filter_map(|point| {
            let one = point.tokens_multiplier.filter(|one| one.bound.is_none())?;
            Some(LinePoint {
                x: point.tokens as f64,
                y: one.value,
                band: one.low.zip(one.high).map(|(low, high)| [low, high]),
            })
        });
        known.collect()
    };
    let caption = "How many times the tokens of an arm its baseline needs for the same loss, with \
        95 % intervals where both ends are known. Lengths of which no more than a bound is known are \
        left out.";
    let unit = "times the tokens".to_owned();
    let titles = [
        "Tokens multiplier by length of training",
        "Tokens multiplier",
    ];
    by_length(recorded, "multipliers", (titles, unit), caption, points)
}

/// A value of every arm over the tokens of its lengths.
fn by_length(
    recorded: &Recorded,
    name: &'static str,
    (titles, unit): ([&'static str; 2], String),
    caption: &'static str,
    points: impl Fn(&OverHorizons) -> Vec<LinePoint>,
) -> Option<Plot> {
    let arms = recorded.results.horizons.as_ref()?.arms.iter().enumerate();
    let series = arms.map(|(index, arm)| LineSeries {
        label: arm.label.clone(),
        index,
        points: points(arm),
    });
    let series: Vec<LineSeries> = series.filter(|one| !one.points.is_empty()).collect();
    let draw = |room: Room| {
        LineChart {
            title: room.pick(titles[0], titles[1]).into(),
            x: Axis {
                scale: Scale::Log,
                ..Axis::new("tokens")
            },
            y: Axis::new(&*unit),
            series: series.clone(),
            size: room.size(420.0),
        }
        .draw()
    };
    (!series.is_empty()).then(|| Plot::new(name, caption, draw))
}
