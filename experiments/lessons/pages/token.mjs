// One token of n = 2 streams of d = 4 channels through one dynamic hyper-connection around
// T(x) = tanh(W norm(x)), and back. Vectors and matrices are arrays; a matrix is a list of rows.

export const EPS = 1e-5;

const total = numbers => numbers.reduce((sum, x) => sum + x, 0);
const inner = (a, b) => total(a.map((x, i) => x * b[i]));
const columnOf = (m, j) => m.map(row => row[j]);

// Mean and deviation of a row, sqrt(variance + eps).
export function statistics(row) {
  const mean = total(row) / row.length;
  return { mean, deviation: Math.sqrt(total(row.map(x => (x - mean) ** 2)) / row.length + EPS) };
}

export function norm(row) {
  const { mean, deviation } = statistics(row);
  return row.map(x => (x - mean) / deviation);
}

// dx of y = norm(x) from dy.
function normBackward(row, dy) {
  const { deviation } = statistics(row);
  const y = norm(row);
  const [along, mean] = [inner(y, dy) / row.length, total(dy) / row.length];
  return y.map((yi, i) => (dy[i] - mean - yi * along) / deviation);
}

// Eq. 10 to 13 and 3 to 5. `parts` are H, A = [A_m | A_r], B, W = [W_m | W_r], Wb = W_beta, sa, sb
// and L, the weight of the layer; `edit(name, value)` may replace a value before it is used.
export function forward(parts, edit = (_, value) => value) {
  const { H, A, B, W, Wb, sa, sb, L } = parts;
  const normed = H.map(norm);
  const z = normed.map(row => A[0].map((_, c) => inner(row, columnOf(W, c))));
  const zb = normed.map(row => inner(row, Wb));
  const alpha = edit(
    'alpha',
    z.map((row, i) => row.map((x, c) => sa * Math.tanh(x) + A[i][c])),
  );
  const beta = edit(
    'beta',
    zb.map((x, j) => sb * Math.tanh(x) + B[j]),
  );
  const mixture = c => H[0].map((_, k) => inner(columnOf(alpha, c), columnOf(H, k)));
  const h0 = edit('h0', mixture(0));
  const mixed = edit(
    'mixed',
    H.map((_, j) => mixture(j + 1)),
  );
  const x = norm(h0);
  const output = edit(
    'output',
    L.map(row => Math.tanh(inner(row, x))),
  );
  const next = mixed.map((row, j) => row.map((m, k) => beta[j] * output[k] + m));
  return { normed, z, zb, alpha, beta, h0, mixed, x, output, next };
}

export function loss(parts, G, edit) {
  return inner(G.flat(), forward(parts, edit).next.flat());
}

// The gradients of <G, next> with respect to everything.
export function backward(parts, G) {
  const { H, W, Wb, sa, sb, L } = parts;
  const { normed, z, zb, alpha, beta, h0, x, output } = forward(parts);
  const mixed = G;
  const dOutput = output.map((_, k) => total(beta.map((b, j) => b * G[j][k])));
  const dBeta = beta.map((_, j) => inner(output, G[j]));
  const before = output.map((o, k) => (1 - o * o) * dOutput[k]);
  const dL = before.map(d => x.map(xi => d * xi));
  const dX = x.map((_, k) => total(before.map((d, r) => d * L[r][k])));
  const dH0 = normBackward(h0, dX);
  const dAlpha = H.map(row => [inner(row, dH0), ...mixed.map(d => inner(row, d))]);
  const slope = value => 1 - Math.tanh(value) ** 2;
  const dz = z.map((row, i) => row.map((value, c) => sa * slope(value) * dAlpha[i][c]));
  const dzb = zb.map((value, j) => sb * slope(value) * dBeta[j]);
  const dNormed = normed.map((_, i) => W.map((row, k) => inner(row, dz[i]) + Wb[k] * dzb[i]));
  return {
    mixed,
    output: dOutput,
    beta: dBeta,
    L: dL,
    h0: dH0,
    alpha: dAlpha,
    A: dAlpha,
    B: dBeta,
    sa: total(z.flatMap((row, i) => row.map((value, c) => Math.tanh(value) * dAlpha[i][c]))),
    sb: total(zb.map((value, j) => Math.tanh(value) * dBeta[j])),
    W: W.map((row, k) => row.map((_, c) => total(normed.map((of, i) => of[k] * dz[i][c])))),
    Wb: Wb.map((_, k) => total(normed.map((of, i) => of[k] * dzb[i]))),
    H: H.map((row, i) =>
      normBackward(row, dNormed[i]).map(
        (d, k) => d + alpha[i][0] * dH0[k] + total(mixed.map((m, j) => alpha[i][j + 1] * m[k])),
      ),
    ),
  };
}

// A copy with one number moved; `at` leads to it, [] where the value is a number itself.
export function moved(value, at, by) {
  if (!at.length) return value + by;
  return value.map((x, i) => (i === at[0] ? moved(x, at.slice(1), by) : x));
}

const NUDGE = 1e-5;

// The slopes of the loss at every number of a part, or of a value on the way, by central
// differences.
export function differences(parts, G, name) {
  const value = name in parts ? parts[name] : forward(parts)[name];
  const at = (place, by) =>
    name in parts
      ? loss({ ...parts, [name]: moved(value, place, by) }, G)
      : loss(parts, G, (here, x) => (here === name ? moved(x, place, by) : x));
  const slope = place => (at(place, NUDGE) - at(place, -NUDGE)) / (2 * NUDGE);
  const all = (x, place) => (Array.isArray(x) ? x.map((y, i) => all(y, [...place, i])) : slope(place));
  return all(value, []);
}
