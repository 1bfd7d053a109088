//! What a sweep costs, before it runs: `--dry-run`, and the estimated time of every sweep.

use super::{Job, Study, Sweep, Unfinished, Workers, clock, run, seconds, show::number};
use crate::{
    run_dir::read_summary,
    train::{TrainError, Trainer},
};
use engine::params::Decay;
use figures::{
    table::Table,
    terminal::{Colour, wrapped},
};
use std::{
    collections::BTreeSet,
    convert::Infallible,
    fmt::Write,
    sync::atomic::AtomicBool,
    time::{Duration, Instant},
};

/// Steps that are timed for each arm, after one that warms up: at most so many, none more after
/// so long.
const TIMED_STEPS: u32 = 3;
const TIMED_FOR: Duration = Duration::from_millis(200);

/// Costs of arms of a sweep.
#[derive(Debug, Clone)]
pub struct Plan {
    arms: Vec<ArmPlan>,
    workers: Workers,
}

#[derive(Debug, Clone)]
struct ArmPlan {
    /// The arm, by its place in the sweep.
    arm: usize,
    parameters: u64,
    flops: u64,
    /// Decayed, never decayed, frozen.
    groups: [u64; 3],
    decayed: BTreeSet<String>,
    never_decayed: BTreeSet<String>,
    step: Duration,
    run: Duration,
    steps: u64,
}

impl Plan {
    /// Builds the network of each of `arms`, by their place in the sweep, and times a few of its
    /// steps, as many arms at a time as there will be runs; `None` once `stop` is set.
    ///
    /// # Errors
    /// [`Unfinished::Train`] for an arm that cannot be built, [`Unfinished::Threads`].
    pub fn of(
        study: &Study<'_>,
        arms: &[usize],
        workers: Workers,
        stop: &AtomicBool,
    ) -> Result<Option<Self>, Unfinished> {
        // More would only wait for each other's threads.
        let jobs = workers.jobs.min(workers.threads);
        let workers = Workers { jobs, ..workers };
        // An error is the caller's to deal with and stops nobody: it is part of what is returned.
        let planned = run(arms, &workers.start()?, stop, |&arm| {
            Ok::<_, Infallible>(ArmPlan::of(study, arm).map_err(|source| Unfinished::Train {
                run: study.sweep.arms[arm].label.clone(),
                source: Box::new(source),
            }))
        });
        let Ok(planned) = planned;
        let arms: Option<Result<Vec<_>, _>> = planned.into_iter().collect();
        let arms = arms.transpose()?;
        Ok(arms.map(|arms| Self { arms, workers }))
    }

    /// `25 of 25 runs to do, 2 at a time: about 9:40 (steps timed now)`.
    pub fn time(&self, runs: usize, pending: &[Job]) -> String {
        let steps_done = |job: &Job| match read_summary(&job.id.path) {
            Ok(Some(summary)) => summary.steps,
            _ => 0,
        };
        let times = pending.iter().filter_map(|job| {
            let arm = self.arms.iter().find(|arm| arm.arm == job.arm)?;
            let left = arm.steps.saturating_sub(steps_done(job));
            Some(arm.run.as_secs_f64() * left as f64 / arm.steps.max(1) as f64)
        });
        format!(
            "{} of {runs} runs to do, {} at a time: about {} (steps timed now)",
            pending.len(),
            self.workers.jobs,
            clock(seconds(until_all_end(times, self.workers.jobs)))
        )
    }

