//! The source of the kernels of attention, written out for a kind.

use super::{
    ACROSS, Kind, Pass, ROWS,
    steps::{BARRIER, COMPONENTS},
};
use crate::element_wise;
use std::fmt::Write;

/// What stands for the score of a key that is not seen: less than any score.
const HIDDEN: &str = "-1e30";

/// The kernel in WGSL. Bindings: what is read, what is written, the extents.
pub(crate) fn source(kind: Kind) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = match kind.pass {
        Pass::Forward => write_forward(&mut text, kind),
        Pass::Means => write_means(&mut text, kind),
        Pass::Queries | Pass::Keys => write_backward(&mut text, kind),
    };
    text
}

/// The declarations of matrices, of those read with the type of an element, and of the
/// extents.
fn write_bindings(
    w: &mut String,
    third: &str,
    read: &[(&str, &str)],
    written: &[&str],
) -> std::fmt::Result {
    writeln!(
        w,
        "struct Extents {{ seq: u32, heads: u32, {third}: u32, unused: u32 }}"
    )?;
    let mut binding = 0..;
    let mut next = || binding.next().unwrap_or(0);
    for (name, element) in read {
        let at = next();
        writeln!(
            w,
            "@group(0) @binding({at}) var<storage, read> {name}: array<{element}>;"
        )?;
    }
    for name in written {
        let at = next();
        writeln!(
            w,
            "@group(0) @binding({at}) var<storage, read_write> {name}: array<f32>;"
        )?;
    }
    writeln!(
        w,
        "@group(0) @binding({}) var<uniform> extents: Extents;",
        next()
    )
}

fn write_means(w: &mut String, kind: Kind) -> std::fmt::Result {
    let vectors = kind.head_dim / 4;
    let read = [("out", "vec4<f32>"), ("dout", "vec4<f32>")];
    write_bindings(w, "count", &read, &["means"])?;
    write!(
        w,
        "@compute @workgroup_size({size})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) me: u32) {{
    let i = {i};
    if (i >= extents.count) {{ return; }}
    let t = i % extents.seq;
    let head = i / extents.seq % extents.heads;
    let sequence = i / extents.seq / extents.heads;
    let at = ((sequence * extents.seq + t) * extents.heads + head) * {vectors}u;
    var sum = 0.0;
    for (var c = 0u; c < {vectors}u; c++) {{ sum += dot(out[at + c], dout[at + c]); }}
    means[i] = sum;
}}
",
        size = element_wise::SIZE,
        i = element_wise::number(),
    )
}

fn write_forward(w: &mut String, kind: Kind) -> std::fmt::Result {
    // Behind the probabilities.
    let partial = ROWS / ACROSS;
    let mut read = vec![("qkv", "vec4<f32>")];
    read.extend(kind.rotary.then_some(("tables", "vec4<f32>")));
    write_bindings(w, "positions", &read, &["out", "lse"])?;
    kind.write_start(w, &["queries", "keys", "values"])?;
    kind.write_main(w, "(groups.y - 1u - group.y)")?;
    writeln!(
        w,
        "    var highest = vec4<f32>({HIDDEN});
    var total = vec4<f32>();"
    )?;
    kind.write_zeros(w, "sum")?;
    if kind.chunks() == 1 {
        kind.write_load(w, "queries", "own", "0u")?;
    }
    kind.write_loop(w)?;
    kind.write_scores(w, &[["score", "queries", "keys"]], &["values"])?;
    kind.write_seen(w)?;
    writeln!(w, "    var most = vec4<f32>({HIDDEN});")?;
    for j in 0..4 {
        writeln!(
            w,
            "    score_{j} = select(vec4<f32>({HIDDEN}), score_{j}, seen_{j});
    most = max(most, score_{j});"
        )?;
    }
    writeln!(
        w,
        "{BARRIER}    keys[{partial}][x][y] = most;
{BARRIER}    most = highest;"
    )?;
    for i in 0..ACROSS {
        writeln!(w, "    most = max(most, keys[{partial}][{i}][y]);")?;
    }
    writeln!(
        w,
        "    let fading = exp(highest - most);
    highest = most;
    total *= fading;"
    )?;
    for j in 0..4 {
        writeln!(
            w,
            "    score_{j} = exp(score_{j} - highest); total += score_{j};"
        )?;
    }
    kind.write_put(w, "keys", "score")?;
    w.push_str(BARRIER);
    for i in 0..kind.head_dim / ACROSS {
        writeln!(w, "    sum_{i} *= fading;")?;
    }
    kind.write_sums(w, &[["sum", "keys", "values"]])?;
    writeln!(
        w,
        "    }}
    keys[{partial}][x][y] = total;
{BARRIER}    total = vec4<f32>();"
    )?;
    for i in 0..ACROSS {
        writeln!(w, "    total += keys[{partial}][{i}][y];")?;
    }
    writeln!(w, "    let sums = highest + log(total);")?;
    for component in COMPONENTS {
        writeln!(
            w,
            "    if (row.{component} < seq) {{
        if (x == 0u) {{ lse[lse_at + row.{component}] = sums.{component}; }}
        let to = ((first + row.{component}) * extents.heads + head) * {}u + x;",
            kind.head_dim
        )?;
        for i in 0..kind.head_dim / ACROSS {
            let column = kind.column(i / kind.rounds(), i % kind.rounds());
            writeln!(
                w,
                "        out[to + {column}u] = sum_{i}.{component} / total.{component};"
            )?;
        }
        writeln!(w, "    }}")?;
    }
    writeln!(w, "}}")
}

