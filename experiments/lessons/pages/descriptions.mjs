// Entries and unfolded weights in words.
import { composed, shares, unfold, valueOf } from './network.mjs';
import { shown, sub } from './numbers.mjs';
import { el, letters, matrixOf } from './elements.mjs';

// An entry and what it does.
export function describeEntry(network, key) {
  const [part, k, i, j] = key.split('.').map((x, at) => (at ? Number(x) + 1 : x));
  const t = `T${sub(k)}`;
  const value = shown(valueOf(network, key));
  const words = {
    read: [`A_m of ${t}, row ${i}`, `${t} reads ${value} × stream ${i}.`],
    write: [`B of ${t}, column ${i}`, `Stream ${i} takes ${value} × the output of ${t}.`],
    mix: [
      `A_r of ${t}, row ${i}, column ${j}`,
      i === j
        ? `Stream ${i} is carried past ${t} with the factor ${value}.`
        : `Past ${t}, ${value} × stream ${i} goes over into stream ${j}.`,
    ],
  }[part];
  return [el('b', { class: part }, letters(words[0])), el('p', {}, words[1])];
}

// Mixes that a product shows one by one.
const MOST = 2;

const outputName = j => (j === 0 ? 'the embedding' : `the output of T${sub(j)}`);

// A cell of C as a sentence and as a product, in which many mixes are one matrix.
export function describeCell(network, k, j) {
  const count = network.length;
  const value = unfold(network)[k][j];
  const held = shares(network, j);
  const who =
    k < count
      ? `T${sub(k + 1)} reads ${shown(value)} × ${outputName(j)}.`
      : `The final sum holds ${shown(value)} × ${outputName(j)}.`;
  const factors = [matrixOf([held[0]], j === 0 ? 'copies of x' : `B of T${sub(j)}`, 'write')];
  const mixes = network.slice(j, k);
  if (mixes.length > MOST)
    factors.push(matrixOf(composed(mixes), `A_r of T${sub(j + 1)} to T${sub(k)}, multiplied`, 'mix'));
  else mixes.forEach(({ mix }, at) => factors.push(matrixOf(mix, `A_r of T${sub(j + at + 1)}`, 'mix')));
  const last = k < count ? network[k].read : Array(held[0].length).fill(1);
  factors.push(
    matrixOf(
      last.map(x => [x]),
      k < count ? `A_m of T${sub(k + 1)}` : 'A_m of the sum',
      'read',
    ),
  );
  const name = `c_{${k < count ? k + 1 : 'sum'},${j || 'x'}}`;
  return [
    el('b', {}, who),
    el(
      'div',
      { class: 'product', 'aria-hidden': 'true' },
      el('span', {}, letters(name), ' ='),
      factors,
      el('span', {}, `= ${shown(value)}`),
    ),
  ];
}