    /// The plan for a terminal of `width` columns.
    pub fn to_text(&self, sweep: &Sweep, runs: usize, pending: &[Job], width: usize) -> String {
        let known = |arm: &ArmPlan| &sweep.arms[arm.arm];
        let base = |arm: &ArmPlan| {
            let wanted = known(arm).baseline.as_ref();
            self.arms
                .iter()
                .find(|base| Some(&known(base).name) == wanted)
        };
        let more = |arm: &ArmPlan, of: fn(&ArmPlan) -> f64| {
            number(base(arm), |base| {
                format!("{:+.2}", 100.0 * (of(arm) / of(base) - 1.0))
            })
        };
        let costs = Table::of(&self.arms)
            .left("arm", |arm| &known(arm).label)
            .right("parameters", |arm| arm.parameters.to_string())
            .right("extra", |arm| {
                number(base(arm), |base| {
                    format!("{:+}", arm.parameters as i64 - base.parameters as i64)
                })
            })
            .right("(%)", |arm| more(arm, |arm| arm.parameters as f64))
            .right("kFLOPs per token", |arm| {
                format!("{:.1}", arm.flops as f64 / 1e3)
            })
            .right("extra (%)", |arm| more(arm, |arm| arm.flops as f64))
            .right("steps", |arm| arm.steps.to_string())
            .right("step (ms)", |arm| {
                format!("{:.1}", 1e3 * arm.step.as_secs_f64())
            })
            .right("run", |arm| clock(arm.run))
            .table();
        let groups = Table::of(&self.arms)
            .left("arm", |arm| &known(arm).label)
            .right("decayed", |arm| arm.groups[0].to_string())
            .right("never decayed", |arm| arm.groups[1].to_string())
            .right("frozen", |arm| arm.groups[2].to_string())
            .table();
        let names = |of: fn(&ArmPlan) -> &BTreeSet<String>| {
            let all: BTreeSet<&str> = self.arms.iter().flat_map(of).map(String::as_str).collect();
            all.into_iter().collect::<Vec<_>>().join(", ")
        };
        let mut text = costs.to_text(width, Colour::Off);
        let _ = write!(text, "\n{}\n", groups.to_text(width, Colour::Off));
        for line in [
            format!("decayed: {}", names(|arm| &arm.decayed)),
            format!("never decayed: {}", names(|arm| &arm.never_decayed)),
            format!(
                "{} arms, {} seeds, {}",
                self.arms.len(),
                sweep.seeds.len(),
                self.time(runs, pending)
            ),
            format!("files would be in {}", sweep.path().display()),
        ] {
            text.push_str(&wrapped(&line, width));
        }
        text
    }
}

impl ArmPlan {
    fn of(study: &Study<'_>, arm: usize) -> Result<Self, TrainError> {
        let config = &study.sweep.configs[arm];
        let mut trainer = Trainer::new(config, study.data)?.with_backend(study.backend);
        let account = trainer.account();
        let mut planned = Self {
            arm,
            parameters: account.parameters.trained,
            flops: account.flops.total(),
            groups: [0; 3],
            decayed: BTreeSet::new(),
            never_decayed: BTreeSet::new(),
            step: step_time(&mut trainer),
            run: Duration::ZERO,
            steps: config.train.steps as u64,
        };
        let decays_all = config.optim.decay_everything;
        for (_, param) in trainer.params().iter() {
            let elements = param.shape.len() as u64;
            let kinds = param.parts.iter().map(|part| kind(&part.name));
            if !param.trainable {
                planned.groups[2] += elements;
            } else if decays_all || param.decay == Decay::Yes {
                planned.groups[0] += elements;
                planned.decayed.extend(kinds);
            } else {
                planned.groups[1] += elements;
                planned.never_decayed.extend(kinds);
            }
        }
        let train = &config.train;
        let evaluations = match train.eval_every {
            0 => 1,
            every => train.steps.div_ceil(every),
        };
        // The forward is a third of the operations of a step.
        let evaluation = trainer.task().validation_rows() as f64 / train.batch as f64 / 3.0;
        let steps = train.steps as f64 + evaluations as f64 * evaluation;
        planned.run = seconds(planned.step.as_secs_f64() * steps);
        Ok(planned)
    }
}

/// Time of a step: the first one allocates and is not counted.
fn step_time(trainer: &mut Trainer) -> Duration {
    trainer.step();
    let begun = Instant::now();
    let mut steps = 0;
    while steps == 0 || steps < TIMED_STEPS && begun.elapsed() < TIMED_FOR {
        trainer.step();
        steps += 1;
    }
    begun.elapsed() / steps
}

/// Seconds until jobs of these lengths have ended, begun in their order, `together` at a time.
fn until_all_end(jobs: impl Iterator<Item = f64>, together: usize) -> f64 {
    let mut free_at = vec![0.0_f64; together];
    for job in jobs {
        let first = free_at.iter_mut().min_by(|a, b| a.total_cmp(b));
        *first.expect("a worker") += job;
    }
    free_at.into_iter().fold(0.0, f64::max)
}

