//! One page of HTML that needs nothing else: no network, no script, no other file.

use super::{found::common_and_own, plot::Plot, recorded::Recorded};
use crate::{
    ablation::RunResult,
    data::LISTED_WHEN_ASKED,
    run_dir::{Environment, Status},
};
use figures::{
    plot::{STYLE, escaped},
    table::{Cell, Table, Tone},
};
use std::{collections::BTreeMap, fmt::Write};

const PAGE_STYLE: &str = include_str!("page.css");

/// The report as a page with its plots in it.
pub fn page(recorded: &Recorded, plots: &[Plot]) -> String {
    let command = recorded.command();
    let report = recorded.report(&command);
    let mut heading = report.heading().into_iter();
    let title = heading.next().unwrap_or_default();
    let mut body = format!("<h1>{}</h1>\n", escaped(&title));
    for line in heading {
        let _ = writeln!(body, "<p>{}</p>", escaped(&line));
    }
    if !recorded.remarks.is_empty() {
        body.push_str("<div class=\"warning\"><p>What to know about these runs:</p>\n");
        list(&mut body, &recorded.remarks);
        body.push_str("</div>\n");
    }
    let mut plots = plots.iter();
    let first = plots.next();
    section(&mut body, "Differences");
    first.into_iter().for_each(|plot| figure(&mut body, plot));
    let mut tables = report.tables();
    tables
        .next()
        .into_iter()
        .for_each(|table| wide(&mut body, &table.to_html()));
    for (title, table) in report.titled_tables() {
        section(&mut body, &title);
        wide(&mut body, &table.to_html());
    }
    section(&mut body, "Curves and costs");
    plots.for_each(|plot| figure(&mut body, plot));
    tables.for_each(|table| wide(&mut body, &table.to_html()));
    section(&mut body, "How to read this");
    body.push_str("<div class=\"notes\">\n");
    list(&mut body, &report.notes());
    body.push_str("</div>\n");
    for account in &recorded.accounts {
        section(&mut body, "Data");
        list(&mut body, &account.lines(LISTED_WHEN_ASKED));
    }
    settings(&mut body, recorded);
    section(&mut body, "How it was made");
    for command in &recorded.commands {
        let _ = writeln!(body, "<pre>{}</pre>", escaped(command));
    }
    wide(&mut body, &environments(&recorded.environments).to_html());
    section(&mut body, "Every run");
    wide(&mut body, &runs(recorded).to_html());
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <link rel=\"icon\" href=\"data:,\">\n<title>{}</title>\n\
         <style>\n{PAGE_STYLE}{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n",
        escaped(&title)
    )
}

fn section(body: &mut String, title: &str) {
    let _ = writeln!(body, "<h2>{title}</h2>");
}

fn figure(body: &mut String, plot: &Plot) {
    let _ = writeln!(
        body,
        "<figure><div class=\"desktop\">{}</div><div class=\"phone\">{}</div>\
         <figcaption>{}</figcaption></figure>",
        plot.picture.to_inline_svg(),
        plot.narrow.to_inline_svg(),
        escaped(&plot.caption)
    );
}

fn wide(body: &mut String, table: &str) {
    let _ = writeln!(body, "<div class=\"wide\">{table}</div>");
}

fn list(body: &mut String, lines: &[String]) {
    body.push_str("<ul>\n");
    for line in lines {
        let _ = writeln!(body, "<li>{}</li>", escaped(line));
    }
    body.push_str("</ul>\n");
}

fn settings(body: &mut String, recorded: &Recorded) {
    let (common, own) = common_and_own(&recorded.sweep.configs);
    let lines = |settings: BTreeMap<String, String>| -> Vec<String> {
        let settings = settings.into_iter();
        settings
            .map(|(key, value)| format!("{key} = {value}"))
            .collect()
    };
    section(body, "Settings of each arm");
    let arms = recorded.sweep.arms.iter().map(|arm| arm.label.clone());
    let rows: Vec<(String, String)> = arms
        .zip(own.into_iter().map(|own| lines(own).join(", ")))
        .collect();
    wide(
        body,
        &Table::of(&rows)
            .left("arm", |row| &row.0)
            .left("settings", |row| &row.1)
            .table()
            .to_html(),
    );
    section(body, "Settings in common");
    let common = lines(common).join("\n");
    let _ = writeln!(body, "<pre>{}</pre>", escaped(&common));
}

fn environments(environments: &[Environment]) -> Table {
    Table::of(environments)
        .left("version", |one| &one.version)
        .left("commit", |one| {
            one.git.as_ref().map_or_else(String::new, |git| {
                let changed = if git.dirty { " with changes" } else { "" };
                let commit = git.commit.get(..12).unwrap_or(&git.commit);
                format!("{commit}{changed}")
            })
        })
        .left("CPU", |one| {
            format!("{} ({} threads)", one.cpu, one.cpu_threads)
        })
        .left("threads of a run", |one| one.threads.to_string())
        .left("compiler", |one| &one.rustc)
        .left("system", |one| &one.os)
        .table()
}

fn runs(recorded: &Recorded) -> Table {
    let loss = |loss: Option<f64>| loss.map_or_else(String::new, |loss| format!("{loss:.6}"));
    let arms = recorded.results.arms.iter();
    let rows: Vec<(&str, &RunResult)> = arms
        .flat_map(|arm| arm.runs.iter().map(|run| (&*arm.label, run)))
        .collect();
    Table::of(&rows)
        .left("arm", |(arm, _)| *arm)
        .right("seed", |(_, run)| run.seed.to_string())
        .left("ended", |(_, run)| match run.status {
            Status::Ok => Cell::from("all steps done"),
            Status::Diverged => Cell::new("diverged", Tone::Bad),
            Status::Interrupted => Cell::new("interrupted", Tone::Faint),
        })
        .right("steps", |(_, run)| run.steps.to_string())
        .right("val loss", |(_, run)| loss(run.val_loss))
        .right("train loss", |(_, run)| loss(run.train_loss))
        .right("spikes", |(_, run)| run.spikes.to_string())
        .right("wall time (s)", |(_, run)| {
            format!("{:.0}", run.timing.wall_seconds)
        })
        .right("median step (ms)", |(_, run)| {
            format!("{:.1}", run.timing.median_step_ms)
        })
        .table()
}
