//! Coefficients as a safetensors file, F32, row = source stream.

use crate::{Analysis, analysis::End, form::Coefficients};
use safetensors::{Dtype, serialize, tensor::TensorView};

/// The bytes of a file with `site.K.static_pre`, `.static_post`, `.static_comb` for every site K,
/// with states also `.pre`, `.post`, `.comb` per token, and `head.weights`. Of several views `pre` has one
/// more dimension, before the streams.
pub fn to_safetensors(analysis: &Analysis) -> Vec<u8> {
    let mut named: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
    let mut put = |name: String, shape: Vec<usize>, values: &mut dyn Iterator<Item = f64>| {
        if !shape.contains(&0) {
            let bytes = values.flat_map(|x| (x as f32).to_le_bytes());
            named.push((name, shape, bytes.collect()));
        }
    };
    type Of = fn(&Coefficients) -> &Vec<f64>;
    let parts: [(&str, Of); 3] = [
        ("pre", |of| {
            if of.views.is_empty() {
                &of.read
            } else {
                &of.views
            }
        }),
        ("post", |of| &of.write),
        ("comb", |of| &of.mix),
    ];
    for (k, site) in analysis.sites.iter().enumerate() {
        for (part, of) in parts {
            let shape = |one: &Coefficients| match (part, one.write.len()) {
                ("comb", n) => vec![n, n],
                ("pre", n) if !one.views.is_empty() => vec![one.views.len() / n, n],
                _ => vec![of(one).len()],
            };
            if let Some(fixed) = &site.fixed {
                let values = &mut of(fixed).iter().copied();
                put(format!("site.{k}.static_{part}"), shape(fixed), values);
            }
            if let Some(first) = site.tokens.first() {
                let shape = [vec![site.tokens.len()], shape(first)].concat();
                let values = &mut site.tokens.iter().flat_map(|one| of(one).iter().copied());
                put(format!("site.{k}.{part}"), shape, values);
            }
        }
    }
    let End { fixed, tokens, .. } = &analysis.end;
    if analysis.end.is_learned() {
        let values = &mut fixed.iter().copied();
        put("head.static_weights".into(), vec![fixed.len()], values);
    }
    if let Some(first) = tokens.first() {
        let shape = vec![tokens.len(), first.len()];
        let values = &mut tokens.iter().flatten().copied();
        put("head.weights".into(), shape, values);
    }
    let views = named.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes);
        (name, view.expect("as many bytes as the shape says"))
    });
    serialize(views, None).expect("names and shapes of a file")
}
