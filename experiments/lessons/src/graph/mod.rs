//! Drawings: of what a tape has recorded, and of a hyper-connection.

mod connection;
mod layout;
mod svg;

pub use connection::connection;
pub use svg::svg;

use crate::teach::token::{Token, gradient_from_above};
use engine::{
    params::{Builder, Gradients},
    rng::Key,
    tape::{Graph, GraphValue, Origin, Tape},
};
use models::{
    config::FfnConfig,
    transformer::{Transformer, TransformerConfig},
};
use nn::connection::{ConnectionConfig, HyperConfig};
use std::fmt::Write;

/// The token of the first two lessons, with the gradients of the loss of the second, `<G, Ĥ>`.
pub fn of_lesson(key: Key) -> Graph {
    let token = Token::new(key.named("token"));
    let mut tape = Tape::new();
    tape.set_probing();
    tape.set_keeping();
    let on_tape = token.on_tape(&tape);
    let mut gradients = Gradients::new(&Builder::new(key).finish());
    tape.backward_from(&[(on_tape.next, &gradient_from_above(key))], &mut gradients);
    tape.graph(&gradients)
}

/// A decoder of one block with dynamic hyper-connections, and the gradient of its loss.
pub fn of_model(key: Key) -> Graph {
    let config = TransformerConfig {
        vocab_size: 5,
        dim: 4,
        layers: 1,
        heads: 1,
        seq: 3,
        init_std: 0.5,
        ffn: FfnConfig::SwiGlu { hidden: 4 },
        connection: ConnectionConfig::Hyper(HyperConfig {
            rate: 2,
            ..HyperConfig::default()
        }),
        ..TransformerConfig::default()
    };
    let (model, params) = Transformer::new(&config, key.named("model")).expect("a valid network");
    let mut tape = Tape::new();
    tape.set_probing();
    tape.set_keeping();
    tape.bind(&params);
    let loss = model.loss(&tape, &[1, 4, 2], &[4, 2, 0], config.seq);
    tape.probe("loss", loss);
    let mut gradients = Gradients::new(&params);
    tape.backward(loss, &mut gradients);
    tape.graph(&gradients)
}

/// Kind of a line of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Title,
    Scope,
    Name,
    Value,
    Gradient,
}

/// A box of the drawing: leaves, or an operation with its outputs.
struct Node {
    origin: Origin,
    lines: Vec<(Line, String)>,
    /// Every number, for a closer look.
    details: String,
}

/// The nodes of a graph and the edges between them, in the order of execution.
struct Drawing {
    nodes: Vec<Node>,
    edges: Vec<(usize, usize)>,
}

/// Number of rows and columns of a value that are shown.
const SHOWN_ROWS: usize = 2;
const SHOWN_COLUMNS: usize = 4;

fn rows(value: &GraphValue, elements: &[f32], prefix: &str) -> Vec<String> {
    let width = value.shape.width().max(1);
    let count = elements.len() / width;
    let mut lines: Vec<String> = elements
        .chunks(width)
        .take(SHOWN_ROWS)
        .enumerate()
        .map(|(i, row)| {
            let numbers: String = row.iter().take(SHOWN_COLUMNS).map(|x| number(*x)).collect();
            let more = if width > SHOWN_COLUMNS { " .." } else { "" };
            let head = if i == 0 { prefix } else { "" };
            format!("{head:<5}{numbers}{more}")
        })
        .collect();
    if count > SHOWN_ROWS
        && let Some(last) = lines.last_mut()
    {
        last.push_str(&format!(" (+{} rows)", count - SHOWN_ROWS));
    }
    lines
}

fn number(x: f32) -> String {
    match x.abs() {
        small if small < 5e-4 && x != 0.0 => format!("{x:>9.0e}"),
        ..1000.0 => format!("{x:>9.3}"),
        _ => format!("{x:>9.1e}"),
    }
}

fn describe(value: &GraphValue, lines: &mut Vec<(Line, String)>, details: &mut String) {
    let name = value.name.as_deref().unwrap_or("");
    // A probe carries the scope, which the node already shows.
    let short = match value.origin {
        Origin::Computed => name.rsplit('.').next().unwrap_or(name),
        _ => name,
    };
    let title = match (value.origin, short) {
        (Origin::Constant, "") => "constant".to_owned(),
        (Origin::Input, "") => "input".to_owned(),
        // What an operation keeps for its backward.
        (Origin::Computed, "") if value.gradient.is_none() => "saved".to_owned(),
        (_, short) => short.to_owned(),
    };
    lines.push((
        Line::Name,
        format!("{title} {}", value.shape).trim().to_owned(),
    ));
    for (kind, prefix, elements) in [
        (Line::Value, "x", &value.elements),
        (Line::Gradient, "dx", &value.gradient),
    ] {
        if let Some(elements) = elements {
            lines.extend(
                rows(value, elements, prefix)
                    .into_iter()
                    .map(|row| (kind, row)),
            );
            details.push_str(&format!("{title} {prefix} {elements:?}\n"));
        }
    }
}

