//! The pictures of a report.

use super::{
    Recorded,
    curves::{difference_curve, mean_curve},
};
use crate::{ablation::ArmResult, paper::Quantity};
use figures::{
    plot::{
        Axis, Forest, ForestRow, LineChart, LinePoint, LineSeries, Picture, Scatter, ScatterPoint,
    },
    stats::{MIN_SEEDS, Verdict},
};

/// What a picture is drawn for. One made for a desktop and shrunk to a phone has letters that nobody
/// can read.
#[derive(Debug, Clone, Copy)]
enum Room {
    Desktop,
    Phone,
}

impl Room {
    fn pick<T>(self, desktop: T, phone: T) -> T {
        match self {
            Self::Desktop => desktop,
            Self::Phone => phone,
        }
    }

    fn width(self) -> f64 {
        self.pick(760.0, 364.0)
    }

    fn size(self, height: f64) -> [f64; 2] {
        [self.width(), self.pick(height, 320.0)]
    }
}
/// The share of the tokens after which a curve has to fit into its plot: the fall in the
/// beginning is the same for everybody and would make everything else flat.
const SETTLED: f64 = 0.3;
/// More bands than this hide each other.
const MOST_BANDS: usize = 4;

/// A picture with its name in files.
#[derive(Debug, Clone)]
pub struct Plot {
    /// `differences`.
    pub name: &'static str,
    /// What it shows and how to read it.
    pub caption: String,
    /// The picture.
    pub picture: Picture,
    /// The same for a page that is no wider than a phone.
    pub narrow: Picture,
}

impl Plot {
    fn new(name: &'static str, caption: impl Into<String>, draw: impl Fn(Room) -> Picture) -> Self {
        Self {
            name,
            caption: caption.into(),
            picture: draw(Room::Desktop),
            narrow: draw(Room::Phone),
        }
    }
}

/// Differences, curves and costs; without those for which too little has finished.
pub fn plots(recorded: &Recorded) -> Vec<Plot> {
    let plots = [
        differences(recorded),
        losses(recorded),
        differences_by_tokens(recorded),
        cost_and_gain(recorded),
    ];
    plots.into_iter().flatten().collect()
}

/// Arms with a difference to a baseline.
fn compared(recorded: &Recorded) -> impl Iterator<Item = (usize, &ArmResult)> {
    let arms = recorded.results.arms.iter().enumerate();
    arms.filter(|(_, arm)| arm.baseline.is_some() && arm.delta.is_some())
}

fn differences(recorded: &Recorded) -> Option<Plot> {
    let unit = recorded.results.loss_unit;
    let paper = recorded.sweep.subject.paper.as_ref();
    let paper = paper.filter(|paper| paper.quantity == Quantity::Loss);
    let row = |arm: &ArmResult, room: Room| {
        let delta = arm.delta.as_ref()?;
        let text = match delta.interval {
            Some(_) if matches!(room, Room::Phone) => format!("{:+.4}", delta.mean),
            Some([low, high]) => format!("{:+.4} [{low:+.4}, {high:+.4}]", delta.mean),
            None => format!("{:+.4} (n=1)", delta.mean),
        };
        Some(ForestRow {
            label: arm.label.clone(),
            effect: Some((delta.mean, delta.interval)),
            text: text.replace('-', "−"),
            tone: match arm.verdict {
                Some(Verdict::Better) if arm.diverged_runs == 0 => "good",
                Some(Verdict::Worse) => "bad",
                _ => "plain",
            },
            reference: paper.and(arm.paper_delta.as_ref()).map(|deltas| deltas[0]),
        })
    };
    let rows = |room: Room| -> Vec<ForestRow> {
        let rows = compared(recorded).filter_map(|(_, arm)| row(arm, room));
        rows.collect()
    };
    let shown = rows(Room::Desktop);
    let reference = shown.iter().any(|row| row.reference.is_some());
    let reference = paper.filter(|_| reference).map(|paper| {
        format!(
            "the paper ({}, {}), at another scale",
            paper.place, paper.columns[0]
        )
    });
    let caption = "Arm minus baseline after the last step, paired by seed, with 95 % t intervals. \
        Coloured where the interval excludes zero also after Holm's correction: green is better, \
        orange worse.";
    let draw = |room: Room| {
        let long = format!("Δ validation loss ({unit}); below zero is better");
        Forest {
            title: room
                .pick(
                    "Difference of the validation loss to the baseline",
                    "Δ validation loss",
                )
                .into(),
            axis: Axis::new(room.pick(long, unit.to_owned())),
            rows: rows(room),
            reference: reference.clone(),
            width: room.width(),
        }
        .draw()
    };
    (!shown.is_empty()).then(|| Plot::new("differences", caption, draw))
}

