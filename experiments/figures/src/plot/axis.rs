//! From numbers to places, and the numbers that are written beside an axis.

use super::{Anchor, Canvas};

/// Division of an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scale {
    /// Equal steps are equal differences.
    #[default]
    Linear,
    /// Equal steps are equal ratios; only for numbers above zero.
    Log,
}

/// An axis of a plot.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Axis {
    /// Quantity that it measures, with the unit.
    pub label: String,
    /// Division.
    pub scale: Scale,
    /// Ends; those of what is shown if there are none given.
    pub range: Option<[f64; 2]>,
}

impl Axis {
    /// An axis that shows everything in equal steps.
    pub fn new(label: impl Into<String>) -> Self {
        Self {
            label: label.into(),
            ..Self::default()
        }
    }

    /// The label, saying so where equal steps are not equal differences.
    fn full_label(&self) -> String {
        match self.scale {
            Scale::Linear => self.label.clone(),
            Scale::Log => format!("{} (logarithmic)", self.label),
        }
    }

    /// The axis over places `from` to `to`, long enough for all of `values` unless it has a
    /// range of its own. Values that are not finite count for nothing.
    pub(super) fn over(
        &self,
        values: impl IntoIterator<Item = f64>,
        [from, to]: [f64; 2],
    ) -> Placed {
        let log = self.scale == Scale::Log;
        let shown = values
            .into_iter()
            .filter(|value| value.is_finite() && (!log || *value > 0.0));
        let (low, high) = shown.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        let [low, high] = match self.range {
            Some(range) => range,
            None if low > high => [if log { 1.0 } else { 0.0 }, if log { 10.0 } else { 1.0 }],
            None if low == high && log => [low / 2.0, high * 2.0],
            None if low == high => [
                low - 0.5 * low.abs().max(1.0),
                high + 0.5 * high.abs().max(1.0),
            ],
            None if log => [low, high],
            None => {
                let spare = 0.04 * (high - low);
                [low - spare, high + spare]
            }
        };
        Placed {
            scale: self.scale,
            values: [low, high],
            places: [from, to],
        }
    }
}

/// An axis with its place on the canvas.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Placed {
    scale: Scale,
    values: [f64; 2],
    places: [f64; 2],
}

impl Placed {
    /// Where a value is.
    pub(super) fn place(&self, value: f64) -> f64 {
        let [low, high] = self.values.map(|value| self.measured(value));
        let [from, to] = self.places;
        from + (self.measured(value) - low) / (high - low) * (to - from)
    }

    fn measured(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Linear => value,
            Scale::Log => value.log10(),
        }
    }

    pub(super) fn holds(&self, value: f64) -> bool {
        (self.values[0]..=self.values[1]).contains(&value)
    }

    /// About `wanted` round numbers within the axis, and how they are written.
    pub(super) fn ticks(&self, wanted: usize) -> Vec<(f64, String)> {
        let [low, high] = self.values;
        let decades = (high / low).log10();
        if self.scale == Scale::Log && decades >= 1.0 {
            return decade_ticks(low, high, wanted)
                .into_iter()
                .map(|value| (value, compact(value, value)))
                .collect();
        }
        let ends = |step: f64| ((low / step).ceil() as i64, (high / step).floor() as i64);
        let step = round_step((high - low) / wanted.max(1) as f64);
        if !step.is_normal() {
            // The numbers are too large or too close together to be divided.
            return vec![(low, compact(low, low)), (high, compact(high, high))];
        }
        // One number alone says nothing of the scale: then 4, 2 or 1 in place of 5, 1 of 2.
        let smaller = [1.0, 0.8, 0.5, 0.4, 0.2].map(|factor| factor * step);
        let several = |step: &f64| ends(*step).0 < ends(*step).1;
        let step = smaller.into_iter().find(several).unwrap_or(step);
        let (first, last) = ends(step);
        (first..=last)
            .map(|i| i as f64 * step)
            .map(|value| (value, compact(value, step)))
            .collect()
    }
}

/// The smallest of 1, 2 and 5 times a power of ten that is not below `step` (P. Heckbert, "Nice
/// numbers for graph labels", Graphics Gems, 1990).
fn round_step(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    let factors = [1.0, 2.0, 5.0];
    // A hair of tolerance: 0.2 / 0.1 is above 2.
    let enough = |factor: &f64| factor * power >= step * (1.0 - 1e-9);
    power * factors.into_iter().find(enough).unwrap_or(10.0)
}

/// Powers of ten, with 2 and 5 times them where there would be few.
fn decade_ticks(low: f64, high: f64, wanted: usize) -> Vec<f64> {
    // The powers that double precision has.
    let power = |value: f64| value.log10().clamp(-324.0, 308.0);
    let (first, last) = (power(low).floor() as i32, power(high).ceil() as i32);
    let with = |factors: &[f64]| -> Vec<f64> {
        (first..=last)
            .flat_map(|power| {
                factors
                    .iter()
                    .map(move |factor| factor * 10_f64.powi(power))
            })
            .filter(|value| (low..=high).contains(value))
            .collect()
    };
    let powers = with(&[1.0]);
    if powers.len() * 3 <= wanted + 1 {
        with(&[1.0, 2.0, 5.0])
    } else {
        powers
    }
}

