//! Which tile for which shape, and from which size on: measured once for each adapter.

use crate::kernel::{TILES, Tile, whole};
use engine::backend::{Adapter, Layout, Product};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

/// The first line of the file.
const HEADER: &str = "matrix product tuning 4";

/// Products that share a tile: a layout, and the extents up to the next power of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Class {
    layout: &'static str,
    m: usize,
    k: usize,
    n: usize,
    whole: bool,
}

impl Class {
    pub fn of(product: &Product) -> Self {
        Self {
            layout: name(product.layout),
            m: product.m.next_power_of_two(),
            k: product.k.next_power_of_two(),
            n: product.n.next_power_of_two(),
            whole: whole(product),
        }
    }
}

fn name(layout: Layout) -> &'static str {
    match layout {
        Layout::Nn => "nn",
        Layout::Nt => "nt",
        Layout::Tn => "tn",
    }
}

/// Measurements of an adapter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tuning {
    /// The edge of the smallest cube that is sent.
    pub threshold: Option<usize>,
    /// The fastest tile.
    pub tiles: BTreeMap<Class, Tile>,
}

/// The file of an adapter.
pub(super) fn path(directory: &Path, adapter: &Adapter) -> PathBuf {
    let name: String = format!("{} {} {}", adapter.name, adapter.api, adapter.driver)
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    directory.join(format!("matmul-{name}.txt"))
}

impl Tuning {
    /// Contents of the file: nothing if there is none.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn load(path: &Path) -> Result<Self, String> {
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(&text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut lines = text.lines();
        if lines.next() != Some(HEADER) {
            return Err(format!("its first line is not {HEADER:?}"));
        }
        let mut tuning = Self::default();
        for (number, line) in lines.enumerate() {
            let wrong = || format!("line {} makes no sense", number + 2);
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["threshold", edge] => {
                    tuning.threshold = Some(edge.parse().map_err(|_| wrong())?);
                }
                ["tile", layout, m, k, n, whole, tile] => {
                    let layouts = [Layout::Nn, Layout::Nt, Layout::Tn].map(name);
                    let layout = layouts.into_iter().find(|&name| name == layout);
                    let extent = |word: &str| word.parse::<usize>().map_err(|_| wrong());
                    let class = Class {
                        layout: layout.ok_or_else(wrong)?,
                        m: extent(m)?,
                        k: extent(k)?,
                        n: extent(n)?,
                        whole: whole.parse().map_err(|_| wrong())?,
                    };
                    let tile = TILES.into_iter().find(|known| shown(known) == tile);
                    tuning.tiles.insert(class, tile.ok_or_else(wrong)?);
                }
                _ => return Err(wrong()),
            }
        }
        Ok(tuning)
    }

    fn to_text(&self) -> String {
        let mut text = format!("{HEADER}\n");
        if let Some(edge) = self.threshold {
            text.push_str(&format!("threshold {edge}\n"));
        }
        for (class, tile) in &self.tiles {
            let Class {
                layout,
                m,
                k,
                n,
                whole,
            } = class;
            text.push_str(&format!(
                "tile {layout} {m} {k} {n} {whole} {}\n",
                shown(tile)
            ));
        }
        text
    }

    /// Writes the file.
    ///
    /// # Errors
    /// Errors of writing.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        // Several processes may write at once: each a file of its own, the last one stays.
        let own = path.with_extension(format!("{}.tmp", std::process::id()));
        fs::write(&own, self.to_text())?;
        fs::rename(&own, path)
    }
}

/// A tile as a word: sums of an invocation, invocations, depth, slices.
fn shown(tile: &Tile) -> String {
    let Tile {
        m_each,
        n_each,
        rows,
        columns,
        depth,
        slices,
    } = tile;
    format!("{m_each}x{n_each}/{rows}x{columns}/{depth}/{slices}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut tuning = Tuning {
            threshold: Some(123_456),
            ..Tuning::default()
        };
        for (i, layout) in [Layout::Nn, Layout::Nt, Layout::Tn].into_iter().enumerate() {
            let class = Class::of(&Product::new(layout, 100 + i, 8, 32 + i));
            tuning.tiles.insert(class, TILES[i]);
        }
        assert_eq!(Tuning::parse(&tuning.to_text()), Ok(tuning));
    }

    #[test]
    fn a_damaged_file_is_refused_with_its_line() {
        for (text, reason) in [
            ("", "its first line"),
            ("something else\n", "its first line"),
            (&format!("{HEADER}\nthreshold x\n"), "line 2"),
            (&format!("{HEADER}\nthreshold 1\ntile nn 1 2\n"), "line 3"),
            (
                &format!("{HEADER}\ntile nn 1 2 4 true 9x9/1x1/8/1\n"),
                "line 2",
            ),
            (
                &format!("{HEADER}\ntile xx 1 2 4 true 4x4/8x8/8/1\n"),
                "line 2",
            ),
        ] {
            let error = Tuning::parse(text).unwrap_err();
            assert!(error.contains(reason), "{text:?}: {error}");
        }
    }
}
