// Sinkhorn-Knopp: logits to a nearly doubly stochastic matrix, by the rules of several libraries.
// Matrices are H_res: row = destination, column = source.
//
// A rule is { first, iterations, clamp, temperature, softmax, plus, floor }: logits limited to
// ±clamp and divided by the temperature; exponentials, or with `softmax` (an eps) the softmax of the
// rows plus it, which counts as the first division; then in every iteration both axes are divided by
// their sums, `first` ('columns' or 'rows') before the other. The divisor is sum + plus, and at least
// `floor`.

export const MHC = { first: 'columns', iterations: 20 };

const linesOf = (m, axis) => (axis === 'rows' ? m : m[0].map((_, j) => m.map(row => row[j])));
const total = numbers => numbers.reduce((sum, x) => sum + x, 0);

export function rowSums(m) {
  return m.map(total);
}

export function columnSums(m) {
  return linesOf(m, 'columns').map(total);
}

// Each element from the one at its place and a number of its line.
function byLine(m, axis, perLine, make) {
  const numbers = linesOf(m, axis).map(perLine);
  return m.map((row, i) => row.map((x, j) => make(x, numbers[axis === 'rows' ? i : j])));
}

function divided(m, axis, { plus = 0, floor = 0 }) {
  return byLine(
    m,
    axis,
    line => Math.max(total(line) + plus, floor),
    (x, sum) => (sum > 0 ? x / sum : x),
  );
}

function scaled(logits, { clamp = Infinity, temperature = 1 }) {
  return logits.map(row => row.map(x => Math.max(-clamp, Math.min(clamp, x)) / temperature));
}

// The matrices after every division, as [axis, matrix]; first of all ['start', ...], where every
// line of the first axis has been scaled so that its largest element is 1.
export function passes(logits, rule) {
  const { first, iterations, softmax = null } = rule;
  const axes = first === 'columns' ? ['columns', 'rows'] : ['rows', 'columns'];
  const order = Array.from({ length: 2 * iterations }, (_, t) => axes[t % 2]);
  const start = byLine(
    scaled(logits, rule),
    first,
    line => Math.max(...line),
    (x, top) => Math.exp(x - top),
  );
  const all = [['start', start]];
  const last = () => all[all.length - 1][1];
  if (softmax !== null && order.length) {
    order.shift();
    all.push(['softmax', divided(start, 'rows', {})]);
    all.push(['eps', last().map(row => row.map(x => x + softmax))]);
  }
  for (const axis of order) all.push([axis, divided(last(), axis, rule)]);
  return all;
}

// The matrix of logits by a rule.
export function sinkhorn(logits, rule = MHC) {
  return passes(logits, rule).pop()[1];
}

// The gradient of <g, sinkhorn(logits)>, through every division; with `frozen` as a published
// backward has it, which takes the final matrix for that of every division.
export function sinkhornGradient(logits, rule, g, frozen = false) {
  const all = passes(logits, rule);
  const final = all[all.length - 1][1];
  // Of the logarithm of every element.
  let grad = final.map((row, i) => row.map((x, j) => x * g[i][j]));
  for (let t = all.length - 1; t > 0; t--) {
    const [axis, after] = all[t];
    const before = all[t - 1][1];
    if (axis === 'eps') {
      grad = grad.map((row, i) => row.map((x, j) => (x * before[i][j]) / after[i][j]));
      continue;
    }
    const line = axis === 'softmax' ? 'rows' : axis;
    const used = frozen ? final : after;
    const { plus = 0, floor = 0 } = axis === 'softmax' ? {} : rule;
    const free = linesOf(before, line).map(numbers => total(numbers) + plus >= floor);
    const sums = linesOf(grad, line).map((numbers, at) => (free[at] ? total(numbers) : 0));
    grad = grad.map((row, i) => row.map((x, j) => x - used[i][j] * sums[line === 'rows' ? i : j]));
  }
  const { clamp = Infinity, temperature = 1 } = rule;
  return grad.map((row, i) => row.map((x, j) => (Math.abs(logits[i][j]) > clamp ? 0 : x / temperature)));
}

// The largest distance of a sum from 1, of rows and of columns.
export function defects(m) {
  const off = sums => Math.max(...sums.map(sum => Math.abs(sum - 1)));
  return { rows: off(rowSums(m)), columns: off(columnSums(m)) };
}

// Rules of published implementations: name, rule, words.
export const LIBRARIES = [
  ['mHC paper', MHC, 'Eq. 9: columns, then rows, 20 times, no eps.'],
  [
    'DeepSeek-V4',
    { first: 'rows', iterations: 20, softmax: 1e-6, plus: 1e-6 },
    'Starts with the softmax of the rows plus eps, ends with columns; eps = 1e-6 in every divisor.',
  ],
  [
    'tokenbender',
    { first: 'rows', iterations: 10, temperature: 0.05 },
    'Rows first, 10 iterations, logits divided by 0.05: nearly a permutation.',
  ],
  [
    'lucidrains',
    { first: 'columns', iterations: 20, floor: 1e-12 },
    'Columns first, rows last; the sum, but at least 1e-12, is the divisor.',
  ],
  [
    'Motif-3',
    { first: 'rows', iterations: 20, clamp: 20, floor: 1e-8 },
    'Logits limited to ±20, rows first, columns last.',
  ],
];
