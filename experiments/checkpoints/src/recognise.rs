//! From names of tensors to sites in the order of execution.

use crate::{
    CheckpointError,
    dialects::{DIALECTS, Dialect, Ending},
    files::Store,
    settings::Config,
    site::{Kind, Site},
};
use std::collections::BTreeMap;

impl Site {
    /// The roles that are missing, as names of tensors.
    pub(crate) fn missing(&self, dialect: &Dialect, required: &[&str]) -> Vec<String> {
        let roles = required
            .iter()
            .filter(|role| !self.tensors.contains_key(*role));
        let spelled = roles.map(|role| {
            let spelling = dialect.roles.iter().find(|(_, of)| of == role);
            format!("{}{}", self.stem, spelling.map_or(*role, |(text, _)| text))
        });
        spelled.collect()
    }
}

/// All sites of a dialect, and what may be the learned end.
pub(crate) struct Found {
    pub(crate) sites: Vec<Site>,
    pub(crate) heads: Vec<Site>,
}

/// Whether a name is of this dialect: what stands before its ending, the ending, the role, and
/// whether it is of the end.
fn matched<'a>(dialect: &Dialect, name: &'a str) -> Option<(&'a str, Kind, &'static str, bool)> {
    let name = name.strip_suffix(".weight").unwrap_or(name);
    let heads = dialect
        .heads
        .iter()
        .map(|text| (*text, Kind::Unknown, true));
    let sites = dialect.sites.iter();
    let all = heads.chain(sites.map(|Ending { text, kind }| (*text, *kind, false)));
    for (text, kind, head) in all {
        let (before, after) = text.split_once('*').unwrap_or((text, ""));
        let Some(rest) = name.strip_suffix(after) else {
            continue;
        };
        for (spelling, role) in dialect.roles {
            let Some(stem) = rest.strip_suffix(spelling) else {
                continue;
            };
            let prefix = stem.strip_suffix(before);
            if prefix.is_some_and(|prefix| prefix.is_empty() || prefix.ends_with('.')) {
                return Some((stem, kind, role, head));
            }
        }
    }
    None
}

