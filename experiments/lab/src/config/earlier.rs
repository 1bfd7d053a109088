//! Settings that had other names, or did not exist, when earlier runs were begun.
//!
//! Old names are read wherever settings are, and are written into no file of settings.
//!
//! A run writes every setting into its configuration. Where one is missing there, the run began
//! before it existed, and goes on with what the program did then: that is what the setting reads
//! as where it is absent. A setting that a user leaves out takes its default, which may be another.

use super::{RunConfig, resolve::read};
use models::config::FfnConfig;
use nn::{connection::ConnectionConfig, moe::MoeConfig};
use toml::{Table, Value};

/// Section, first name and current name.
const RENAMED: [(&str, &str, &str); 2] = [
    ("train", "decline", "schedule"),
    ("train", "final_fraction", "min_lr_ratio"),
];

/// The current name of a setting, `train.schedule` for `train.decline`.
pub fn current_name(key: &str) -> String {
    let is_key = |(section, first, _): &&(&str, &str, &str)| key == format!("{section}.{first}");
    let known = RENAMED.iter().find(is_key);
    known.map_or_else(
        || key.to_owned(),
        |(section, _, current)| format!("{section}.{current}"),
    )
}

/// Settings under their current names. One that is given under both names keeps the old one too,
/// which is then refused as unknown.
pub fn current_names(settings: Table) -> Table {
    renamed(settings, RENAMED)
}

/// Settings under the names that they had in the first runs.
pub(super) fn first_names(settings: Table) -> Table {
    renamed(
        settings,
        RENAMED.map(|(section, first, current)| (section, current, first)),
    )
}

fn renamed(mut settings: Table, names: [(&str, &str, &str); 2]) -> Table {
    for (section, from, to) in names {
        let section = settings.get_mut(section).and_then(Value::as_table_mut);
        if let Some(section) = section.filter(|section| !section.contains_key(to))
            && let Some(value) = section.remove(from)
        {
            section.insert(to.to_owned(), value);
        }
    }
    settings
}

/// Section of `model`, and name.
const LATER: [(&str, &str); 7] = [
    ("connection", "bound"),
    ("connection", "form"),
    ("connection", "norm_group"),
    ("connection", "shared_norm"),
    ("connection", "shared"),
    ("connection", "decay"),
    ("ffn", "router_losses"),
];

/// Gives settings that came later their defaults where a user is silent about them.
pub(super) fn fill_in(settings: &mut Table) {
    for (section, key) in LATER {
        let Some(table) = section_of(settings, section) else {
            continue;
        };
        let default = table.get("type").and_then(Value::as_str);
        let default = default.and_then(|kind| defaults(section, kind));
        if let Some(value) = default.and_then(|mut default| default.remove(key)) {
            table.entry(key).or_insert(value);
        }
    }
}

/// The defaults of a kind.
fn defaults(section: &str, kind: &str) -> Option<Table> {
    let all: Vec<Table> = match section {
        "connection" => ConnectionConfig::all().iter().map(table_of).collect(),
        _ => vec![table_of(&FfnConfig::Moe(MoeConfig::default()))],
    };
    all.into_iter()
        .find(|table| table.get("type").and_then(Value::as_str) == Some(kind))
}

fn table_of(config: &impl serde::Serialize) -> Table {
    Table::try_from(config).expect("a configuration becomes TOML")
}

/// Takes away the settings that say what their absence says: what is left of a configuration from
/// before they existed is what it was then.
pub(super) fn leave_out(config: &RunConfig, table: &mut Table) {
    for (section, key) in LATER {
        let Some(value) = section_of(table, section).and_then(|table| table.remove(key)) else {
            continue;
        };
        if read(table).as_ref() != Ok(config) {
            let table = section_of(table, section).expect("the section was there");
            table.insert(key.to_owned(), value);
        }
    }
}

fn section_of<'a>(table: &'a mut Table, section: &str) -> Option<&'a mut Table> {
    table.get_mut("model")?.get_mut(section)?.as_table_mut()
}

#[cfg(test)]
mod tests {
    use super::super::Layers;
    use super::*;

    fn given(overrides: &[&str]) -> RunConfig {
        let layers = Layers::defaults().set(overrides);
        layers.and_then(Layers::resolve).expect("valid settings")
    }

