//! The pictures of a report.

use super::{
    horizon_plots::{losses_by_length, multipliers},
    plot::{Plot, Room},
    recorded::Recorded,
};
use crate::{
    ablation::{ArmResult, Cost, CurvePoint, Delta, RunResult, signed},
    paper::Quantity,
};
use figures::{
    plot::{
        Axis, Forest, ForestRow, LineChart, LinePoint, LineSeries, Picture, Scatter, ScatterPoint,
    },
    stats::{Estimate, MIN_SEEDS, Verdict, mean, sd},
};

/// The share of the tokens after which a curve has to fit into its plot: the fall in the
/// beginning is the same for everybody and would make everything else flat.
const SETTLED: f64 = 0.3;
/// More bands than this hide each other.
const MOST_BANDS: usize = 4;

/// Differences, curves and costs; without those for which too little has finished.
pub fn plots(recorded: &Recorded) -> Vec<Plot> {
    let plots = [
        differences(recorded),
        losses(recorded),
        differences_by_tokens(recorded),
        cost_and_gain(recorded),
        losses_by_length(recorded),
        multipliers(recorded),
    ];
    plots.into_iter().flatten().collect()
}

/// An arm with a difference to a baseline.
struct Compared<'r> {
    /// Number of its colour and mark.
    index: usize,
    arm: &'r ArmResult,
    delta: &'r Delta,
    baseline: Option<&'r ArmResult>,
}

fn compared(recorded: &Recorded) -> impl Iterator<Item = Compared<'_>> {
    let arms = &recorded.results.arms;
    arms.iter().enumerate().filter_map(move |(index, arm)| {
        let name = arm.baseline.as_ref()?;
        Some(Compared {
            index,
            arm,
            delta: arm.delta.as_ref()?,
            baseline: arms.iter().find(|other| &other.name == name),
        })
    })
}

