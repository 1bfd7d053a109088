//! `lr-sweep`: an untuned learning rate is the usual flaw of comparisons.

use super::{
    Beside,
    ablation::AblationArgs,
    confirmation::{self, Confirmation},
    planning, unknown,
};
use crate::output::Failure;
use figures::terminal::{Colour, stdout_width, wrapped};
use lab::ablation::{ABLATIONS, Ablation, Arm, BestRates, Subject, Sweep, SweepError};
use std::{
    fmt::Write as _,
    io::{Write as _, stdout},
};

/// Find the best learning rate of each arm over several seeds and, with --confirm, compare the arms
/// there on other seeds. Finished runs are kept, interrupted ones go on where they were.
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
    /// Then compare the arms, each at its best rate, on N seeds that had no part in the choice
    #[arg(long, value_name = "N", value_parser = fresh_seeds, conflicts_with_all = ["list", "task", "emit"])]
    confirm: Option<u64>,
    #[command(flatten)]
    common: AblationArgs,
}

const KEY: &str = "train.learning_rate";

fn fresh_seeds(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(seeds @ 1..=1000) => Ok(seeds),
        _ => Err("expected 1 to 1000 seeds".to_owned()),
    }
}

impl Args {
    /// Runs what is left to run, and prints the table of all rates and that of the best ones; then,
    /// if it is asked for, the comparison at the best rates on other seeds.
    pub fn run(self) -> Result<(), Failure> {
        let ablation = self.ablation()?;
        let AblationArgs { settings, run, .. } = &self.common;
        let preset = self.common.preset_of(&ablation.body)?;
        let planned = |error| planning(SweepError::Config(error));
        let arms = self.arms(ablation)?;
        let common = settings.over_common(preset, ablation.common.clone(), &arms)?;
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
        if self.confirm.is_some() {
            confirmation::check(&sweep).map_err(planning)?;
        }
        let results = run.go(&sweep, preset, &|results| {
            let best = BestRates::of(results, &labels, &rates);
            if best.arms.is_empty() {
                return Beside::default();
            }
            let table = best.table().to_text(stdout_width(), Colour::for_stdout());
            let mut text = format!("\n{table}\n");
            for line in &best.notes() {
                let _ = write!(text, "{}", wrapped(line, stdout_width()));
            }
            if !best.can_be_compared() {
                return Beside { text, file: None };
            }
            let seeds = self.confirm.unwrap_or(results.seeds.len() as u64);
            let confirmation = Confirmation::of(&sweep, results, &best, seeds);
            if self.confirm.is_none() {
                text.push_str(&confirmation.advice());
            }
            Beside {
                text,
                file: Some((confirmation::FILE, confirmation.file())),
            }
        })?;
        let Some(seeds) = self.confirm else {
            return Ok(());
        };
        let Some(results) = results else {
            if run.dry_run {
                let line = format!(
                    "then {} arms at their best rates with {seeds} seeds that have no part in the choice",
                    labels.len()
                );
                write!(stdout(), "{}", wrapped(&line, stdout_width()))?;
            }
            return Ok(());
        };
        let best = BestRates::of(&results, &labels, &rates);
        if !best.can_be_compared() {
            let reason = format!(
                "nothing to confirm: {} or all others have no rate at which every seed ended well: \
                 try lower --rates",
                labels[0]
            );
            return Err(Failure::Failed(reason));
        }
        let confirmation = Confirmation::of(&sweep, &results, &best, seeds);
        let confirming = confirmation.sweep(&common, &keys).map_err(planning)?;
        writeln!(stdout())?;
        run.go(&confirming, preset, &|_| Beside::default())?;
        Ok(())
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
