//! The second stage of `lr-sweep`: each arm at its best rate, on seeds that had no part in the choice.

use figures::terminal::{stdout_width, wrapped};
use lab::{
    ablation::{Arm, BestRate, BestRates, Results, Subject, Sweep, SweepError},
    config::Layers,
    invocation::{command_line, path_argument},
    run_dir::RunId,
};
use serde_json::json;
use toml::{Table, Value};

/// File of the sweep directory that describes the second stage, for the command `sweep`.
pub(super) const FILE: &str = "best.toml";

/// Name of the second stage of a sweep.
fn name_of(sweep: &Sweep) -> String {
    format!("{}-best", sweep.name)
}

/// Refuses to choose on a seed that the second stage has been run on.
pub(super) fn check(sweep: &Sweep) -> Result<(), SweepError> {
    let path = sweep.root.join(name_of(sweep));
    if !path.is_dir() {
        return Ok(());
    }
    let chosen_on = sweep.all_seeds()?;
    let used = RunId::find_all(&path)?;
    match used.iter().find(|run| chosen_on.contains(&run.seed)) {
        Some(run) => Err(SweepError::ChosenOn {
            seed: run.seed,
            path,
        }),
        None => Ok(()),
    }
}

/// The best arms of a sweep of learning rates on other seeds.
pub(super) struct Confirmation<'s> {
    sweep: &'s Sweep,
    /// The arms at their best rates, by their places in the sweep, the baseline first.
    places: Vec<usize>,
    chosen_on: Vec<u64>,
    seeds: Vec<u64>,
}

impl<'s> Confirmation<'s> {
    /// Of so many seeds, those after the last one that the rates were chosen on.
    pub(super) fn of(sweep: &'s Sweep, results: &Results, best: &BestRates, seeds: u64) -> Self {
        let place = |arm: &BestRate| sweep.arms.iter().position(|known| known.name == arm.name);
        let places = best.arms.iter().filter_map(place);
        let first = results
            .seeds
            .last()
            .map_or(0, |last| last.saturating_add(1));
        Self {
            sweep,
            places: places.collect(),
            chosen_on: results.seeds.clone(),
            seeds: (first..first.saturating_add(seeds)).collect(),
        }
    }

    fn title(&self) -> String {
        format!("best rates of {}, on other seeds", self.sweep.name)
    }

    /// The sweep, from the settings of the first one.
    pub(super) fn sweep(&self, common: &Layers, keys: &[String]) -> Result<Sweep, SweepError> {
        let baseline = &self.sweep.arms[self.places[0]].name;
        let arms = self.places.iter().map(|&place| {
            let arm = &self.sweep.arms[place];
            Arm {
                baseline: (arm.name != *baseline).then(|| baseline.clone()),
                ..arm.clone()
            }
        });
        let subject = Subject {
            name: "lr-sweep".to_owned(),
            title: self.title(),
            paper: None,
        };
        let place = (self.sweep.root.clone(), name_of(self.sweep));
        let seeds = self.seeds.clone();
        let sweep = Sweep::new(subject, arms.collect(), common, keys, seeds, place)?;
        let sweep = sweep.matched_by(self.sweep.by)?;
        sweep.apart_from(&self.chosen_on)
    }

    /// The same as a file for the command `sweep`.
    pub(super) fn file(&self) -> String {
        let arms = self.places.iter().map(|&place| {
            let config = &self.sweep.configs[place];
            let mut settings = config.to_table();
            // Seeds are the sweep's business.
            if let Some(Value::Table(train)) = settings.get_mut("train") {
                train.remove("seed");
            }
            // Not written back of the first corpus, which is not the default of a file.
            if let Some(Value::Table(data)) = settings.get_mut("data") {
                let builtin = Value::try_from(config.data.builtin).expect("a name");
                data.insert("builtin".to_owned(), builtin);
            }
            let Arm { name, label, .. } = &self.sweep.arms[place];
            json!({ "name": name, "label": label, "set": settings })
        });
        let numbers =
            |seeds: &[u64]| -> Vec<i64> { seeds.iter().map(|&seed| seed as i64).collect() };
        let mut file = json!({
            "title": self.title(),
            "seeds": numbers(&self.seeds),
            "chosen_on": numbers(&self.chosen_on),
            "baseline": self.sweep.arms[self.places[0]].name,
            "arm": arms.collect::<Vec<_>>(),
        });
        if let Some(by) = self.sweep.by {
            file["match"] = by.name().into();
        }
        Table::try_from(file)
            .expect("a sweep becomes TOML")
            .to_string()
    }

    /// How to run it, on a line of its own, however long, so that it can be pasted.
    pub(super) fn advice(&self) -> String {
        let file = path_argument(&self.sweep.path().join(FILE));
        let name = name_of(self.sweep);
        let words = [
            "sweep".as_ref(),
            file.as_os_str(),
            "--name".as_ref(),
            name.as_ref(),
        ];
        let sentence = "to confirm on other seeds, or do both with --confirm N:";
        let sentence = wrapped(sentence, stdout_width());
        format!("{sentence}  {}\n", command_line(&words))
    }
}
