//! A checkpoint whose connections have been recognised.

use crate::{
    CheckpointError,
    dialects::{DIALECTS, Dialect, Last},
    files::Store,
    form::Form,
    parts::Parts,
    recognise,
    settings::{Chosen, Config, Values},
    site::{Kind, Site},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

/// The keys of the width.
const WIDTH: &[&str] = &["hidden_size", "dim", "n_embd", ".embedding_length"];
/// The keys of the number of layers.
const LAYERS: &[&str] = &["num_hidden_layers", "n_layers", "n_layer", "num_layers"];

/// A checkpoint of another program, its sites in the order of execution.
#[derive(Debug)]
pub struct Checkpoint {
    store: Store,
    /// The family.
    pub dialect: &'static Dialect,
    /// Whether the configuration or the user named the family; else its names did.
    pub named: bool,
    /// The settings with their values.
    pub settings: Vec<Chosen>,
    /// The number of streams n.
    pub streams: usize,
    /// The width d, if a tensor shows it.
    pub width: Option<usize>,
    /// The layers of the trunk that the configuration says.
    pub layers: Option<usize>,
    /// The sites of the trunk.
    pub sites: Vec<Site>,
    /// The sites of layers that predict further tokens.
    pub predicted: Vec<Site>,
    /// The learned end.
    pub head: Option<Site>,
    /// Whether the read of a site acts one site later, and that of the last at the end.
    pub delayed: bool,
    /// Names of tensors that are missing, and layers without sites.
    pub missing: Vec<String>,
    /// The shards to download: the index names them for tensors that are needed.
    pub to_fetch: Vec<String>,
    says_streams: Option<(String, usize)>,
    says_width: Option<(String, usize)>,
    values: Values,
}

impl Checkpoint {
    /// Opens a folder, a safetensors file or a GGUF file; `forced` is the name of a dialect.
    ///
    /// # Errors
    /// A [`CheckpointError`] of its files, or if nothing in it is known. Tensors that are not
    /// there are no error yet: [`Checkpoint::ready`] says.
    pub fn open(path: &Path, forced: Option<&str>) -> Result<Self, CheckpointError> {
        let forced = forced.map(recognise::named).transpose()?;
        let of_one = forced.as_ref().map(std::slice::from_ref);
        let dialects = of_one.unwrap_or(DIALECTS);
        let store = Store::open(path, &|name| recognise::known(dialects, name))?;
        let config = Config::new(store.path(), store.config());
        let dialect = recognise::choose(&store, &config, forced)?;
        let layers = layers(&config)?;
        let found = recognise::group(dialect, &store, layers)?;
        let chosen = config.choose(dialect.settings)?;
        let (mut sites, mut predicted, mut missing) = (Vec::new(), Vec::new(), Vec::new());
        let single = !path.is_dir();
        for site in found.sites {
            let lacks = site.missing(dialect, dialect.required);
            let into = if site.predicted {
                &mut predicted
            } else {
                &mut sites
            };
            // A single shard may hold a part of a connection.
            if lacks.is_empty() || !single {
                into.push(site);
            }
            missing.extend(lacks);
        }
        missing.extend(gaps(&sites, layers));
        let heads = found.heads.into_iter();
        let head = heads.filter(|head| !head.predicted && !dialect.heads.is_empty());
        let head = head.min_by_key(|head| head.name.len());
        let lacks = match &head {
            Some(head) => head.missing(dialect, dialect.head_required),
            None => Vec::new(),
        };
        let head = head.filter(|_| lacks.is_empty() || !single);
        missing.extend(lacks);
        let used = sites.iter().chain(&predicted).chain(&head);
        let shards = used.flat_map(|site| site.tensors.values());
        let shards: BTreeSet<_> = shards.filter_map(|name| store.to_fetch(name)).collect();
        let to_fetch = shards.into_iter().map(str::to_owned).collect();
        let families = config.families();
        let mut checkpoint = Self {
            named: forced.is_some() || !families.is_empty(),
            delayed: (dialect.delayed)(&config),
            says_streams: config.count(dialect.streams)?,
            says_width: config.count(WIDTH)?,
            values: Values::new(&chosen),
            settings: chosen,
            streams: 0,
            width: None,
            dialect,
            layers,
            sites,
            predicted,
            head,
            missing,
            to_fetch,
            store,
        };
        let says = |says: &Option<(String, usize)>| says.as_ref().map(|(_, count)| *count);
        checkpoint.streams = says(&checkpoint.says_streams).unwrap_or(0);
        checkpoint.width = says(&checkpoint.says_width);
        let all = checkpoint.sites.iter().chain(&checkpoint.predicted);
        let readable = |site: &&Site| {
            let here = |name: &String| checkpoint.store.to_fetch(name).is_none();
            site.missing(dialect, dialect.required).is_empty() && site.tensors.values().all(here)
        };
        if let Some(first) = all.clone().find(readable) {
            let (form, width) = checkpoint.form_of(first, dialect.form)?;
            (checkpoint.streams, checkpoint.width) = (form.streams, width);
        }
        Ok(checkpoint)
    }

    /// Checks that every tensor that is needed is there.
    ///
    /// # Errors
    /// [`CheckpointError::ToFetch`], [`CheckpointError::Incomplete`].
    pub fn ready(&self) -> Result<(), CheckpointError> {
        let path = self.store.path().to_owned();
        if !self.to_fetch.is_empty() {
            let shards = self.to_fetch.clone();
            return Err(CheckpointError::ToFetch { path, shards });
        }
        let lacks = |site: &Site| site.missing(self.dialect, self.dialect.required);
        let mut names: Vec<_> = self
            .sites
            .iter()
            .chain(&self.predicted)
            .flat_map(lacks)
            .collect();
        if let Some(head) = &self.head {
            names.extend(head.missing(self.dialect, self.dialect.head_required));
        }
        if names.is_empty() && self.sites.is_empty() && self.predicted.is_empty() {
            names.clone_from(&self.missing);
        }
        match names.is_empty() {
            true => Ok(()),
            false => Err(CheckpointError::Incomplete { path, names }),
        }
    }

    /// The connection of a site.
    ///
    /// # Errors
    /// If a tensor is missing, damaged or of another shape.
    pub fn form(&self, site: &Site) -> Result<Form, CheckpointError> {
        let (form, width) = self.form_of(site, self.dialect.form)?;
        self.same(site, form.streams, width)?;
        Ok(form)
    }

    /// The connection whose read are the weights of the streams at the learned end.
    ///
    /// # Errors
    /// As for [`Checkpoint::form`].
    pub fn head_form(&self) -> Result<Option<Form>, CheckpointError> {
        let Some(head) = &self.head else {
            return Ok(None);
        };
        let (form, width) = self.form_of(head, self.dialect.head)?;
        self.same(head, form.streams, width)?;
        Ok(Some(form))
    }

    fn form_of(
        &self,
        site: &Site,
        of: fn(&mut Parts<'_>, &Values) -> Result<Form, CheckpointError>,
    ) -> Result<(Form, Option<usize>), CheckpointError> {
        let streams = self.says_streams.clone();
        let mut parts = Parts::new(&self.store, site, streams, self.says_width.clone());
        let form = of(&mut parts, &self.values)?;
        Ok((form, parts.width))
    }

    fn same(
        &self,
        site: &Site,
        streams: usize,
        width: Option<usize>,
    ) -> Result<(), CheckpointError> {
        if (streams, width) == (self.streams, self.width) {
            return Ok(());
        }
        let size = |n: usize, d: Option<usize>| match d {
            Some(d) => format!("{n} streams of width {d}"),
            None => format!("{n} streams"),
        };
        let name = site.tensors.values().next().unwrap_or(&site.name);
        Err(CheckpointError::Tensor {
            name: name.clone(),
            file: self.store.file(name),
            reason: format!(
                "this site has {}, the first {}",
                size(streams, width),
                size(self.streams, self.width)
            ),
        })
    }

    /// What the streams become at the end.
    pub fn last(&self) -> Last {
        match (self.delayed, &self.head) {
            (true, _) | (_, Some(_)) => Last::Learned,
            (false, None) => self.dialect.last,
        }
    }

    /// Whether all sites from the first to the last are there.
    pub fn whole(&self) -> bool {
        let layers: Vec<_> = self.sites.iter().filter_map(|site| site.layer).collect();
        let from_zero = layers.first().is_none_or(|&layer| layer == 0);
        from_zero && self.missing.is_empty()
    }

    /// The path that was opened.
    pub fn path(&self) -> &Path {
        self.store.path()
    }

    /// The number of names that were looked at.
    pub fn looked(&self) -> usize {
        self.store.looked()
    }

    /// For each role the shape at the first site, with the number of tensors of that role.
    pub fn shapes(&self) -> Vec<(&'static str, Vec<usize>, usize)> {
        let mut shapes = BTreeMap::new();
        for (role, name) in self.sites.iter().flat_map(|site| &site.tensors) {
            let shape = self.store.shape(name);
            let (kept, count) = shapes.entry(*role).or_insert((None, 0));
            *kept = kept.take().or(shape);
            *count += 1;
        }
        let listed = shapes.into_iter();
        listed
            .map(|(role, (shape, count))| (role, shape.unwrap_or_default(), count))
            .collect()
    }

    /// The number of tensors that are needed of each shard.
    pub fn shards(&self) -> BTreeMap<String, usize> {
        let mut shards = BTreeMap::new();
        let all = self.sites.iter().chain(&self.predicted).chain(&self.head);
        for name in all.flat_map(|site| site.tensors.values()) {
            if let Some(shard) = self.store.shard(name) {
                *shards.entry(shard).or_insert(0) += 1;
            }
        }
        shards
    }
}

/// The layers of the trunk: those of a GGUF file count the layers that predict further tokens.
fn layers(config: &Config<'_>) -> Result<Option<usize>, CheckpointError> {
    if let Some((_, layers)) = config.count(LAYERS)? {
        return Ok(Some(layers));
    }
    let blocks = config.count(&[".block_count"])?;
    let further = config.count(&[".nextn_predict_layers"])?;
    let further = further.map_or(0, |(_, count)| count);
    Ok(blocks.map(|(_, blocks)| blocks.saturating_sub(further)))
}

/// Layers of which a kind of site is missing.
fn gaps(sites: &[Site], layers: Option<usize>) -> Vec<String> {
    let mut gaps = Vec::new();
    for kind in [Kind::Attention, Kind::FeedForward] {
        let there: BTreeSet<_> = sites
            .iter()
            .filter(|site| site.kind == kind)
            .filter_map(|site| site.layer)
            .collect();
        let Some(last) = there.last() else {
            continue;
        };
        let until = layers.unwrap_or(last + 1);
        let mut at = 0;
        for next in there.iter().copied().chain([until]) {
            match next.saturating_sub(at) {
                0 => {}
                1 => gaps.push(format!("{} of layer {at}", kind.short())),
                _ => gaps.push(format!("{} of layers {at} to {}", kind.short(), next - 1)),
            }
            at = next + 1;
        }
    }
    gaps
}
