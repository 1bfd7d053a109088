// Puzzles of the playground: a network to start from, and conditions that it has to meet.
import { embeddingEliminated, fades, readsNothing, stays, unused, zero } from './patterns.mjs';
import { preNorm, start, sublayer } from './presets.mjs';

const range = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => from + i);
const clear = [
  [1, 0],
  [0, 0],
];

// Sublayers 2 and 3 of four side by side: stream 2 holds the output of T2 until T3 is over.
export function sideBySideNetwork() {
  return [
    sublayer([1, 0], clear, [1, 0]),
    sublayer([1, 0], clear, [0, 1]),
    sublayer(
      [1, 0],
      [
        [1, 0],
        [1, 0],
      ],
      [1, 0],
    ),
    sublayer([1, 0], clear, [1, 0]),
  ];
}

const apart = [
  { text: 'T₃ does not read T₂: c₃₂ = 0', holds: c => zero(c[2][2]) },
  { text: 'T₂ is in the final sum', holds: c => !zero(c[c.length - 1][2]) },
  { text: 'T₃ reads the embedding and T₁', holds: c => !zero(c[2][0]) && !zero(c[2][1]) },
];

export const PUZZLES = [
  {
    title: 'Fade',
    goal: 'One stream. Make what is older count for less, everywhere: that is what post-norm does.',
    start: () => preNorm(4),
    checks: [
      { text: 'every column of C falls from row to row', holds: c => range(0, c.length - 2).every(j => fades(c, j)) },
    ],
    hint: 'Which of the three weights does an old output pass at every later sublayer?',
    solution: () => preNorm(4).map(({ read, write }) => sublayer(read, [[0.5]], write)),
    after: 'A_r scales all that the stream holds. It cannot fade T₁ and spare the embedding.',
  },
  {
    title: 'Side by side, with one stream',
    goal: 'Let T₂ and T₃ run in parallel: T₃ must not read T₂, and the output must contain both. Stay with one stream.',
    start: () => preNorm(4),
    rate: 1,
    checks: [...apart, { text: 'T₃ is in the final sum', holds: c => !zero(c[c.length - 1][3]) }],
    hint: 'How many ways lead from T₂ to T₃?',
    solution: null,
    after:
      'It cannot be done. c₃₂ = B² A_m³ is zero only if B² = 0, and then T₂ is lost for everybody, or A_m³ = 0, and then T₃ reads nothing at all. With one stream all that is past is one sum: one takes all of it or nothing.',
  },
  {
    title: 'Side by side, with two',
    goal: 'The same with two streams: T₃ must not read T₂, and both reach the output.',
    start: () => start(4, 2),
    checks: [...apart, { text: 'T₃ is in the final sum', holds: c => !zero(c[c.length - 1][3]) }],
    hint: 'T₂ can write where T₃ does not read.',
    solution: sideBySideNetwork,
    after:
      'One stream holds what T₃ may read, the other keeps the output of T₂ for later. Only numbers have changed: training can find this.',
  },
  {
    title: 'A Λ',
    goal: 'Outputs of sublayers fade, but the embedding stays within reach of all: the shape that the paper finds in trained networks.',
    start: () => start(5, 2),
    checks: [
      { text: 'columns T₂ to T₄ fall from row to row', holds: c => range(2, c.length - 2).every(j => fades(c, j)) },
      { text: 'the embedding never falls below half of its largest weight', holds: c => stays(c, 0) },
      { text: 'every sublayer is read', holds: c => range(1, c.length - 1).every(j => !unused(c, j)) },
    ],
    hint: 'Let one stream fade and the other keep.',
    solution: () =>
      start(5, 2).map(() =>
        sublayer(
          [1, 1],
          [
            [0.5, 0],
            [0, 1],
          ],
          [1, 0],
        ),
      ),
    after: 'Stream 1 is post-norm, stream 2 is a memory. What each holds is decided by B.',
  },
  {
    title: 'No embedding at the end',
    goal: 'Every sublayer reads the embedding, but the output does not contain it. Useful where the head shares its weights with the embedding.',
    start: () => start(4, 2),
    checks: [
      { text: 'column 0 is not zero in the rows T₁ to T₄', holds: c => c.slice(0, -1).every(row => !zero(row[0])) },
      { text: 'column 0 is zero in the last row', holds: embeddingEliminated },
      {
        text: 'every output is in the final sum',
        holds: c => range(1, c.length - 1).every(j => !zero(c[c.length - 1][j])),
      },
      { text: 'every sublayer reads something', holds: c => range(1, c.length - 1).every(k => !readsNothing(c, k)) },
    ],
    hint: 'Both streams hold the embedding at the end. Coefficients may be negative.',
    solution: () =>
      start(4, 2).map((_, k) =>
        sublayer(
          [1, 0],
          [
            [1, 0],
            [0, k === 3 ? -1 : 1],
          ],
          [1, 0],
        ),
      ),
    after:
      'e − e = 0: one stream carries the embedding with a minus sign. A doubly stochastic mix (mHC) cannot do that.',
  },
];

// The network of the tour in which an output changes streams on its way.
export function crossing() {
  const keep = [
    [1, 0],
    [0, 1],
  ];
  return [
    sublayer([1, 0], keep, [1, 0]),
    sublayer(
      [0, 1],
      [
        [1, 1],
        [0, 1],
      ],
      [1, 1],
    ),
    sublayer([0, 1], keep, [1, 1]),
    sublayer([1, 0], keep, [1, 1]),
  ];
}

// Pre-norm with the mix of T3 at a half.
export function faded() {
  return preNorm(4).map((layer, k) => (k === 2 ? sublayer([1], [[0.5]], [1]) : layer));
}
