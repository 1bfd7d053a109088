// Networks that one knows, as matrices. Every function returns `count` sublayers.
import { identity } from './network.mjs';
import { noise } from './numbers.mjs';
import { sinkhorn } from './sinkhorn.mjs';

export function sublayer(read, mix, write) {
  return { read: [...read], mix: mix.map(row => [...row]), write: [...write] };
}

export function copied(network) {
  return network.map(({ read, mix, write }) => sublayer(read, mix, write));
}

const repeat = (count, make) => Array.from({ length: count }, (_, k) => make(k));
const oneHot = (n, at) => Array.from({ length: n }, (_, i) => Number(i === at));

// Eq. 15.
export function preNorm(count) {
  return repeat(count, () => sublayer([1], [[1]], [1]));
}

// Eq. 16 for an output as long as the input and at right angles to it: s = sqrt(1 + 1).
export function postNorm(count) {
  return repeat(count, () => sublayer([1], [[Math.SQRT1_2]], [Math.SQRT1_2]));
}

// Eq. 18 and 19: sublayers 1 and 2 side by side, 3 and 4, ...
export function parallel(count) {
  return repeat(count, k =>
    k % 2 === 0
      ? sublayer(
          [1, 1],
          [
            [1, 1],
            [1, 1],
          ],
          [1, 0],
        )
      : sublayer(
          [0, 1],
          [
            [1, 0],
            [0, 1],
          ],
          [0, 1],
        ),
  );
}

// Attention's output is in stream 2 until the feed-forward sublayer has read it.
export function twoHop(count) {
  return repeat(count, k =>
    k % 2 === 0
      ? sublayer(
          [1, 0],
          [
            [1, 0],
            [0, 0],
          ],
          [0, 1],
        )
      : sublayer(
          [1, 1],
          [
            [1, 0],
            [0, 0],
          ],
          [1, 0],
        ),
  );
}

// Eq. 14.
export function start(count, n) {
  return repeat(count, k => sublayer(oneHot(n, k % n), identity(n), Array(n).fill(1)));
}

const sigmoid = x => 1 / (1 + Math.exp(-x));

// mHC of random logits: H_pre = sigmoid, H_post = 2 sigmoid, H_res doubly stochastic; A_r is the
// transpose of H_res.
export function mhc(count, n, seed) {
  const normal = noise(seed);
  return repeat(count, () => {
    const vector = scale => Array.from({ length: n }, () => scale * sigmoid(normal()));
    const [read, write] = [vector(1), vector(2)];
    const hRes = sinkhorn(Array.from({ length: n }, () => Array.from({ length: n }, () => 1.5 * normal())));
    return sublayer(
      read,
      hRes[0].map((_, i) => hRes.map(row => row[i])),
      write,
    );
  });
}

// Words of the paper's start.
export const START =
  'The paper’s start (Eq. 14): reads take turns, all else is 1 or the identity. It computes what pre-norm computes.';

let seed = 0;

// Networks with a name: name, words, and the network of `count` sublayers, of n streams where any
// number will do.
export const PRESETS = [
  ['pre-norm', 'Pre-norm: n = 1 and ones everywhere (Eq. 15).', preNorm],
  [
    'post-norm',
    'Post-norm (Eq. 16): stream and output are divided by s, here √2, as if they were equally long and unrelated.',
    postNorm,
  ],
  [
    'parallel',
    'Parallel blocks (Eq. 18, 19): T₁ and T₂ read the same, T₃ and T₄ the same, and so on. Both streams keep what is older and every pair reads their sum, so it doubles from pair to pair: x counts 4 where T₁ and T₂ count 1. In a parallel transformer all would count 1.',
    parallel,
  ],
  [
    'two-hop',
    'Two-hop residual (Megalodon): attention’s output waits in stream 2, the feed-forward sublayer reads both, and stream 2 is forgotten.',
    twoHop,
  ],
  ['paper’s start', START, start],
  [
    'mHC',
    'mHC (manifold-constrained hyper-connections) of random logits: A_m is a sigmoid, from 0 to 1, B is 2 sigmoids, from 0 to 2, every A_r is doubly stochastic (no entry negative, rows and columns add up to 1). Again for others.',
    (count, n) => mhc(count, Math.max(2, n), ++seed),
  ],
];
