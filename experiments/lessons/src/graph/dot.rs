//! A graph in the language of Graphviz.

use super::{Drawing, Line};
use engine::tape::{Graph, Origin};
use std::fmt::Write;

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

/// The graph as DOT: a box for every operation and for its leaves, with values (`x`) and
/// gradients (`dx`).
pub fn dot(graph: &Graph) -> String {
    let drawing = Drawing::new(graph);
    let mut out = String::from(
        "digraph tape {\n  rankdir=TB;\n  node [shape=box, style=filled, fontname=\"monospace\", \
         fontsize=10];\n",
    );
    for (i, node) in drawing.nodes.iter().enumerate() {
        let label: String = node
            .lines
            .iter()
            .map(|(kind, text)| match kind {
                Line::Scope => format!("in {}\\l", escaped(text)),
                _ => format!("{}\\l", escaped(text)),
            })
            .collect();
        let fill = match node.origin {
            Origin::Parameter => "#fff3d6",
            Origin::Input => "#dcebff",
            Origin::Constant => "#eeeeee",
            Origin::Computed => "#ffffff",
        };
        writeln!(out, "  n{i} [fillcolor=\"{fill}\", label=\"{label}\"];").expect("a string");
    }
    for (from, to) in &drawing.edges {
        writeln!(out, "  n{from} -> n{to};").expect("a string");
    }
    out.push_str("}\n");
    out
}
