// Networks of hyper-connections as numbers. A sublayer is { read, mix, write }: read[i] is A_m,
// mix[i][j] is A_r, row i = source stream, column j = destination stream, write[j] is B.

// Row vector times matrix.
export function times(row, matrix) {
  return matrix[0].map((_, j) => row.reduce((sum, x, i) => sum + x * matrix[i][j], 0));
}

export function dot(a, b) {
  return a.reduce((sum, x, i) => sum + x * b[i], 0);
}

export function product(a, b) {
  return a.map(row => times(row, b));
}

export function identity(n) {
  return Array.from({ length: n }, (_, i) => Array.from({ length: n }, (_, j) => Number(i === j)));
}

// Shares of the output of sublayer j (0: the embedding) in the streams, before each later sublayer and
// at the end: B^j, B^j A_r^{j+1}, ...; entry 0 is before sublayer j + 1.
export function shares(network, j) {
  const n = network[0].write.length;
  const held = [j === 0 ? Array(n).fill(1) : network[j - 1].write];
  for (const sublayer of network.slice(j)) held.push(times(held[held.length - 1], sublayer.mix));
  return held;
}

// C(0) (Eq. 27): c[k][j] is how much of output j the sublayer k + 1 reads; in the last row, how
// much of it is in the sum of the streams. Column 0 is the embedding; entries with j > k are 0.
export function unfold(network) {
  const count = network.length;
  const c = Array.from({ length: count + 1 }, () => Array(count + 1).fill(0));
  for (let j = 0; j <= count; j++) {
    const held = shares(network, j);
    for (let k = j; k < count; k++) c[k][j] = dot(held[k - j], network[k].read);
    c[count][j] = held[count - j].reduce((sum, x) => sum + x, 0);
  }
  return c;
}

// A_r^1 A_r^2 ... A_r^L.
export function composed(network) {
  return network.reduce((all, sublayer) => product(all, sublayer.mix), identity(network[0].write.length));
}

const largest = sums => Math.max(...sums);
const magnitude = numbers => numbers.reduce((sum, x) => sum + Math.abs(x), 0);

// mHC's Amax of a mix: the largest sum of magnitudes that goes into one stream (forward, of
// values), and that comes out of one stream (backward, of gradients).
export function gains(mix) {
  return {
    forward: largest(mix[0].map((_, j) => magnitude(mix.map(row => row[j])))),
    backward: largest(mix.map(magnitude)),
  };
}

// The list and the index that a key of an entry leads to: `read.k.i`, `write.k.j` or `mix.k.i.j`.
function place(network, key) {
  const [part, k, i, j] = key.split('.');
  return part === 'mix' ? [network[k].mix[i], Number(j)] : [network[k][part], Number(i)];
}

export function valueOf(network, key) {
  const [list, at] = place(network, key);
  return list[at];
}

export function setValue(network, key, value) {
  const [list, at] = place(network, key);
  list[at] = value;
}