fn differences(recorded: &Recorded) -> Option<Plot> {
    let unit = recorded.results.loss_unit;
    let paper = recorded.sweep.subject.paper.as_ref();
    let paper = paper.filter(|paper| paper.quantity == Quantity::Loss);
    let row = |Compared { arm, delta, .. }: Compared<'_>, room: Room| ForestRow {
        label: arm.label.clone(),
        effect: Some((delta.mean, delta.interval)),
        text: match delta.interval {
            Some(_) if matches!(room, Room::Phone) => signed(delta.mean, 4),
            Some(ends) => {
                let [low, high] = ends.map(|end| signed(end, 4));
                format!("{} [{low}, {high}]", signed(delta.mean, 4))
            }
            None => format!("{} (n=1)", signed(delta.mean, 4)),
        },
        tone: match arm.verdict {
            Some(Verdict::Better) if arm.diverged_runs == 0 => "good",
            Some(Verdict::Worse) => "bad",
            _ => "plain",
        },
        reference: paper.and(arm.paper_delta.as_ref()).map(|deltas| deltas[0]),
    };
    let rows = |room: Room| -> Vec<ForestRow> {
        let arms = compared(recorded);
        arms.map(|compared| row(compared, room)).collect()
    };
    let shown = rows(Room::Desktop);
    let reference = shown.iter().any(|row| row.reference.is_some());
    let reference = paper.filter(|_| reference).map(|paper| {
        let (place, column) = (&paper.place, &paper.columns[0]);
        format!("the paper ({place}, {column}), at another scale")
    });
    let caption = "Arm minus baseline after the last step, paired by seed, with 95 % intervals, over \
        seeds and, where it is known, over the validation text. Coloured where the interval excludes zero also after Holm's correction: green is better, \
        orange worse.";
    let draw = |room: Room| {
        let title = "Difference of the validation loss to the baseline";
        let axis = format!("Δ validation loss ({unit}); below zero is better");
        Forest {
            title: room.pick(title, "Δ validation loss").into(),
            axis: Axis::new(room.pick(&*axis, unit)),
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
    let series = arms.map(|(index, arm)| LineSeries {
        label: arm.label.clone(),
        index,
        points: mean_curve(&arm.runs),
    });
    let caption = "Mean over seeds, with one standard deviation on either side. The fall in the \
        beginning is cut off.";
    let title = "Validation loss over tokens";
    let unit = recorded.results.loss_unit;
    let values = |point: &LinePoint| vec![point.y];
    let curves = curves([title; 2], unit.to_owned(), series.collect(), values)?;
    Some(Plot::new("losses", caption, curves))
}

/// `None` for arms of equal cost: at equal tokens they are at different parts of their schedules.
fn differences_by_tokens(recorded: &Recorded) -> Option<Plot> {
    if recorded.results.matched_by.is_some() {
        return None;
    }
    let banded = compared(recorded).count() <= MOST_BANDS;
    let series = compared(recorded).filter_map(|compared| {
        let mut points = difference_curve(&compared.baseline?.runs, &compared.arm.runs);
        // Two seeds have intervals that hide everything.
        if !banded || compared.delta.seeds.len() < MIN_SEEDS {
            points.iter_mut().for_each(|point| point.band = None);
        }
        Some(LineSeries {
            label: compared.arm.label.clone(),
            index: compared.index,
            points,
        })
    });
    let caption = if banded {
        "Arm minus baseline at equal tokens, paired by seed, with 95 % t intervals of each point \
         by itself (from three seeds on)."
    } else {
        "Arm minus baseline at equal tokens, paired by seed; mean over seeds."
    };
    let titles = [
        "Difference of the validation loss to the baseline over tokens",
        "Δ validation loss over tokens",
    ];
    let unit = format!("Δ ({})", recorded.results.loss_unit);
    let values = |point: &LinePoint| {
        let [low, high] = point.band.unwrap_or([point.y; 2]);
        vec![0.0, low, high]
    };
    let curves = curves(titles, unit, series.collect(), values)?;
    Some(Plot::new("differences-by-tokens", caption, curves))
}

/// Curves over tokens, with room for `values` of all points after [`SETTLED`] of the tokens of
/// their curve; for a desktop and for a phone with a title each.
fn curves(
    titles: [&'static str; 2],
    unit: String,
    mut series: Vec<LineSeries>,
    values: impl Fn(&LinePoint) -> Vec<f64>,
) -> Option<impl Fn(Room) -> Picture> {
    series.retain(|series| series.points.len() > 1);
    let range = settled(&series, values)?;
    Some(move |room: Room| {
        LineChart {
            title: room.pick(titles[0], titles[1]).into(),
            x: Axis::new("tokens"),
            y: Axis {
                range: Some(range),
                ..Axis::new(&*unit)
            },
            series: series.clone(),
            size: room.size(460.0),
        }
        .draw()
    })
}

/// The smallest and the largest of `values` after [`SETTLED`] of every curve, and a little room:
/// curves of several lengths are each seen to their end.
fn settled(series: &[LineSeries], values: impl Fn(&LinePoint) -> Vec<f64>) -> Option<[f64; 2]> {
    let of_one = |LineSeries { points, .. }: &LineSeries| {
        let end = points.iter().map(|point| point.x).fold(0.0, f64::max);
        let shown = points.iter().filter(|point| point.x >= SETTLED * end);
        shown.flat_map(&values).collect::<Vec<f64>>()
    };
    let shown = series.iter().flat_map(of_one);
    let shown = shown.filter(|value| value.is_finite());
    let (low, high) = shown.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    let spare = 0.05 * (high - low);
    (low < high).then_some([low - spare, high + spare])
}

/// The mean over seeds at the points that all of the runs have, with a band of one standard
/// deviation on either side.
fn mean_curve(runs: &[RunResult]) -> Vec<LinePoint> {
    let value = |run: &RunResult, tokens| loss_at(run, tokens);
    let first = runs.first().map_or(&[][..], RunResult::curve);
    curve(first, runs, value, |losses| {
        let (mean, sd) = (mean(losses), sd(losses)?);
        Some([mean - sd, mean + sd])
    })
}

/// The mean difference to the baseline over the seeds that both have, with its 95 % interval,
/// at the points that all of these runs have.
fn difference_curve(baseline: &[RunResult], arm: &[RunResult]) -> Vec<LinePoint> {
    let pairs = baseline.iter().filter_map(|base| {
        let same = arm.iter().find(|run| run.seed == base.seed)?;
        Some((base, same))
    });
    let pairs: Vec<(&RunResult, &RunResult)> = pairs.collect();
    let first = pairs.first().map_or(&[][..], |(base, _)| base.curve());
    let value = |(base, run): &(&RunResult, &RunResult), tokens| {
        Some(loss_at(run, tokens)? - loss_at(base, tokens)?)
    };
    curve(first, &pairs, value, |differences| {
        Estimate::of(differences).map(|e| [e.low, e.high])
    })
}

/// The mean of `value` at those of the points of the first run where all have one.
fn curve<R>(
    first: &[CurvePoint],
    runs: &[R],
    value: impl Fn(&R, u64) -> Option<f64>,
    band: impl Fn(&[f64]) -> Option<[f64; 2]>,
) -> Vec<LinePoint> {
    let points = first.iter().filter_map(|point| {
        let values = runs.iter().map(|run| value(run, point.tokens));
        let values: Vec<f64> = values.collect::<Option<_>>()?;
        Some(LinePoint {
            x: point.tokens as f64,
            y: mean(&values),
            band: band(&values),
        })
    });
    points.collect()
}

fn loss_at(run: &RunResult, tokens: u64) -> Option<f64> {
    let curve = run.curve();
    let place = curve.binary_search_by_key(&tokens, |point| point.tokens);
    place.ok().map(|place| curve[place].loss)
}

fn cost_and_gain(recorded: &Recorded) -> Option<Plot> {
    let points = compared(recorded).filter_map(
        |Compared {
             index,
             arm,
             delta,
             baseline,
         }| {
            let time = arm.timing.step_ms? / baseline?.timing.step_ms?;
            Some(ScatterPoint {
                label: arm.label.clone(),
                index,
                x: 100.0 * (time - 1.0),
                y: delta.mean,
                interval: delta.interval.filter(|_| delta.seeds.len() >= MIN_SEEDS),
            })
        },
    );
    let points: Vec<ScatterPoint> = points.collect();
    let after = match recorded.results.matched_by {
        None => "the same tokens",
        Some(Cost::Time) => "the same time",
        Some(Cost::Flops) => "the same operations",
    };
    let caption = format!(
        "What an arm gains in loss after {after}, over what its steps take longer. Left and low is good."
    );
    let unit = recorded.results.loss_unit;
    let draw = |room: Room| {
        Scatter {
            title: "Cost against gain".into(),
            x: Axis::new("extra time for a step (%)"),
            y: Axis::new(format!("Δ validation loss ({unit})")),
            points: points.clone(),
            size: room.size(420.0),
        }
        .draw()
    };
    (!points.is_empty()).then(|| Plot::new("cost-and-gain", caption, draw))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_has_room_for_the_end_of_short_curves_and_not_for_the_fall_in_the_beginning() {
        let curve = |length: usize| LineSeries {
            label: String::new(),
            index: 0,
            points: (1..=10)
                .map(|tenth| LinePoint {
                    x: (length * tenth) as f64,
                    y: 10.0 / (length * tenth) as f64,
                    band: None,
                })
                .collect(),
        };
        let [low, high] = settled(&[curve(1), curve(8)], |point| vec![point.y]).expect("a range");
        assert!(low < 0.125 && 1.0 < high && high < 5.0, "{low} to {high}");
    }
}
