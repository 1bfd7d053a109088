//! `--seeds`.

use std::collections::BTreeSet;

/// Seeds, ascending.
#[derive(Debug, Clone)]
pub(super) struct Seeds(pub(super) Vec<u64>);

/// `5` for 0 to 4, or `0,3,7`.
pub(super) fn parse(text: &str) -> Result<Seeds, String> {
    let number = |part: &str| {
        let number = part.trim().parse::<u64>();
        number.map_err(|_| format!("{part:?} is no number: write 5, or 0,3,7"))
    };
    let seeds: BTreeSet<u64> = if text.contains(',') {
        let parts = text.split(',').filter(|part| !part.trim().is_empty());
        parts.map(number).collect::<Result<_, _>>()?
    } else {
        match number(text)? {
            count @ 1..=1000 => (0..count).collect(),
            _ => return Err("expected 1 to 1000 seeds".into()),
        }
    };
    if seeds.is_empty() {
        return Err("expected at least one seed".into());
    }
    Ok(Seeds(seeds.into_iter().collect()))
}
