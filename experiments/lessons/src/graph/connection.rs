//! The drawing of a residual connection beside a hyper-connection.

use figures::plot::{Anchor, Canvas};

const SIZE: [f64; 2] = [760.0, 270.0];
/// Heights of the streams of the hyper-connection, and of the layers.
const STREAMS: [f64; 3] = [64.0, 98.0, 132.0];
const LAYER: f64 = 196.0;
const MIDDLE: Anchor = Anchor::Middle;

/// A residual connection and a hyper-connection around the same layer, as SVG.
pub fn connection() -> String {
    let mut canvas = Canvas::new();
    let c = &mut canvas;
    c.text(
        "heading",
        [20.0, 26.0],
        Anchor::Start,
        "Residual connection",
    );
    c.text("number", [20.0, 246.0], Anchor::Start, "x' = x + T(x)");
    arrow(c, "s0", [20.0, STREAMS[1]], [232.0, STREAMS[1]]);
    c.text("", [20.0, STREAMS[1] - 8.0], Anchor::Start, "x");
    arrow(c, "s1", [44.0, STREAMS[1]], [72.0, LAYER]);
    layer(c, [72.0, 152.0]);
    arrow(c, "s3", [152.0, LAYER], [196.0, STREAMS[1]]);
    sum(c, "s3", [200.0, STREAMS[1]]);

    c.text(
        "heading",
        [290.0, 26.0],
        Anchor::Start,
        "Hyper-connection, n = 3 streams",
    );
    c.text(
        "number",
        [290.0, 246.0],
        Anchor::Start,
        "Ĥ = Bᵀ (T (Hᵀ A_m))ᵀ + A_rᵀ H",
    );
    for (i, y) in STREAMS.into_iter().enumerate() {
        arrow(c, "s0", [290.0, y], [740.0, y]);
        c.text(
            "",
            [290.0, y - 8.0],
            Anchor::Start,
            &format!("stream {}", i + 1),
        );
        arrow(c, "s1", [362.0, y], [420.0, LAYER]);
        arrow(c, "s3", [500.0, LAYER], [640.0 - 4.0, y + 3.0]);
    }
    for to in STREAMS {
        for from in STREAMS {
            c.line("line s2", [440.0, from], [500.0, to]);
        }
    }
    layer(c, [420.0, 500.0]);
    for y in STREAMS {
        sum(c, "s3", [640.0, y]);
    }
    c.text("s1", [366.0, LAYER + 6.0], Anchor::End, "read A_m");
    c.text("s2", [470.0, STREAMS[0] - 10.0], MIDDLE, "mix A_r");
    c.text("s3", [580.0, LAYER + 6.0], Anchor::Start, "write B");
    canvas
        .finish(SIZE, "A residual connection and a hyper-connection")
        .to_svg()
}

/// A line with a head.
fn arrow(canvas: &mut Canvas, class: &str, from: [f64; 2], to: [f64; 2]) {
    canvas.line(&format!("line {class}"), from, to);
    let [dx, dy] = [to[0] - from[0], to[1] - from[1]];
    let length = dx.hypot(dy);
    let ([dx, dy], [x, y]) = ([7.0 * dx / length, 7.0 * dy / length], to);
    let (back, side) = ([x - dx, y - dy], [-0.4 * dy, 0.4 * dx]);
    let [left, right] = [1.0, -1.0].map(|s| [back[0] + s * side[0], back[1] + s * side[1]]);
    canvas.path(
        class,
        &format!(
            "M{x:.1},{y:.1}L{:.1},{:.1}L{:.1},{:.1}z",
            left[0], left[1], right[0], right[1]
        ),
    );
}

/// The sublayer between two abscissas.
fn layer(canvas: &mut Canvas, [left, right]: [f64; 2]) {
    let (top, width) = (LAYER - 22.0, right - left);
    canvas.path("ground", &format!("M{left},{top}h{width}v44h-{width}z"));
    canvas.path("axis", &format!("M{left},{top}h{width}v44h-{width}z"));
    let centre = (left + right) / 2.0;
    canvas.text("", [centre, LAYER - 3.0], MIDDLE, "norm, layer");
    canvas.text("", [centre, LAYER + 13.0], MIDDLE, "T");
}

/// An addition to a stream.
fn sum(canvas: &mut Canvas, class: &str, [x, y]: [f64; 2]) {
    let circle = format!("M{:.1},{y:.1}a7,7 0 1 0 14,0a7,7 0 1 0 -14,0z", x - 7.0);
    canvas.path("ground", &circle);
    canvas.path(&format!("line {class}"), &circle);
    canvas.path(
        &format!("line {class}"),
        &format!("M{:.1},{y:.1}h8M{x:.1},{:.1}v8", x - 4.0, y - 4.0),
    );
}
