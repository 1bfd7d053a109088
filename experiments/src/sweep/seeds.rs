//! `--seeds`.

use lab::ablation::distinct_seeds;

/// Seeds, ascending.
#[derive(Debug, Clone)]
pub(super) struct Seeds(pub(super) Vec<u64>);

/// `5` for 0 to 4, or `0,3,7`.
pub(super) fn parse(text: &str) -> Result<Seeds, String> {
    let number = |part: &str| {
        let number = part.trim().parse::<u64>();
        number.map_err(|_| format!("{part:?} is no seed, a whole number: write 5, or 0,3,7"))
    };
    if !text.contains(',') {
        return match number(text)? {
            count @ 1..=1000 => Ok(Seeds((0..count).collect())),
            _ => Err("expected 1 to 1000 seeds".into()),
        };
    }
    let parts = text.split(',').filter(|part| !part.trim().is_empty());
    let seeds = parts.map(number).collect::<Result<Vec<_>, _>>()?;
    distinct_seeds(seeds).map(Seeds)
}
