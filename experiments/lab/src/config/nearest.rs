//! The word that was meant.

/// Names that other programs and papers have for settings, and the settings.
const OTHER_NAMES: [(&str, &str); 42] = [
    ("accumulation", "train.micro_batch"),
    ("b1", "optim.beta1"),
    ("b2", "optim.beta2"),
    ("batch_size", "train.batch"),
    ("block_size", "model.seq"),
    ("bs", "train.batch"),
    ("connections", "model.connection"),
    ("context", "model.seq"),
    ("context_length", "model.seq"),
    ("d_ff", "model.ffn.hidden"),
    ("d_model", "model.dim"),
    ("depth", "model.layers"),
    ("embed_dim", "model.dim"),
    ("epochs", "train.steps"),
    ("epsilon", "optim.eps"),
    ("expansion_rate", "model.connection.rate"),
    ("grad_clip", "optim.clip"),
    ("hidden_size", "model.dim"),
    ("intermediate_size", "model.ffn.hidden"),
    ("iterations", "train.steps"),
    ("iters", "train.steps"),
    ("lr", "train.learning_rate"),
    ("max_iters", "train.steps"),
    ("max_norm", "optim.clip"),
    ("max_seq_len", "model.seq"),
    ("max_steps", "train.steps"),
    ("min_lr", "train.min_lr_ratio"),
    ("n_ctx", "model.seq"),
    ("n_embd", "model.dim"),
    ("n_head", "model.heads"),
    ("n_heads", "model.heads"),
    ("n_layer", "model.layers"),
    ("n_layers", "model.layers"),
    ("num_heads", "model.heads"),
    ("num_layers", "model.layers"),
    ("rate", "model.connection.rate"),
    ("scheduler", "train.schedule"),
    ("seq_len", "model.seq"),
    ("streams", "model.connection.rate"),
    ("vocab", "model.vocab_size"),
    ("wd", "optim.weight_decay"),
    ("width", "model.dim"),
];

/// The setting that has this name elsewhere.
pub(super) fn under_other_name(name: &str) -> Option<&'static str> {
    let found = OTHER_NAMES.iter().find(|(other, _)| *other == name);
    found.map(|(_, setting)| *setting)
}

/// Of these words the one most like `word`, if it is not altogether different.
pub fn nearest_word<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let distance = |other: &&str| strsim::damerau_levenshtein(word, other);
    known
        .into_iter()
        .min_by_key(distance)
        .filter(|other| distance(other) <= word.chars().count().div_ceil(2))
        .map(str::to_owned)
}
