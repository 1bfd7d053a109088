//! The tensors of one site, with checks of their shapes.

use crate::{
    CheckpointError,
    files::{Store, Tensor},
    site::Site,
};
use std::collections::BTreeMap;

/// The tensors of one site, read and checked as they are asked for.
pub(crate) struct Parts<'a> {
    pub(crate) store: &'a Store,
    pub(crate) site: &'a Site,
    /// The number of streams that the configuration says, and its key.
    pub(crate) says_streams: Option<(String, usize)>,
    /// The width that the configuration says, and its key.
    pub(crate) says_width: Option<(String, usize)>,
    /// The width, once a tensor has shown it.
    pub(crate) width: Option<usize>,
    read: BTreeMap<&'static str, Tensor>,
}

/// More streams than this are no hyper-connection.
const MOST_STREAMS: usize = 1024;

impl<'a> Parts<'a> {
    pub(crate) fn new(
        store: &'a Store,
        site: &'a Site,
        says_streams: Option<(String, usize)>,
        says_width: Option<(String, usize)>,
    ) -> Self {
        Self {
            store,
            site,
            says_streams,
            says_width,
            width: None,
            read: BTreeMap::new(),
        }
    }

    /// The tensor of a role.
    pub(crate) fn read(&mut self, role: &str) -> Result<Tensor, CheckpointError> {
        if let Some(tensor) = self.read.get(role) {
            return Ok(tensor.clone());
        }
        let Some((role, name)) = self.site.tensors.get_key_value(role) else {
            return Err(CheckpointError::Incomplete {
                path: self.store.path().to_owned(),
                names: vec![format!("{} {role}", self.site.name)],
            });
        };
        let tensor = self.store.read(name)?;
        if tensor.values.len() < 1 << 16 {
            self.read.insert(role, tensor.clone());
        }
        Ok(tensor)
    }

    /// The numbers of a role that may be missing.
    pub(crate) fn optional(&mut self, role: &str) -> Result<Option<Vec<f64>>, CheckpointError> {
        match self.site.tensors.contains_key(role) {
            true => self.read(role).map(|tensor| Some(tensor.values)),
            false => Ok(None),
        }
    }

    /// The numbers of a role, of which there must be so many.
    pub(crate) fn vector(&mut self, role: &str, count: usize) -> Result<Vec<f64>, CheckpointError> {
        let tensor = self.read(role)?;
        if tensor.values.len() != count {
            let reason = format!("the shape is {:?}, expected {count} numbers", tensor.shape);
            return Err(self.wrong(role, reason));
        }
        Ok(tensor.values)
    }

    /// The numbers of a role of this shape.
    pub(crate) fn sized(
        &mut self,
        role: &str,
        shape: &[usize],
    ) -> Result<Vec<f64>, CheckpointError> {
        let tensor = self.read(role)?;
        if tensor.shape != shape {
            let reason = format!("the shape is {:?}, expected {shape:?}", tensor.shape);
            return Err(self.wrong(role, reason));
        }
        Ok(tensor.values)
    }

    /// A matrix `[outputs, n d]`.
    pub(crate) fn matrix(
        &mut self,
        role: &str,
        outputs: usize,
        streams: usize,
    ) -> Result<Tensor, CheckpointError> {
        let tensor = self.read(role)?;
        match tensor.shape[..] {
            [rows, columns] if rows == outputs => self.expect_width(role, columns, streams)?,
            _ => {
                let reason = format!(
                    "the shape is {:?}, expected [{outputs}, {streams} d]",
                    tensor.shape
                );
                return Err(self.wrong(role, reason));
            }
        }
        Ok(tensor)
    }

    /// The number of streams that gives a tensor this length; it must be what the configuration
    /// says.
    pub(crate) fn streams(
        &self,
        role: &str,
        length: usize,
        of: impl Fn(usize) -> usize,
    ) -> Result<usize, CheckpointError> {
        let found = (1..=MOST_STREAMS).find(|&n| of(n) == length);
        let Some(streams) = found else {
            let reason = format!("{length} logits are those of no number of streams");
            return Err(self.wrong(role, reason));
        };
        match &self.says_streams {
            Some((key, says)) if *says != streams => Err(CheckpointError::Setting {
                key: key.clone(),
                path: self.store.path().to_owned(),
                reason: format!(
                    "it is {says}, but {} is of {streams} streams",
                    self.name_of(role)
                ),
            }),
            _ => Ok(streams),
        }
    }

    /// Checks that so many numbers are those of n streams of the width of the others.
    pub(crate) fn expect_width(
        &mut self,
        role: &str,
        numbers: usize,
        streams: usize,
    ) -> Result<(), CheckpointError> {
        let width = numbers / streams;
        if width == 0 || !numbers.is_multiple_of(streams) {
            let reason = format!("{numbers} numbers are no multiple of {streams} streams");
            return Err(self.wrong(role, reason));
        }
        if let Some((key, says)) = &self.says_width
            && *says != width
        {
            return Err(CheckpointError::Setting {
                key: key.clone(),
                path: self.store.path().to_owned(),
                reason: format!(
                    "it is {says}, but {} is of width {width}",
                    self.name_of(role)
                ),
            });
        }
        match self.width {
            Some(other) if other != width => {
                let reason = format!("the width is {width}, that of its neighbours {other}");
                Err(self.wrong(role, reason))
            }
            _ => {
                self.width = Some(width);
                Ok(())
            }
        }
    }

    fn name_of(&self, role: &str) -> &str {
        self.site
            .tensors
            .get(role)
            .map_or(&self.site.name, |name| name)
    }

    /// An error at the tensor of a role.
    pub(crate) fn wrong(&self, role: &str, reason: String) -> CheckpointError {
        let name = self.name_of(role);
        CheckpointError::Tensor {
            name: name.to_owned(),
            file: self.store.file(name),
            reason,
        }
    }
}