    /// The settings that differ from those of another configuration.
    fn setting<'a>(table: &'a Table, section: &str, key: &str) -> Option<&'a Value> {
        table.get("model")?.get(section)?.get(key)
    }

    const KINDS: [&[&str]; 5] = [
        &["model.connection.type=laurel"],
        &["model.connection.type=virtual_width"],
        &["model.connection.type=rezero"],
        &["model.connection.type=dense_former"],
        &["model.ffn.type=moe"],
    ];

    #[test]
    fn first_names_are_read_wherever_current_ones_are() {
        let current = given(&["train.schedule=constant", "train.min_lr_ratio=0.5"]);
        let first = ["train.decline=constant", "train.final_fraction=0.5"];
        assert_eq!(given(&first), current);
        assert_eq!(
            given(&["train={ decline=\"constant\", min_lr_ratio=0.5 }"]),
            current
        );
        assert_eq!(current.with_overrides(&first[..1]).expect("valid"), current);
        let recorded = first_names(current.to_table());
        assert!(recorded["train"].get("schedule").is_none());
        assert_eq!(recorded.to_string(), current.identity());
        assert_eq!(
            Layers::recorded(recorded.clone()).resolve().expect("valid"),
            current
        );
        assert_eq!(
            Layers::defaults().table(recorded).resolve().expect("valid"),
            current
        );
        let both = Layers::defaults().set(&["train.decline=cosine", "train.schedule=cosine"]);
        let error = both
            .and_then(Layers::resolve)
            .expect_err("twice")
            .to_string();
        assert!(
            error.starts_with("there is no setting train.decline"),
            "{error}"
        );
        assert_eq!(current_name("train.decline"), "train.schedule");
        assert_eq!(current_name("train.steps"), "train.steps");
    }

    #[test]
    fn what_a_user_leaves_out_takes_the_default() {
        for kind in ConnectionConfig::all() {
            let name = table_of(&kind)["type"].as_str().expect("a name").to_owned();
            let config = given(&[&format!("model.connection.type={name}")]);
            assert_eq!(config.model.connection(), &kind);
        }
        let experts = given(&["model.ffn.type=moe"]);
        let FfnConfig::Moe(experts) = experts.model.ffn() else {
            panic!("not a mixture");
        };
        // A width is kept by every feed-forward layer.
        let hidden = experts.hidden;
        assert_eq!(
            *experts,
            MoeConfig {
                hidden,
                ..MoeConfig::default()
            }
        );
    }

    #[test]
    fn what_a_run_left_out_before_it_existed_is_what_the_program_did_then() {
        let recorded = |overrides: &[&str]| {
            let mut table = given(overrides).to_table();
            for (section, key) in LATER {
                section_of(&mut table, section).and_then(|table| table.remove(key));
            }
            let config = Layers::recorded(table.clone()).resolve().expect("valid");
            (first_names(table), config)
        };
        let expected = [
            ("connection", "form", "\"one_map\""),
            ("connection", "norm_group", "\"slot\""),
            ("connection", "shared", "false"),
            ("connection", "decay", "false"),
            ("ffn", "router_losses", "\"sum\""),
        ];
        for (kind, (section, key, value)) in KINDS.iter().zip(expected) {
            let (stored, config) = recorded(kind);
            let now = config.to_table();
            let found = setting(&now, section, key).map(Value::to_string);
            assert_eq!(found.as_deref(), Some(value), "{kind:?}");
            // What identifies the run is what it was.
            assert_eq!(config.identity(), stored.to_string());
            // And it survives every way through the program.
            assert_eq!(Layers::over(&config).resolve().expect("valid"), config);
            let again = config.with_overrides(&["train.steps=7"]).expect("valid");
            assert_eq!(again.model, config.model);
        }
    }

    #[test]
    fn a_new_run_is_identified_by_all_that_it_does_differently() {
        for kind in KINDS {
            let config = given(kind);
            let table = config.to_table();
            for (section, key) in LATER {
                let value = setting(&table, section, key).cloned();
                let kept = config.identity().contains(&format!("\n{key} = "));
                let differs = value.is_some_and(|value| value.as_bool().is_none_or(|on| on));
                assert_eq!(kept, differs, "{kind:?}: {key}");
            }
        }
    }
}