/// A number with as many digits as multiples of `step` need, thousands as k, M, G and T.
fn compact(value: f64, step: f64) -> String {
    let units = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    let fitting = units.iter().find(|(size, _)| value.abs() >= *size);
    let (size, unit) = match fitting {
        Some(&unit) if value.abs() >= 1e4 => unit,
        _ => (1.0, ""),
    };
    let digits = (0..9)
        .find(|&digits| {
            let scaled = step / size * 10_f64.powi(digits);
            (scaled - scaled.round()).abs() < 1e-6 * scaled
        })
        .unwrap_or(9) as usize;
    let text = format!("{:.digits$}{unit}", value.abs() / size);
    if value < 0.0 && text.bytes().any(|b| (b'1'..=b'9').contains(&b)) {
        format!("−{text}")
    } else {
        text
    }
}

/// The frame of a plot: grid, numbers and labels.
pub(super) fn draw_axes(
    canvas: &mut Canvas,
    (x_axis, x): (&Axis, &Placed),
    (y_axis, y): (&Axis, &Placed),
) {
    let [left, right] = x.places;
    let [bottom, top] = y.places;
    for (value, text) in y.ticks(((bottom - top) / 45.0) as usize) {
        let place = y.place(value);
        canvas.line("grid", [left, place], [right, place]);
        canvas.text("number", [left - 8.0, place + 4.0], Anchor::End, &text);
    }
    for (value, text) in x.ticks(((right - left) / 75.0) as usize) {
        let place = x.place(value);
        canvas.line("axis", [place, bottom], [place, bottom + 5.0]);
        canvas.text("number", [place, bottom + 19.0], Anchor::Middle, &text);
    }
    canvas.line("axis", [left, bottom], [right, bottom]);
    if y.holds(0.0) {
        canvas.line("zero", [left, y.place(0.0)], [right, y.place(0.0)]);
    }
    let middle = (left + right) / 2.0;
    let below = [middle, bottom + 38.0];
    canvas.text("faint", below, Anchor::Middle, &x_axis.full_label());
    // Above the axis instead of along it: letters that stand upright are read more easily.
    canvas.text(
        "faint",
        [left - 48.0, top - 10.0],
        Anchor::Start,
        &y_axis.full_label(),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(scale: Scale, values: [f64; 2], wanted: usize) -> Vec<String> {
        let axis = Axis {
            scale,
            range: Some(values),
            ..Axis::new("")
        };
        let placed = axis.over([], [0.0, 100.0]);
        placed.ticks(wanted).into_iter().map(|(_, t)| t).collect()
    }

    #[test]
    fn ticks_are_round_and_have_the_digits_they_need() {
        assert_eq!(
            ticks(Scale::Linear, [0.0, 1.0], 5),
            ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]
        );
        assert_eq!(ticks(Scale::Linear, [-0.07, 0.012], 4), ["−0.05", "0.00"]);
        assert_eq!(
            ticks(Scale::Linear, [0.0, 800_000.0], 4),
            ["0", "200k", "400k", "600k", "800k"]
        );
        assert_eq!(
            ticks(Scale::Log, [1.0, 2000.0], 4),
            ["1", "10", "100", "1000"]
        );
        assert_eq!(ticks(Scale::Log, [1.0, 10.0], 5), ["1", "2", "5", "10"]);
    }

    #[test]
    fn a_short_axis_has_two_numbers_at_least() {
        let short = ticks(Scale::Linear, [-0.0041, 0.0044], 2);
        assert_eq!(short, ["−0.004", "0.000", "0.004"]);
        assert_eq!(
            ticks(Scale::Linear, [-0.035, 0.015], 2),
            ["−0.025", "0.000"]
        );
    }

    #[test]
    fn an_axis_holds_all_it_shows_and_places_it_in_order() {
        let placed = Axis::new("").over([3.0, f64::NAN, 1.0, 2.0], [100.0, 0.0]);
        assert!(placed.holds(1.0) && placed.holds(3.0));
        assert!((placed.place(2.0) - 50.0).abs() < 1e-9);
        assert!(placed.place(1.0) > placed.place(3.0));
    }

    #[test]
    fn numbers_of_any_size_have_a_few_ticks() {
        const LARGE: f64 = f64::MAX;
        for values in [
            [-LARGE, LARGE],
            [0.0, 5e-324],
            [1e308, LARGE],
            [1e300, 1.0000001e300],
        ] {
            for scale in [Scale::Linear, Scale::Log] {
                let axis = Axis {
                    scale,
                    ..Axis::new("")
                };
                let count = axis.over(values, [0.0, 100.0]).ticks(5).len();
                assert!((1..=700).contains(&count), "{values:?} {scale:?}: {count}");
            }
        }
    }

    #[test]
    fn one_value_or_none_still_make_an_axis() {
        for values in [&[][..], &[0.0], &[-2.5], &[f64::INFINITY]] {
            for scale in [Scale::Linear, Scale::Log] {
                let axis = Axis {
                    scale,
                    ..Axis::new("")
                };
                let placed = axis.over(values.iter().copied(), [0.0, 100.0]);
                assert!(!placed.ticks(5).is_empty(), "{values:?} {scale:?}");
            }
        }
    }
}