fn losses(recorded: &Recorded) -> Option<Plot> {
    let arms = recorded.results.arms.iter().enumerate();
    let series: Vec<LineSeries> = arms
        .map(|(index, arm)| LineSeries {
            label: arm.label.clone(),
            index,
            points: mean_curve(&arm.runs),
        })
        .filter(|series| series.points.len() > 1)
        .collect();
    let range = settled_range(&series, |point| vec![point.y])?;
    let caption = "Mean over seeds, with one standard deviation on either side. The fall in the \
        beginning is cut off.";
    let draw = |room: Room| {
        LineChart {
            title: "Validation loss over tokens".into(),
            x: Axis::new("tokens"),
            y: Axis {
                range: Some(range),
                ..Axis::new(recorded.results.loss_unit)
            },
            series: series.clone(),
            size: room.size(460.0),
        }
        .draw()
    };
    Some(Plot::new("losses", caption, draw))
}

fn differences_by_tokens(recorded: &Recorded) -> Option<Plot> {
    let arms = &recorded.results.arms;
    let banded = compared(recorded).count() <= MOST_BANDS;
    let series: Vec<LineSeries> = compared(recorded)
        .filter_map(|(index, arm)| {
            let baseline = arms
                .iter()
                .find(|other| Some(&other.name) == arm.baseline.as_ref())?;
            let mut points = difference_curve(&baseline.runs, &arm.runs);
            // Two seeds have intervals that hide everything.
            if !banded || arm.delta.as_ref()?.seeds.len() < MIN_SEEDS {
                points.iter_mut().for_each(|point| point.band = None);
            }
            Some(LineSeries {
                label: arm.label.clone(),
                index,
                points,
            })
        })
        .filter(|series| series.points.len() > 1)
        .collect();
    let range = settled_range(&series, |point| {
        let [low, high] = point.band.unwrap_or([point.y; 2]);
        vec![0.0, low, high]
    })?;
    let caption = if banded {
        "Arm minus baseline at equal tokens, paired by seed, with 95 % t intervals of each point \
         by itself (from three seeds on)."
    } else {
        "Arm minus baseline at equal tokens, paired by seed; mean over seeds."
    };
    let draw = |room: Room| {
        LineChart {
            title: room
                .pick(
                    "Difference of the validation loss to the baseline over tokens",
                    "Δ validation loss over tokens",
                )
                .into(),
            x: Axis::new("tokens"),
            y: Axis {
                range: Some(range),
                ..Axis::new(format!("Δ ({})", recorded.results.loss_unit))
            },
            series: series.clone(),
            size: room.size(460.0),
        }
        .draw()
    };
    Some(Plot::new("differences-by-tokens", caption, draw))
}

/// A range for all points after [`SETTLED`] of the tokens, with a little to spare.
fn settled_range(
    series: &[LineSeries],
    values: impl Fn(&LinePoint) -> Vec<f64>,
) -> Option<[f64; 2]> {
    let points = || series.iter().flat_map(|series| &series.points);
    let end = points().map(|point| point.x).fold(0.0, f64::max);
    let shown = points()
        .filter(|point| point.x >= SETTLED * end)
        .flat_map(values)
        .filter(|value| value.is_finite());
    let (low, high) = shown.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    let spare = 0.05 * (high - low);
    (low < high).then_some([low - spare, high + spare])
}

fn cost_and_gain(recorded: &Recorded) -> Option<Plot> {
    let arms = &recorded.results.arms;
    let points: Vec<ScatterPoint> = compared(recorded)
        .filter_map(|(index, arm)| {
            let baseline = arms
                .iter()
                .find(|other| Some(&other.name) == arm.baseline.as_ref())?;
            let delta = arm.delta.as_ref()?;
            let time = arm.timing.step_ms? / baseline.timing.step_ms?;
            Some(ScatterPoint {
                label: arm.label.clone(),
                index,
                x: 100.0 * (time - 1.0),
                y: delta.mean,
                interval: delta.interval.filter(|_| delta.seeds.len() >= MIN_SEEDS),
            })
        })
        .collect();
    let caption = "What an arm gains in loss after the same tokens, over what its steps take \
        longer. Left and low is good.";
    let draw = |room: Room| {
        Scatter {
            title: "Cost against gain".into(),
            x: Axis::new("extra time for a step (%)"),
            y: Axis::new(format!(
                "Δ validation loss ({})",
                recorded.results.loss_unit
            )),
            points: points.clone(),
            size: room.size(420.0),
        }
        .draw()
    };
    (!points.is_empty()).then(|| Plot::new("cost-and-gain", caption, draw))
}
