//! A change of the `type` of a section, of a network or a part of it.
//!
//! The new type begins with its own defaults. What was chosen before, that is, differs from
//! the default of the old type or has none, stays where the new type has a setting of the
//! same name that takes the value. So nothing changes but what the type stands for, and a
//! change back and forth loses no choice that both types have.

use super::{
    earlier::fill_in,
    resolve::{read, section_mut},
};
use nn::settings::{Mistake, TYPE};
use toml::{Table, Value};

/// Gives the section at `path` another type, if it has a different one.
pub(super) fn change_type(settings: &mut Table, path: &[String], kind: &Value) {
    let Some(old) = section_mut(settings, path) else {
        return;
    };
    if old.get(TYPE).is_none_or(|old| old == kind) {
        return;
    }
    let old = std::mem::take(old);
    let mut old_default = Table::new();
    if let Some((table, without_default)) = of_type(settings, path, &old[TYPE], &old) {
        old_default = table;
        old_default.retain(|key, _| !without_default.iter().any(|one| one == key));
    }
    let Some((default, _)) = of_type(settings, path, kind, &old) else {
        // There is no such type, which is said when the whole is read.
        let section = section_mut(settings, path).expect("found before");
        section.insert(TYPE.to_owned(), kind.clone());
        return;
    };
    *section_mut(settings, path).expect("found before") = default;
    carry(settings, path, &old, &old_default);
}

/// The section at `path` with nothing but a type given: every setting at its default, and
/// those without one, which are named, as they were. `None` where there is no such type.
fn of_type(
    settings: &Table,
    path: &[String],
    kind: &Value,
    old: &Table,
) -> Option<(Table, Vec<String>)> {
    let mut given = Table::from_iter([(TYPE.to_owned(), kind.clone())]);
    let mut without_default = Vec::new();
    loop {
        let mut alone = around(settings, path, given.clone());
        fill_in(&mut alone);
        match read(&alone) {
            Ok(config) => {
                let section = section_mut(&mut config.to_table(), path).cloned()?;
                return Some((section, without_default));
            }
            Err(error) => {
                let field = error
                    .key
                    .last()
                    .filter(|_| error.mistake == Mistake::Missing)?;
                let (field, value) = old.get_key_value(field)?;
                if given.insert(field.clone(), value.clone()).is_some() {
                    return None;
                }
                without_default.push(field.clone());
            }
        }
    }
}

/// A section in an otherwise empty configuration: of what lies around it, only the types.
fn around(settings: &Table, path: &[String], section: Table) -> Table {
    let Some((key, inner)) = path.split_first() else {
        return section;
    };
    let mut outer = Table::new();
    if let Some(kind) = settings.get(TYPE) {
        outer.insert(TYPE.to_owned(), kind.clone());
    }
    let empty = Table::new();
    let below = settings.get(key).and_then(Value::as_table);
    let section = around(below.unwrap_or(&empty), inner, section);
    outer.insert(key.clone(), Value::Table(section));
    outer
}

/// Lays the choices of the old section over the new one, which is complete.
fn carry(settings: &mut Table, path: &[String], old: &Table, old_default: &Table) {
    for (key, value) in old {
        let default = old_default.get(key);
        let section = section_mut(settings, path).expect("a section of the settings");
        let (Some(new), false) = (section.get(key), key == TYPE || default == Some(value)) else {
            continue;
        };
        if let (Value::Table(_), Value::Table(value)) = (new, value) {
            let inner = [path, std::slice::from_ref(key)].concat();
            let default = default.and_then(Value::as_table);
            // A choice of type for a part comes before the other choices of that part.
            match value
                .get(TYPE)
                .filter(|kind| default.and_then(|d| d.get(TYPE)) != Some(kind))
            {
                Some(_) => replace(settings, path, key, Value::Table(value.clone())),
                None => carry(settings, &inner, value, default.unwrap_or(&Table::new())),
            }
        } else {
            replace(settings, path, key, value.clone());
        }
    }
}