fn write_backward(w: &mut String, kind: Kind) -> std::fmt::Result {
    let by_keys = kind.pass == Pass::Keys;
    let mut read = vec![
        ("qkv", "vec4<f32>"),
        ("dout", "vec4<f32>"),
        ("lse", "f32"),
        ("means", "f32"),
    ];
    read.extend(kind.rotary.then_some(("tables", "vec4<f32>")));
    write_bindings(w, "positions", &read, &["c"])?;
    let (query_side, key_side) = (["queries", "dqueries"], ["keys", "values"]);
    let (own, other, order) = match by_keys {
        true => (key_side, query_side, "group.y"),
        false => (query_side, key_side, "(groups.y - 1u - group.y)"),
    };
    kind.write_start(w, &[&own[..], &other, &["weights", "dscores"]].concat())?;
    kind.write_main(w, order)?;
    if kind.chunks() == 1 {
        for tile in own {
            kind.write_load(w, tile, "own", "0u")?;
        }
    }
    let at_row = |name: &str| {
        let at = |i| format!("{name}[lse_at + min(row[{i}], seq - 1u)]");
        format!("vec4<f32>({}, {}, {}, {})", at(0), at(1), at(2), at(3))
    };
    let at_column =
        |name: &str, j: usize| format!("vec4<f32>({name}[lse_at + min(column_{j}, seq - 1u)])");
    if !by_keys {
        writeln!(w, "    let sums = {};", at_row("lse"))?;
        writeln!(w, "    let mean = {};", at_row("means"))?;
    }
    kind.write_zeros(w, "sum")?;
    if by_keys {
        kind.write_zeros(w, "value_sum")?;
    }
    kind.write_loop(w)?;
    let scores = [["score", own[0], other[0]], ["dscore", own[1], other[1]]];
    kind.write_scores(w, &scores, &[])?;
    kind.write_seen(w)?;
    for j in 0..4 {
        let (sums, mean) = match by_keys {
            true => (at_column("lse", j), at_column("means", j)),
            false => ("sums".to_owned(), "mean".to_owned()),
        };
        writeln!(
            w,
            "    score_{j} = select(vec4<f32>(), exp(score_{j} - {sums}), seen_{j});
    dscore_{j} = score_{j} * (dscore_{j} - {mean});"
        )?;
    }
    // The queries, and so what is made of them, were scaled when they were loaded.
    match by_keys {
        true => {
            kind.write_put(w, "weights", "score")?;
            kind.write_put(w, "dscores", "dscore")?;
            w.push_str(BARRIER);
            let products = [
                ["sum", "dscores", "queries"],
                ["value_sum", "weights", "dqueries"],
            ];
            kind.write_sums(w, &products)?;
            w.push_str("    }\n");
            kind.write_gradient(w, "sum", 1, 1.0)?;
            kind.write_gradient(w, "value_sum", 2, 1.0)?;
        }
        false => {
            w.push_str(BARRIER);
            kind.write_put(w, "values", "dscore")?;
            w.push_str(BARRIER);
            kind.write_sums(w, &[["sum", "values", "keys"]])?;
            w.push_str("    }\n");
            kind.write_gradient(w, "sum", 0, kind.scale())?;
        }
    }
    writeln!(w, "}}")
}
