//! A graph as an SVG picture, without any other program.

use super::{Drawing, Line, layout::layout};
use engine::tape::{Graph, Origin};
use figures::plot::escaped;
use std::fmt::Write;

const MARGIN: f64 = 20.0;
/// The height of the legend.
const HEAD: f64 = 44.0;
const FONT_SIZE: f64 = 12.0;
const LINE_HEIGHT: f64 = 15.0;
/// A character of a monospaced font in units of its size, with a little to spare.
const CHARACTER: f64 = 0.62 * FONT_SIZE;
const PADDING: f64 = 8.0;

const STYLE: &str = "text{font-family:'DejaVu Sans Mono',Menlo,Consolas,monospace;\
    font-size:12px;fill:#222;white-space:pre}\
    .box{stroke:#555}.parameter .box{fill:#fff3d6}.input .box{fill:#dcebff}\
    .constant .box{fill:#eee}.computed .box{fill:#fff;stroke:#222;stroke-width:1.4}\
    .title{font-weight:bold}.scope{fill:#666;font-style:italic}.name{fill:#0b4f8a}\
    .gradient{fill:#b3261e}.edge{fill:none;stroke:#777;stroke-width:1.2}";

fn class(origin: Origin) -> &'static str {
    match origin {
        Origin::Parameter => "parameter",
        Origin::Input => "input",
        Origin::Constant => "constant",
        Origin::Computed => "computed",
    }
}

/// The graph as SVG, from the leaves down to the loss: values (`x`) and gradients (`dx`)
/// in every box, all elements when the mouse rests on it.
pub fn svg(graph: &Graph) -> String {
    let drawing = Drawing::new(graph);
    let sizes: Vec<[f64; 2]> = drawing
        .nodes
        .iter()
        .map(|node| {
            let longest = node
                .lines
                .iter()
                .map(|(_, text)| text.chars().count())
                .max();
            let width = longest.unwrap_or(0) as f64 * CHARACTER + 2.0 * PADDING;
            [width, node.lines.len() as f64 * LINE_HEIGHT + 2.0 * PADDING]
        })
        .collect();
    let placed = layout(&sizes, &drawing.edges);
    let width = (placed.size[0] + 2.0 * MARGIN).max(560.0);
    let height = placed.size[1] + 2.0 * MARGIN + HEAD;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.0} {height:.0}\">\n<style>{STYLE}</style>\n\
         <defs><marker id=\"arrow\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" \
         markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\">\
         <path d=\"M0,0 L8,4 L0,8 z\" fill=\"#777\"/></marker></defs>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    let mut put = |line: String| {
        out.push_str(&line);
        out.push('\n');
    };
    let mut x = MARGIN;
    for (class, label) in [
        ("parameter", "parameter"),
        ("input", "input"),
        ("constant", "constant"),
        ("computed", "operation"),
    ] {
        put(format!(
            "<g class=\"{class}\"><rect class=\"box\" x=\"{x:.0}\" y=\"{MARGIN:.0}\" \
             width=\"14\" height=\"14\"/><text x=\"{:.0}\" y=\"{:.0}\">{label}</text></g>",
            x + 20.0,
            MARGIN + 11.0
        ));
        x += 110.0;
    }
    put(format!(
        "<text x=\"{x:.0}\" y=\"{:.0}\">x value  <tspan class=\"gradient\">dx gradient</tspan></text>",
        MARGIN + 11.0
    ));
    put(format!(
        "<g transform=\"translate({MARGIN:.0},{:.0})\">",
        MARGIN + HEAD
    ));
    for route in &placed.routes {
        let mut path = format!("M{:.1},{:.1}", route[0][0], route[0][1]);
        for pair in route.windows(2) {
            let ([x0, y0], [x1, y1]) = (pair[0], pair[1]);
            let middle = (y0 + y1) / 2.0;
            write!(
                path,
                " C{x0:.1},{middle:.1} {x1:.1},{middle:.1} {x1:.1},{y1:.1}"
            )
            .expect("a string");
        }
        put(format!(
            "<path class=\"edge\" marker-end=\"url(#arrow)\" d=\"{path}\"/>"
        ));
    }
    for ((node, [x, y]), [w, h]) in drawing.nodes.iter().zip(placed.corners).zip(sizes) {
        put(format!("<g class=\"node {}\">", class(node.origin)));
        put(format!(
            "<title>{}</title>",
            escaped(node.details.trim_end())
        ));
        put(format!(
            "<rect class=\"box\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{w:.1}\" height=\"{h:.1}\" rx=\"4\"/>"
        ));
        for (i, (kind, text)) in node.lines.iter().enumerate() {
            let class = match kind {
                Line::Title => "title",
                Line::Scope => "scope",
                Line::Name => "name",
                Line::Value => "value",
                Line::Gradient => "gradient",
            };
            put(format!(
                "<text class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" xml:space=\"preserve\">{}</text>",
                x + PADDING,
                y + PADDING + 11.0 + i as f64 * LINE_HEIGHT,
                escaped(text)
            ));
        }
        put("</g>".into());
    }
    out.push_str("</g>\n</svg>\n");
    out
}
