//! The word that was meant.

/// Of these words the one most like `word`, if it is not altogether different.
pub fn nearest_word<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let distance = |other: &&str| strsim::damerau_levenshtein(word, other);
    known
        .into_iter()
        .min_by_key(distance)
        .filter(|other| distance(other) <= word.chars().count().div_ceil(2))
        .map(str::to_owned)
}
