// Patterns in an unfolded matrix. `c` is C(0) of `unfold`; sublayers are numbered from 1.
import { sub } from './numbers.mjs';

const TINY = 0.02;
export const zero = x => Math.abs(x) < TINY;
const alike = (a, b) => Math.abs(a - b) < TINY * Math.max(1, Math.abs(a), Math.abs(b));

const row = (c, k) => c[k].slice(0, k + 1);
const column = (c, j) => c.slice(j).map(r => r[j]);

// Nothing reads the output of sublayer j, and the final sum does not contain it.
export function unused(c, j) {
  return column(c, j).every(zero);
}

// Sublayer k reads nothing.
export function readsNothing(c, k) {
  return row(c, k - 1).every(zero);
}

// Sublayer k + 1 does not read sublayer k, and both are of use.
export function sideBySide(c, k) {
  return zero(c[k][k]) && ![k, k + 1].some(s => unused(c, s) || readsNothing(c, s));
}

// Every row is one number: all that is before is read with equal weight.
export function allEqual(c) {
  return c.every((_, k) => row(c, k).every(x => alike(x, c[k][0]) && !zero(x)));
}

// The magnitudes of column j fall from row to row, to `share` of the first at the last sublayer.
export function fades(c, j, share = 0.75) {
  const read = column(c, j).map(Math.abs);
  const falling = read.every((x, i) => i === 0 || x < read[i - 1] - 1e-9);
  return read.length > 1 && falling && read[read.length - 1] <= share * read[0];
}

// The magnitudes of column j never fall below `share` of the largest.
export function stays(c, j, share = 0.5) {
  const read = column(c, j).map(Math.abs);
  return Math.min(...read) >= share * Math.max(...read) && !zero(read[0]);
}

// Columns fade, but not the first ones.
export function isLambda(c) {
  const last = c.length - 1;
  const from = stays(c, 1) ? 2 : 1;
  const fading = Array.from({ length: last - from }, (_, i) => from + i);
  return stays(c, 0) && fading.length > 1 && fading.every(j => fades(c, j));
}

// The embedding is read by every sublayer, and is not in the final sum.
export function embeddingEliminated(c) {
  const read = column(c, 0);
  return zero(read[read.length - 1]) && read.slice(0, -1).every(x => !zero(x));
}

// Odd outputs are read by the next sublayer and by nothing else.
export function isTwoHop(c) {
  const odd = c.map((_, j) => j).filter(j => j % 2 === 1 && j < c.length - 1);
  return (
    odd.length > 0 &&
    odd.every(j => {
      const read = column(c, j);
      return !zero(read[0]) && read.slice(1).every(zero);
    })
  );
}

const listed = numbers =>
  numbers
    .map(k => `T${sub(k)}`)
    .join(', ')
    .replace(/, ([^,]*)$/, ' and $1');

// The patterns of a network, in words.
export function recognised(c) {
  const count = c.length - 1;
  const sublayers = Array.from({ length: count }, (_, i) => i + 1);
  const said = [];
  const unusedOnes = sublayers.filter(j => unused(c, j));
  const withoutInput = sublayers.filter(k => readsNothing(c, k));
  if (allEqual(c)) said.push(['pre-norm', 'Everything before is read with equal weight: the plain residual network.']);
  if (sublayers.slice(0, -1).every(j => fades(c, j)) && fades(c, 0)) {
    said.push(['post-norm-like', 'Every column fades downwards: what is older counts for less.']);
  }
  if (isLambda(c)) said.push(['Λ', 'Outputs fade, but what the bottom of the network made stays within reach.']);
  if (isTwoHop(c)) said.push(['two-hop', 'Outputs of odd sublayers are used once, by the next one, and forgotten.']);
  if (embeddingEliminated(c))
    said.push(['no embedding at the end', 'Every sublayer reads the embedding, the output does not contain it.']);
  for (let k = 1; k < count; k++) {
    if (sideBySide(c, k)) {
      said.push(['parallel', `T${sub(k + 1)} does not read T${sub(k)}: the two run side by side.`]);
    }
  }
  if (unusedOnes.length)
    said.push(['unused', `Nothing ever uses the output of ${listed(unusedOnes)}: an empty column.`]);
  if (withoutInput.length)
    said.push(['no input', `${listed(withoutInput)} read${withoutInput.length > 1 ? '' : 's'} nothing: an empty row.`]);
  return said;
}
