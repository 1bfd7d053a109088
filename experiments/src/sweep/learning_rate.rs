//! `lr-sweep`: an untuned learning rate is the usual flaw of comparisons.

use super::{Beside, ablation::AblationArgs, planning, unknown};
use crate::output::Failure;
use figures::terminal::{Colour, stdout_width, wrapped};
use lab::{
    ablation::{ABLATIONS, Ablation, Arm, BestRates, Results, Subject, Sweep, SweepError},
    invocation::{command_line, path_argument},
};
use serde_json::json;
use std::fmt::Write;
use toml::{Table, Value};

/// Find the best learning rate of each arm over several seeds, and compare the arms there.
/// Finished runs are kept, interrupted ones go on where they were.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The ablation that the arms are from
    #[arg(long, value_name = "NAME", default_value = "ablation-rate")]
    ablation: String,
    /// Arms of the ablation, the baseline first
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "pre-norm,dhc-x4"
    )]
    arms: Vec<String>,
    /// Learning rates to try [default: a quarter, half, one, two and four times the preset's]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    rates: Vec<f64>,
    #[command(flatten)]
    common: AblationArgs,
}

const KEY: &str = "train.learning_rate";
/// A sweep that confirms the best rates.
const BEST_FILE: &str = "best.toml";

impl Args {
    /// Runs what is left to run, and prints the table of all rates and that of the best ones.
    pub fn run(self) -> Result<(), Failure> {
        let ablation = self.ablation()?;
        let AblationArgs { settings, run, .. } = &self.common;
        let preset = self.common.preset_of(&ablation.body)?;
        let planned = |error| planning(SweepError::Config(error));
        let common = settings.over(preset)?;
        let keys = settings.keys_for_all()?;
        if keys.iter().any(|key| key == KEY) {
            let message = format!("--set {KEY}: the rates of this command are those of --rates");
            return Err(Failure::Usage(message));
        }
        if run.horizons.is_some() {
            let message = "--horizons: a rate is chosen at one length, that of --set train.steps";
            return Err(Failure::Usage(message.to_owned()));
        }
        let usual = common.clone().resolve().map_err(planned)?;
        let rates = self.rates(usual.train.learning_rate)?;
        let arms = self.arms(ablation)?;
        let labels: Vec<String> = arms.iter().map(|arm| arm.label.clone()).collect();
        let subject = Subject {
            name: "lr-sweep".to_owned(),
            title: format!("learning rates of {}", labels.join(", ")),
            paper: None,
        };
        let place = run.place(|| format!("lr-sweep-{}", preset.size()));
        let seeds = run.seeds(&preset.seeds);
        let arms = at_rates(&arms, &rates);
        let sweep = Sweep::new(subject, arms, &common, &keys, seeds, place);
        let sweep = run.of_lengths(sweep, (None, &[]), Vec::new())?;
        run.go(&sweep, preset, &|results| {
            let best = BestRates::of(results, &labels, &rates);
            if best.arms.is_empty() {
                return Beside::default();
            }
            let table = best.table().to_text(stdout_width(), Colour::for_stdout());
            let mut text = format!("\n{table}\n");
            for line in &best.notes() {
                let _ = write!(text, "{}", wrapped(line, stdout_width()));
            }
            // On a line of its own, however long, so that it can be pasted.
            let file = path_argument(&sweep.path().join(BEST_FILE));
            let name = format!("{}-best", sweep.name);
            let words = [
                "sweep".as_ref(),
                file.as_os_str(),
                "--name".as_ref(),
                name.as_ref(),
            ];
            let confirm = command_line(&words);
            let _ = writeln!(text, "to confirm on other seeds:\n  {confirm}");
            let confirmation = confirmation(&sweep, results, &best, &rates, &labels);
            Beside {
                text,
                file: Some((BEST_FILE, confirmation.to_string())),
            }
        })
    }