impl Drawing {
    fn new(graph: &Graph) -> Self {
        let mut nodes = Vec::new();
        let mut edges = Vec::new();
        let mut node_of = vec![None; graph.values.len()];
        for call in &graph.calls {
            // Leaves of one kind that nobody else reads share a box.
            let mut own: [Option<usize>; 3] = [None; 3];
            for &input in &call.inputs {
                let value = &graph.values[input];
                let kind = match value.origin {
                    Origin::Parameter => 0,
                    Origin::Input => 1,
                    Origin::Constant => 2,
                    Origin::Computed => continue,
                };
                if node_of[input].is_some() {
                    continue;
                }
                let readers = graph
                    .calls
                    .iter()
                    .filter(|call| call.inputs.contains(&input));
                let shared = readers.count() > 1;
                let node = match own[kind] {
                    Some(node) if !shared => node,
                    _ => {
                        nodes.push(Node {
                            origin: value.origin,
                            lines: Vec::new(),
                            details: String::new(),
                        });
                        nodes.len() - 1
                    }
                };
                if !shared {
                    own[kind] = Some(node);
                }
                node_of[input] = Some(node);
                let Node { lines, details, .. } = &mut nodes[node];
                describe(value, lines, details);
            }
            let here = nodes.len();
            let mut lines = vec![(Line::Title, call.op.to_owned())];
            if let Some(scope) = &call.scope {
                lines.push((Line::Scope, scope.clone()));
            }
            let mut details = String::new();
            for output in call.outputs.clone() {
                node_of[output] = Some(here);
                describe(&graph.values[output], &mut lines, &mut details);
            }
            nodes.push(Node {
                origin: Origin::Computed,
                lines,
                details,
            });
            for &input in &call.inputs {
                let from = node_of[input].expect("a value is made before it is read");
                if !edges.contains(&(from, here)) {
                    edges.push((from, here));
                }
            }
        }
        Self { nodes, edges }
    }
}

fn quoted(text: &str) -> String {
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
                Line::Scope => format!("in {}\\l", quoted(text)),
                _ => format!("{}\\l", quoted(text)),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn graphs() -> [Graph; 2] {
        [of_lesson(Key::new(0)), of_model(Key::new(0))]
    }

    #[test]
    fn drawings_are_well_formed() {
        for graph in graphs() {
            let svg = svg(&graph);
            roxmltree::Document::parse(&svg).expect("XML");
            assert_eq!(
                svg.matches("class=\"node").count(),
                Drawing::new(&graph).nodes.len()
            );
            let dot = dot(&graph);
            assert!(dot.starts_with("digraph") && dot.trim_end().ends_with('}'));
            assert_eq!(dot.matches('"').count() % 2, 0);
            assert_eq!(
                dot.matches(" -> ").count(),
                Drawing::new(&graph).edges.len()
            );
        }
    }

    #[test]
    fn the_connection_is_well_formed_and_that_of_the_readme() {
        let svg = connection();
        assert_eq!(svg, include_str!("../../../../docs/figures/connection.svg"));
        roxmltree::Document::parse(&svg).expect("XML");
        for part in ["read A_m", "mix A_r", "write B"] {
            assert!(svg.contains(part), "{part}");
        }
    }

    #[test]
    fn every_operation_of_the_lesson_is_drawn_with_values_and_gradients() {
        let text = svg(&of_lesson(Key::new(0)));
        for op in [
            "coefficients",
            "width_connection",
            "linear",
            "tanh",
            "depth_connection",
        ] {
            assert!(text.contains(op), "{op}");
        }
        for graph in graphs() {
            for call in &graph.calls {
                let first = &graph.values[call.outputs.start];
                assert!(first.elements.is_some(), "{}", call.op);
                assert!(first.gradient.is_some(), "{}", call.op);
            }
        }
    }

    #[test]
    fn the_lesson_is_drawn_with_the_loss_of_lesson_2() {
        let key = Key::new(0);
        let graph = of_lesson(key);
        let named = |name: &str| {
            let found = graph
                .values
                .iter()
                .find(|v| v.name.as_deref() == Some(name));
            found.and_then(|value| value.gradient.clone())
        };
        // L = <G, Ĥ>, and the write passes G on to H'.
        assert_eq!(named("Ĥ"), Some(gradient_from_above(key)));
        assert_eq!(named("H'"), Some(gradient_from_above(key)));
    }

    #[test]
    fn the_model_has_every_parameter_once() {
        let graph = of_model(Key::new(0));
        let mut names: Vec<_> = graph
            .values
            .iter()
            .filter(|value| value.origin == Origin::Parameter)
            .map(|value| value.name.clone())
            .collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(names.contains(&Some("blocks.0.attn_connection.static_alpha".into())));
    }
}
