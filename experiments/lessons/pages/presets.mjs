// Networks that one knows, as matrices. Every function returns `count` sublayers.
import { identity } from './network.mjs';
import { noise } from './numbers.mjs';
import { sinkhorn } from './sinkhorn.mjs';

export function sublayer(read, mix, write) {
  return { read: [...read], mix: mix.map(row => [...row]), write: [...write] };
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