    fn ablation(&self) -> Result<&'static Ablation, Failure> {
        let found = ABLATIONS.iter().find(|known| known.name == self.ablation);
        found.ok_or_else(|| {
            let names = ABLATIONS.iter().map(|ablation| &*ablation.name);
            unknown("--ablation", "", &self.ablation, names)
        })
    }

    fn arms(&self, ablation: &Ablation) -> Result<Vec<Arm>, Failure> {
        let all = ablation.arms(self.common.tanh);
        let again = |(at, name): &(usize, &String)| self.arms[..*at].contains(name);
        if let Some((_, name)) = self.arms.iter().enumerate().find(again) {
            return Err(Failure::Usage(format!("--arms: {name} is given twice")));
        }
        let found = self.arms.iter().map(|name| {
            let arm = all.iter().find(|arm| &arm.name == name);
            arm.cloned().ok_or_else(|| {
                let names = all.iter().map(|arm| arm.name.as_str());
                unknown("--arms", "", name, names)
            })
        });
        found.collect()
    }

    /// Ascending.
    fn rates(&self, usual: f64) -> Result<Vec<f64>, Failure> {
        let mut rates = self.rates.clone();
        if rates.is_empty() {
            rates.extend([0.25, 0.5, 1.0, 2.0, 4.0].map(|factor| factor * usual));
        }
        if let Some(wrong) = rates
            .iter()
            .find(|rate| !(rate.is_finite() && **rate > 0.0))
        {
            let message = format!("--rates: {wrong} is no learning rate");
            return Err(Failure::Usage(message));
        }
        rates.sort_by(f64::total_cmp);
        if let Some(pair) = rates.windows(2).find(|pair| pair[0] == pair[1]) {
            let message = format!("--rates: {} is given twice", pair[0]);
            return Err(Failure::Usage(message));
        }
        Ok(rates)
    }
}

/// Every arm at every rate; at each rate the first arm is what the others are compared with.
fn at_rates(arms: &[Arm], rates: &[f64]) -> Vec<Arm> {
    let named = |arm: &Arm, rate: f64| format!("{}_lr{rate}", arm.name);
    let mut all = Vec::with_capacity(arms.len() * rates.len());
    for (index, arm) in arms.iter().enumerate() {
        for &rate in rates {
            let at_rate = Arm {
                name: named(arm, rate),
                label: format!("{}, {rate}", arm.label),
                baseline: (index > 0).then(|| named(&arms[0], rate)),
                paper: None,
                ..arm.clone()
            };
            all.push(at_rate.with(KEY, rate));
        }
    }
    all
}

/// A sweep of the best arms on as many seeds that had no part in the choice.
fn confirmation(
    sweep: &Sweep,
    results: &Results,
    best: &BestRates,
    rates: &[f64],
    labels: &[String],
) -> Table {
    let seeds = &results.seeds;
    let first = seeds.last().map_or(0, |last| last.saturating_add(1));
    let fresh = first..first.saturating_add(seeds.len() as u64);
    let places = best.arms.iter().map(|arm| {
        let group = labels.iter().position(|label| label == &arm.label);
        let rate = rates.iter().position(|rate| *rate == arm.rate);
        group.expect("its label") * rates.len() + rate.expect("its rate")
    });
    let places: Vec<usize> = places.collect();
    let arms = places.iter().map(|&place| {
        let mut settings = sweep.configs[place].to_table();
        // Seeds are the sweep's business.
        if let Some(Value::Table(train)) = settings.get_mut("train") {
            train.remove("seed");
        }
        let Arm { name, label, .. } = &sweep.arms[place];
        json!({ "name": name, "label": label, "set": settings })
    });
    let by = sweep.by;
    let mut file = json!({
        "title": format!("best rates of {}, on other seeds", sweep.name),
        "seeds": fresh.map(|seed| seed as i64).collect::<Vec<_>>(),
        "baseline": sweep.arms[places[0]].name,
        "arm": arms.collect::<Vec<_>>(),
    });
    if let Some(by) = by {
        file["match"] = by.name().into();
    }
    Table::try_from(file).expect("a sweep becomes TOML")
}
