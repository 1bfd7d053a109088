//! The source of the kernels of element-wise functions.

use engine::backend::Function;

/// Invocations of a workgroup.
pub(super) const SIZE: usize = 64;

/// The most workgroups in one direction.
const GROUPS: usize = (1 << 16) - 1;

/// Function of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// `C = f(A)`.
    Forward(Function),
    /// `C = f'(B) A`, or added to C if so.
    Backward(Function, bool),
    /// The sum of matrices that lie one behind the other in A; added to C if so.
    Sum(bool),
}

/// Workgroups for so many elements of A, or of C in a forward.
pub(super) fn groups(count: usize) -> [u32; 3] {
    let groups = count.div_ceil(SIZE);
    [groups.min(GROUPS) as u32, groups.div_ceil(GROUPS) as u32, 1]
}

/// The number of an element in WGSL.
pub(super) fn number() -> String {
    format!("(group.y * {GROUPS}u + group.x) * {SIZE}u + me")
}

/// The kernel in WGSL. Bindings: 0 A, 1 B, 2 C, 3 the number of elements and, for a
/// sum, of matrices.
pub(super) fn source(kind: Kind) -> String {
    let (functions, body) = match kind {
        Kind::Forward(Function::Gelu) => (NORMAL, "c[i] = a[i] * normal(a[i]).x;".into()),
        Kind::Backward(Function::Gelu, adds) => {
            let new = "a[i] * (n.x + b[i] * n.y)";
            (
                NORMAL,
                format!("let n = normal(b[i]); {}", put("i", new, adds)),
            )
        }
        Kind::Forward(Function::SwiGlu { hidden }) => (
            SIGMOID,
            format!("{} c[i] = a[gate] * sigmoid(a[gate]) * a[up];", row(hidden)),
        ),
        Kind::Backward(Function::SwiGlu { hidden }, adds) => {
            let dgate = put("gate", "a[i] * b[up] * s * (1.0 + x * (1.0 - s))", adds);
            let dup = put("up", "a[i] * x * s", adds);
            let row = row(hidden);
            let body = format!("{row} let x = b[gate]; let s = sigmoid(x); {dgate} {dup}");
            (SIGMOID, body)
        }
        Kind::Sum(adds) => {
            let sum = "var sum = a[i];
    for (var j = 1u; j < extents.matrices; j++) { sum += a[i + j * extents.count]; }";
            ("", format!("{sum} {}", put("i", "sum", adds)))
        }
    };
    format!(
        "struct Extents {{ count: u32, matrices: u32 }}
@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> c: array<f32>;
@group(0) @binding(3) var<uniform> extents: Extents;
{functions}
@compute @workgroup_size({SIZE})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) me: u32) {{
    let i = {};
    if (i >= extents.count) {{ return; }}
    {body}
}}
",
        number()
    )
}

/// `C = ...` or `C += ...` at one place.
pub(super) fn put(at: &str, new: &str, adds: bool) -> String {
    match adds {
        true => format!("c[{at}] = c[{at}] + {new};"),
        false => format!("c[{at}] = {new};"),
    }
}

/// Indices of the gate and the up of element i of y, in rows of `hidden`.
fn row(hidden: usize) -> String {
    format!("let gate = i + i / {hidden}u * {hidden}u; let up = gate + {hidden}u;")
}

/// `1 / (1 + e^-x)`, without overflow.
const SIGMOID: &str = "fn sigmoid(x: f32) -> f32 {
    let e = exp(-abs(x));
    return select(e, 1.0, x >= 0.0) / (1.0 + e);
}";

/// Phi and phi as the CPU computes them (`simd::normal`).
const NORMAL: &str = "fn normal(x: f32) -> vec2<f32> {
    let t = min(abs(x), 14.0);
    let e = exp(-0.5 * t * t);
    let u = 1.0 / (0.3 * t + 1.0);
    let w = 0.3 * t * u;
    var p = 0.018008055;
    p = fma(p, w, -0.06380341);
    p = fma(p, w, 0.05722946);
    p = fma(p, w, 0.02124954);
    p = fma(p, w, 0.018216837);
    p = fma(p, w, -0.13834767);
    p = fma(p, w, -0.08122621);
    p = fma(p, w, 0.61816026);
    p = fma(p, w, -0.8298076);
    p = fma(p, w, 0.5);
    let tail = e * u * p;
    return vec2<f32>(select(1.0 - tail, tail, x < 0.0), e * 0.3989423);
}";