/// `static_alpha` of `blocks.3.attn_connection.static_alpha`; with the layer where the last
/// name alone says little, `attn.qkv.weight`.
fn kind(path: &str) -> String {
    let named: Vec<&str> = path
        .split('.')
        .filter(|part| *part != "blocks" && part.parse::<usize>().is_err())
        .collect();
    named
        .join(".")
        .replace("attn_connection", "connection")
        .replace("ffn_connection", "connection")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ablation::{ABLATIONS, Tanh},
        data::{Corpus, Data, DataAccount},
        device::Selected,
        preset::PRESETS,
        run_dir::Environment,
    };
    use std::sync::Arc;

    fn sweep(ablation: &str, settings: &[&str]) -> Sweep {
        let ablation = ABLATIONS.iter().find(|known| known.name == ablation);
        let ablation = ablation.expect("it is there");
        let common = PRESETS[0].layers().set(settings).expect("settings");
        let place = ("runs".into(), "test".to_owned());
        let arms = ablation.arms(Tanh::On);
        Sweep::new(ablation.into(), arms, &common, &[], vec![0, 1], place).expect("smoke")
    }

    fn with_study<T>(sweep: &Sweep, then: impl FnOnce(&Study<'_>) -> T) -> T {
        let text: Vec<u8> = (0..40_000_u32).map(|i| (i * i % 251) as u8).collect();
        let corpus = Arc::new(Corpus {
            train: text[..30_000].to_vec().into(),
            validation: text[30_000..].to_vec().into(),
            validation_files: Vec::new(),
            vocabulary: 256,
            vocabulary_from: String::new(),
            account: DataAccount {
                name: "text".into(),
                fingerprint: "00".into(),
                ..DataAccount::default()
            },
        });
        let backend = Selected::default();
        then(&Study {
            sweep,
            data: &Data::from(&corpus),
            command: &[],
            environment: Environment::current(1, &*backend.backend),
            backend: &backend,
            patience: None,
        })
    }

    fn plan(study: &Study<'_>, arms: &[usize], jobs: usize) -> Plan {
        let workers = Workers { jobs, threads: 2 };
        let plan = Plan::of(study, arms, workers, &AtomicBool::new(false));
        plan.expect("it can be trained").expect("nobody stops it")
    }

    #[test]
    fn the_plan_tells_static_parts_from_decayed_ones_and_counts_every_parameter() {
        let sweep = sweep("ablation-components", &[]);
        let all: Vec<usize> = (0..sweep.arms.len()).collect();
        let plan = with_study(&sweep, |study| plan(study, &all, 2));
        let part = "connection.static_alpha";
        assert!(plan.arms.iter().any(|arm| arm.never_decayed.contains(part)));
        for arm in &plan.arms {
            assert!(!arm.decayed.contains(part), "{arm:?}");
            let [decayed, never_decayed, _] = arm.groups;
            assert_eq!(decayed + never_decayed, arm.parameters, "{arm:?}");
        }
        assert!(plan.arms.iter().any(|arm| arm.groups[2] > 0));
        let jobs = sweep.jobs().expect("seeds");
        let text = plan.to_text(&sweep, jobs.len(), &jobs[..4], 80);
        let said = format!("4 of {} runs to do, 2 at a time", jobs.len());
        assert!(text.contains(&said), "{text}");
    }

    #[test]
    fn jobs_go_to_the_first_free_worker() {
        let until = |jobs: &[f64], together| until_all_end(jobs.iter().copied(), together);
        assert_eq!(until(&[], 2), 0.0);
        assert_eq!(until(&[1.0, 2.0, 3.0], 1), 6.0);
        assert_eq!(until(&[1.0, 2.0, 3.0], 2), 4.0);
        assert_eq!(until(&[2.0; 5], 2), 6.0);
        assert_eq!(until(&[2.0, 1.0], 8), 2.0);
    }

    #[test]
    fn the_time_is_that_of_the_runs_still_to_be_done() {
        let sweep = sweep("ablation-rate", &["train.steps=100"]);
        let jobs = sweep.jobs().expect("seeds");
        let mut plan = with_study(&sweep, |study| plan(study, &[1, 2], 2));
        for arm in &mut plan.arms {
            arm.run = Duration::from_secs(60);
        }
        let of_these: Vec<Job> = jobs
            .iter()
            .filter(|job| matches!(job.arm, 1 | 2))
            .cloned()
            .collect();
        let text = plan.time(jobs.len(), &of_these[..3]);
        assert!(
            text.ends_with("2 at a time: about 2:00 (steps timed now)"),
            "{text}"
        );
    }

    /// On a busy machine either may be disturbed.
    #[test]
    fn the_estimate_is_within_a_factor_of_three_of_a_run() {
        let sweep = sweep("ablation-rate", &["train.steps=60", "train.eval_every=20"]);
        with_study(&sweep, |study| {
            let near = |_| {
                let said = plan(study, &[1], 1).arms[0].run.as_secs_f64();
                let mut trainer = Trainer::new(&sweep.configs[1], study.data).expect("smoke");
                let begun = Instant::now();
                for step in 1..=60 {
                    trainer.step();
                    if step % 20 == 0 {
                        trainer.evaluate();
                    }
                }
                let ratio = begun.elapsed().as_secs_f64() / said;
                (1.0 / 3.0..3.0).contains(&ratio)
            };
            assert!((0..3).any(near));
        });
    }
}
