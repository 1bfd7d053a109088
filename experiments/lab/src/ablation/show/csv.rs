//! One row for each arm, for other programs.

use super::{Report, cells::number};
use figures::table::Table;
use serde_json::{Value, json};

/// Columns before those of the published table, with where an arm's JSON has their numbers.
const RESULTS: [(&str, &str); 39] = [
    ("arm", "/name"),
    ("baseline", "/baseline"),
    ("steps", "/steps"),
    ("cost_ratio", "/matched/ratio"),
    ("cost_ratio_low", "/matched/interval/0"),
    ("cost_ratio_high", "/matched/interval/1"),
    ("cost_error_in_loss", "/matched/error_in_loss"),
    ("seeds", "/runs"),
    ("diverged", "/diverged_runs"),
    ("spikes", "/spikes"),
    ("val_loss", "/val_loss"),
    ("bits_per_byte", "/bits_per_byte"),
    ("accuracy", "/accuracy"),
    ("accuracy_delta", "/accuracy_delta/mean"),
    ("sd_over_seeds", "/sd_over_seeds"),
    ("delta", "/delta/mean"),
    ("delta_low", "/delta/interval/0"),
    ("delta_high", "/delta/interval/1"),
    ("delta_seeds_low", "/delta/seed_interval/0"),
    ("delta_seeds_high", "/delta/seed_interval/1"),
    ("text_se", "/delta/text_se"),
    ("text_clusters", "/delta/text_clusters"),
    ("p_value", "/delta/p_value"),
    ("p_holm", "/delta/p_holm"),
    ("effect_size", "/delta/effect_size"),
    ("corrected_effect_size", "/delta/corrected_effect_size"),
    ("seeds_needed", "/delta/seeds_needed"),
    ("seeds_needed_low", "/delta/seeds_needed_range/0"),
    ("seeds_needed_high", "/delta/seeds_needed_range/1"),
    ("verdict", "/verdict"),
    ("parameters", "/parameters"),
    ("extra_parameters", "/extra_parameters"),
    ("flops_per_token", "/flops_per_token"),
    ("extra_flops_fraction", "/extra_flops_fraction"),
    ("convergence_factor", "/convergence/factor"),
    ("convergence_factor_low", "/convergence/interval/0"),
    ("convergence_factor_high", "/convergence/interval/1"),
    ("convergence_seeds", "/convergence/reached"),
    ("convergence_bounds", "/convergence/bounds"),
];

/// Columns after them.
const TIMING: [(&str, &str); 4] = [
    ("timing_step_ms", "/timing/step_ms"),
    ("timing_step_spread", "/timing/step_spread"),
    ("timing_step_ratio_low", "/timing/step_ratio/0"),
    ("timing_step_ratio_high", "/timing/step_ratio/1"),
];

impl Report<'_> {
    /// One row for each arm, numbers in full.
    pub fn csv(&self) -> String {
        let paper = match &self.sweep.subject.paper {
            Some(paper) => paper.columns.clone(),
            None => ["1", "2"].map(str::to_owned).into(),
        };
        let paper = paper.iter().enumerate().map(|(index, name)| {
            let name = format!("paper_delta_{}", name.to_lowercase());
            (name, format!("/paper_delta/{index}"))
        });
        let paper: Vec<(String, String)> = paper.collect();
        let borrowed = paper.iter().map(|(name, place)| (&**name, &**place));
        let columns: Vec<(&str, &str)> =
            RESULTS.into_iter().chain(borrowed).chain(TIMING).collect();
        let arms: Vec<Value> = self.results.arms.iter().map(|arm| json!(arm)).collect();
        to_csv(&arms, &columns)
    }
}

/// Objects as rows: columns by their names, with where an object has what stands in them.
pub(super) fn to_csv(rows: &[Value], columns: &[(&str, &str)]) -> String {
    let mut table = Table::of(rows);
    for (name, place) in columns {
        table = table.right(name, |row| number(row.pointer(place), in_full));
    }
    table.table().to_csv()
}

/// A number with all of its digits and without an exponent; of a list, how many it has.
fn in_full(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(list) => list.len().to_string(),
        Value::Number(number) if number.is_f64() => number.as_f64().unwrap_or_default().to_string(),
        value => value.to_string(),
    }
}