/// Whether any dialect of a list knows a name.
pub(crate) fn known(dialects: &[&'static Dialect], name: &str) -> bool {
    dialects
        .iter()
        .any(|dialect| matched(dialect, name).is_some())
}

/// Groups the names of a checkpoint by site; `layers` are those of the trunk.
pub(crate) fn group(
    dialect: &'static Dialect,
    store: &Store,
    layers: Option<usize>,
) -> Result<Found, CheckpointError> {
    let mut groups: BTreeMap<(String, bool), Site> = BTreeMap::new();
    for name in store.names() {
        let Some((stem, kind, role, head)) = matched(dialect, name) else {
            continue;
        };
        let site = groups
            .entry((stem.to_owned(), head))
            .or_insert_with(|| site(stem, kind, layers));
        if let Some(other) = site.tensors.insert(role, name.to_owned()) {
            return Err(CheckpointError::Tensor {
                name: name.to_owned(),
                file: store.file(name),
                reason: format!("{other} says the same of the same connection; remove one"),
            });
        }
    }
    let (mut sites, mut heads) = (Vec::new(), Vec::new());
    for ((_, head), site) in groups {
        if head {
            heads.push(site);
        } else if !is_chance(dialect, &site) {
            sites.push(site);
        }
    }
    let order = |site: &Site| (site.numbers.clone(), site.kind, site.name.clone());
    sites.sort_by_cached_key(order);
    Ok(Found { sites, heads })
}

/// Whether a group of a dialect without endings of its own is probably another module.
fn is_chance(dialect: &Dialect, site: &Site) -> bool {
    let required = dialect.required;
    let there = required
        .iter()
        .filter(|role| site.tensors.contains_key(*role));
    dialect.sites.iter().any(|ending| ending.text == "*") && there.count() * 2 < required.len()
}

fn site(stem: &str, kind: Kind, layers: Option<usize>) -> Site {
    let name = stem.trim_end_matches(['.', '_']);
    let name = name.replace("_orig_mod.", "");
    let parts = || name.split('.');
    let numbers: Vec<usize> = parts().filter_map(|part| part.parse().ok()).collect();
    let layer = numbers.first().copied();
    let beyond = |layer| layers.is_some_and(|layers| layer >= layers);
    let apart = ["mtp", "nextn"];
    let named = parts().any(|part| apart.iter().any(|word| part.starts_with(word)));
    Site {
        predicted: named || kind != Kind::Unknown && layer.is_some_and(beyond),
        kind: if kind == Kind::Unknown {
            Kind::of(&name)
        } else {
            kind
        },
        stem: stem.to_owned(),
        tensors: BTreeMap::new(),
        name,
        layer,
        numbers,
    }
}

/// The dialect of a checkpoint: the one asked for, that of the configuration, or the first whose
/// names and shapes fit.
pub(crate) fn choose(
    store: &Store,
    config: &Config<'_>,
    forced: Option<&'static Dialect>,
) -> Result<&'static Dialect, CheckpointError> {
    let has_sites = |dialect: &'static Dialect| {
        let found = group(dialect, store, None);
        found.map(|found| (dialect, found.sites))
    };
    let none = || CheckpointError::NoConnections {
        path: store.path().to_owned(),
        looked: store.looked(),
    };
    if let Some(dialect) = forced {
        let (_, sites) = has_sites(dialect)?;
        return if sites.is_empty() {
            Err(none())
        } else {
            Ok(dialect)
        };
    }
    let families: Vec<String> = config.families().iter().map(|name| plain(name)).collect();
    let says = |dialect: &&&'static Dialect| {
        let known = dialect.families.iter();
        known
            .into_iter()
            .any(|known| families.iter().any(|name| is_family(name, known)))
    };
    if let Some(dialect) = DIALECTS.iter().find(says)
        && !has_sites(dialect)?.1.is_empty()
    {
        return Ok(dialect);
    }
    let mut incomplete = None;
    for dialect in DIALECTS {
        // Two spellings of one role only mean that the names are not of this dialect.
        let Ok((_, sites)) = has_sites(dialect) else {
            continue;
        };
        let whole = sites
            .iter()
            .find(|site| site.missing(dialect, dialect.required).is_empty());
        let shape = |site: &Site, role: &str| store.shape(site.tensors.get(role)?);
        match whole {
            Some(site) if (dialect.fits)(&|role| shape(site, role)) => return Ok(dialect),
            Some(site)
                if site
                    .tensors
                    .values()
                    .any(|name| store.to_fetch(name).is_some()) =>
            {
                incomplete = incomplete.or(Some(*dialect));
            }
            _ if !sites.is_empty() && !dialect.sites.iter().any(|ending| ending.text == "*") => {
                incomplete = incomplete.or(Some(*dialect));
            }
            _ => {}
        }
    }
    incomplete.ok_or_else(none)
}

/// A dialect by its name.
///
/// # Errors
/// [`CheckpointError::UnknownDialect`].
pub fn named(name: &str) -> Result<&'static Dialect, CheckpointError> {
    let found = DIALECTS
        .iter()
        .find(|dialect| plain(dialect.name) == plain(name));
    found.copied().ok_or_else(|| {
        let names = || DIALECTS.iter().map(|dialect| dialect.name);
        let near = names().map(|known| (strsim::jaro_winkler(known, name), known));
        let near = near.filter(|(similar, _)| *similar > 0.8);
        let nearest = near
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, name)| name.to_owned());
        CheckpointError::UnknownDialect {
            name: name.to_owned(),
            nearest,
            known: names().collect::<Vec<_>>().join(", "),
        }
    })
}

/// In lower case, letters and digits alone.
fn plain(name: &str) -> String {
    let kept = name.chars().filter(char::is_ascii_alphanumeric);
    kept.map(|c| c.to_ascii_lowercase()).collect()
}

/// Whether a name is that of a family, perhaps with `text` and the name of a task after it
/// (`deepseekv4forcausallm`); another number makes another family.
fn is_family(name: &str, family: &str) -> bool {
    let rest = name.strip_prefix(family);
    let rest = rest.map(|rest| rest.strip_prefix("text").unwrap_or(rest));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("for") || rest == "model")
}
