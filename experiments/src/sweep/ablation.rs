//! `ablation-*`: one command for each ablation.

use super::{Beside, RunArgs};
use crate::{output::Failure, settings::Settings};
use clap::{ArgMatches, FromArgMatches, Subcommand};
use lab::{
    ablation::{ABLATIONS, Ablation, Sweep, Tanh},
    preset::Preset,
};

/// An ablation with its arguments.
#[derive(Debug)]
pub struct Command {
    ablation: &'static Ablation,
    args: AblationArgs,
}

/// Compare arms over several seeds and print a table of what the differences allow to say.
/// Finished runs are kept, interrupted ones go on where they were.
#[derive(Debug, clap::Args)]
pub(super) struct AblationArgs {
    /// Size: smoke (seconds), small (ten minutes), medium (hours), large (overnight)
    #[arg(long, value_name = "SIZE", default_value = "small")]
    preset: String,
    /// Dynamic arms with tanh, without, or both
    #[arg(long, value_enum, default_value = "on")]
    pub(super) tanh: Tanh,
    #[command(flatten)]
    pub(super) settings: Settings,
    #[command(flatten)]
    pub(super) run: RunArgs,
}

impl AblationArgs {
    /// The preset of a body at the size that `--preset` asks for.
    pub(super) fn preset_of(&self, body: &str) -> Result<&'static Preset, Failure> {
        let preset = Preset::of(body).find(|preset| preset.size() == self.preset);
        preset.ok_or_else(|| {
            let sizes: Vec<&str> = Preset::of(body).map(Preset::size).collect();
            let sizes = sizes.join(", ");
            Failure::Usage(format!("--preset {}: expected one of {sizes}", self.preset))
        })
    }
}

impl Subcommand for Command {
    fn augment_subcommands(command: clap::Command) -> clap::Command {
        ABLATIONS.iter().fold(command, |command, ablation| {
            let about = match &ablation.paper {
                Some(paper) => format!("Compare: {} ({})", ablation.title, paper.place),
                None => format!("Compare: {}", ablation.title),
            };
            let subcommand = clap::Command::new(&*ablation.name);
            command.subcommand(<AblationArgs as clap::Args>::augment_args(subcommand).about(about))
        })
    }

    fn augment_subcommands_for_update(command: clap::Command) -> clap::Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        ABLATIONS.iter().any(|ablation| ablation.name == name)
    }
}

impl FromArgMatches for Command {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let missing = || clap::Error::new(clap::error::ErrorKind::MissingSubcommand);
        let (name, matches) = matches.subcommand().ok_or_else(missing)?;
        let ablation = ABLATIONS.iter().find(|ablation| ablation.name == name);
        Ok(Self {
            ablation: ablation.ok_or_else(missing)?,
            args: AblationArgs::from_arg_matches(matches)?,
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Command {
    /// Runs what is left to run and prints the table.
    pub fn run(self) -> Result<(), Failure> {
        let Self { ablation, args } = self;
        let preset = args.preset_of(&ablation.body)?;
        let arms = ablation.arms(args.tanh);
        let common = args
            .settings
            .over_common(preset, ablation.common.clone(), &arms)?;
        let keys = args.settings.keys_for_all()?;
        let place = args
            .run
            .place(|| format!("{}-{}", ablation.name, preset.size()));
        let seeds = args.run.seeds(&preset.seeds);
        let sweep = Sweep::new(ablation.into(), arms, &common, &keys, seeds, place);
        let contrasts = ablation.contrasts(args.tanh);
        let sweep = args.run.of_lengths(sweep, (None, &[]), contrasts)?;
        args.run.go(&sweep, preset, &|_| Beside::default())?;
        Ok(())
    }
}