/// Gives a setting another value, unless the type around it does not take this one.
fn replace(settings: &mut Table, path: &[String], key: &str, value: Value) {
    let section = section_mut(settings, path).expect("a section of the settings");
    let before = section.insert(key.to_owned(), value);
    let section = section.clone();
    if read(&around(settings, path, section)).is_err() {
        let section = section_mut(settings, path).expect("a section of the settings");
        section.insert(key.to_owned(), before.expect("checked by the caller"));
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        ablation::SweepFile,
        config::{Layers, RunConfig},
        preset::{PRESETS, Preset},
    };
    use models::{config::FfnConfig, model::ModelConfig};
    use nn::{
        connection::{ConnectionConfig, HyperConfig, MhcConfig, VirtualWidthConfig},
        norm::NormKind,
    };
    use std::fs;
    use toml::{Table, Value};

    fn preset(name: &str, overrides: &[&str]) -> RunConfig {
        let preset = Preset::named(name).expect("a preset");
        preset.config().with_overrides(overrides).expect(name)
    }

    /// `model.ffn` with `hidden = 4` as `model.ffn.hidden = 4`, and so on.
    fn leaves(prefix: &str, table: &Table, found: &mut Vec<(String, Value)>) {
        for (key, value) in table {
            let key = format!("{prefix}{key}");
            match value {
                Value::Table(inner) => leaves(&format!("{key}."), inner, found),
                value => found.push((key, value.clone())),
            }
        }
    }

    /// Every preset, and one with each connection.
    fn configurations() -> Vec<RunConfig> {
        let mut all: Vec<RunConfig> = PRESETS.iter().map(Preset::config).collect();
        for connection in ConnectionConfig::all() {
            let table = Table::try_from(&connection).expect("TOML");
            let kind = format!("model.connection.type={}", table["type"]);
            all.push(preset("smoke", &[&kind]));
        }
        all
    }

    #[test]
    fn a_setting_that_repeats_its_value_changes_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("settings.toml");
        for config in configurations() {
            let mut settings = Vec::new();
            leaves("", &config.to_table(), &mut settings);
            // Left out where they are off.
            settings.push(("train.record_every".to_owned(), 0.into()));
            settings.push(("train.tensorboard".to_owned(), false.into()));
            assert!(settings.len() > 30, "{settings:?}");
            for (key, value) in settings {
                let line = format!("{key} = {value}");
                assert_eq!(
                    config.with_overrides(&[&line]).unwrap(),
                    config,
                    "--set {line}"
                );

                fs::write(&path, &line).expect("it is writable");
                let file = Layers::over(&config).file(&path).and_then(Layers::resolve);
                assert_eq!(file.unwrap(), config, "a file with {line}");

                if key == "train.seed" {
                    continue;
                }
                let sweep = format!("[[arm]]\nname = \"a\"\n[arm.set]\n{line}\n");
                let sweep: SweepFile = sweep.parse().expect(&line);
                let arm = Layers::over(&config).table(sweep.arms[0].settings.clone());
                assert_eq!(arm.resolve().unwrap(), config, "an arm with {line}");
            }
        }
    }

    #[test]
    fn a_partial_section_changes_what_it_names() {
        for name in ["vit-small", "dit-small", "vit-medium", "dit-smoke"] {
            let wider = preset(name, &["model.ffn.hidden=300"]);
            assert_eq!(
                wider.model.ffn(),
                &FfnConfig::Gelu { hidden: 300 },
                "{name}"
            );
            let gated = preset(name, &["model.ffn.type=swiglu"]);
            let hidden = preset(name, &[]).model.ffn().hidden();
            assert_eq!(gated.model.ffn(), &FfnConfig::SwiGlu { hidden }, "{name}");
        }
        let small = preset("small", &["model.norm.type=rmsnorm"]);
        let norm = small.model.transformer().unwrap().norm;
        let before = preset("small", &[]).model.transformer().unwrap().norm;
        assert_eq!((norm.kind, norm.eps), (NormKind::RmsNorm, before.eps));
    }

    #[test]
    fn presets_of_images_have_gelu_at_every_size() {
        for preset in PRESETS.iter() {
            let gelu = matches!(preset.config().model.ffn(), FfnConfig::Gelu { .. });
            let text = matches!(preset.config().model, ModelConfig::Transformer(_));
            assert_eq!(gelu, !text || preset.name == "nanogpt", "{}", preset.name);
        }
    }

    /// As the program wrote them before the presets of images had gelu.
    #[test]
    fn a_run_begun_before_keeps_its_settings() {
        let mut stored = preset("vit-smoke", &[]).to_table();
        let ffn = Table::from_iter(
            [("type", "swiglu".into()), ("hidden", Value::Integer(64))]
                .map(|(key, value)| (key.to_owned(), value)),
        );
        stored["model"]["ffn"] = Value::Table(ffn);
        let again = Layers::defaults().table(stored).resolve().unwrap();
        assert_eq!(again.model.ffn(), &FfnConfig::SwiGlu { hidden: 64 });
    }

    #[test]
    fn a_new_type_keeps_what_was_chosen_and_has_its_own_defaults_otherwise() {
        let hyper = ["model.connection.type=hyper", "model.connection.rate=8"];
        let config = preset("small", &hyper);
        let mhc = config
            .with_overrides(&["model.connection.type=mhc"])
            .unwrap();
        let rate = 8;
        let expected = MhcConfig {
            rate,
            ..MhcConfig::default()
        };
        assert_eq!(mhc.model.connection(), &ConnectionConfig::Mhc(expected));
        // The default of scale_init is another one there, and a rate it does not have.
        let wide = config
            .with_overrides(&["model.connection.type=virtual_width"])
            .unwrap();
        let expected = ConnectionConfig::VirtualWidth(VirtualWidthConfig::default());
        assert_eq!(wide.model.connection(), &expected);
        let back = mhc
            .with_overrides(&["model.connection.type=hyper"])
            .unwrap();
        let expected = HyperConfig {
            rate,
            ..HyperConfig::default()
        };
        assert_eq!(back.model.connection(), &ConnectionConfig::Hyper(expected));
        // A value that the new type does not take gives way.
        let mild = ["model.connection.type=mhc", "model.connection.init=mild"];
        let scaled = preset("small", &mild)
            .with_overrides(&["model.connection.type=layer_scale"])
            .unwrap();
        let label = scaled.model.connection().spec().label();
        assert!(
            matches!(scaled.model.connection(), ConnectionConfig::LayerScale(_)),
            "{label}"
        );
    }

    #[test]
    fn a_width_is_kept_by_every_feed_forward_layer() {
        let experts = preset("small", &["model.ffn.type=moe"]);
        assert_eq!(
            experts.model.ffn().hidden(),
            preset("small", &[]).model.ffn().hidden()
        );
        let back = experts.with_overrides(&["model.ffn.type=gelu", "model.ffn.hidden=99"]);
        assert_eq!(back.unwrap().model.ffn(), &FfnConfig::Gelu { hidden: 99 });
    }

    #[test]
    fn another_network_keeps_choices_and_drops_defaults() {
        // Width, layers, heads and hidden width of the preset; how it starts is vit's.
        let config = preset("smoke", &["model.type=vit", "model.connection.type=hyper"]);
        let ModelConfig::Vit(vit) = &config.model else {
            panic!("{:?}", config.model);
        };
        assert_eq!(
            (vit.dim, vit.layers, vit.heads, vit.init_std),
            (32, 2, 2, 0.1)
        );
        assert_eq!(vit.ffn, FfnConfig::Gelu { hidden: 88 });
        assert!(matches!(vit.connection, ConnectionConfig::Hyper(_)));
        let connected = preset("smoke", &["model.connection.type=hyper"]);
        let connected = connected.with_overrides(&["model.type=dit"]).unwrap();
        assert!(matches!(
            connected.model.connection(),
            ConnectionConfig::Hyper(_)
        ));
    }
}
