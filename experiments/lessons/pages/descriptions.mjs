// Entries and unfolded weights in words.
import { shares, unfold, valueOf } from './network.mjs';
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

const outputName = j => (j === 0 ? 'the embedding' : `the output of T${sub(j)}`);

// A cell of C as a sentence and as a product.
export function describeCell(network, k, j) {
  const count = network.length;
  const value = unfold(network)[k][j];
  const held = shares(network, j);
  const who =
    k < count
      ? `T${sub(k + 1)} reads ${shown(value)} × ${outputName(j)}.`
      : `The final sum holds ${shown(value)} × ${outputName(j)}.`;
  const factors = [matrixOf([held[0]], j === 0 ? 'copies' : `B of T${sub(j)}`, 'write')];
  for (let at = j; at < k; at++) factors.push(matrixOf(network[at].mix, `A_r of T${sub(at + 1)}`, 'mix'));
  const last = k < count ? network[k].read : Array(held[0].length).fill(1);
  factors.push(
    matrixOf(
      last.map(x => [x]),
      k < count ? `A_m of T${sub(k + 1)}` : 'sum',
      'read',
    ),
  );
  const name = k < count ? `c${sub(k + 1)}${sub(j)}` : `c(sum, ${j})`;
  return [
    el('b', {}, who),
    el(
      'div',
      { class: 'product', 'aria-hidden': 'true' },
      el('span', {}, `${name} =`),
      factors,
      el('span', {}, `= ${shown(value)}`),
    ),
  ];
}
