// Puzzles of the playground: a network to start from, and conditions that it has to meet.
import { embeddingEliminated, fades, readsNothing, stays, unused, zero } from './patterns.mjs';
import { preNorm, start, sublayer } from './presets.mjs';

const range = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => from + i);
const clear = [
  [1, 0],
  [0, 0],
];

// Sublayers 1 and 2 of four side by side: stream 2 holds the output of T1 until T2 is over.
export function sideBySideNetwork() {
  return [
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
    sublayer([1, 0], clear, [1, 0]),
  ];
}

const apart = [
  { text: 'T₂ does not read T₁: c_{2,1} = 0', holds: c => zero(c[1][1]) },
  { text: 'T₁ and T₂ read the embedding', holds: c => !zero(c[0][0]) && !zero(c[1][0]) },
  { text: 'T₁ is in the final sum', holds: c => !zero(c[c.length - 1][1]) },
  { text: 'T₂ is in the final sum', holds: c => !zero(c[c.length - 1][2]) },
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
    goal: 'Let T₁ and T₂ run in parallel: T₂ must not read T₁, and the output must contain both. Stay with one stream.',
    start: () => preNorm(4),
    rate: 1,
    checks: apart,
    hint: 'How many ways lead from T₁ to T₂?',
    solution: null,
    after:
      'It cannot be done. c_{2,1}, which is B of T₁ times A_m of T₂, is zero only if B of T₁ is, and then T₁ is lost for everybody, or if A_m of T₂ is, and then T₂ reads nothing at all. With one stream all that is past is one sum: one takes all of it or nothing.',
  },
  {
    title: 'Side by side, with two',
    goal: 'The same with two streams: T₂ must not read T₁, and both reach the output.',
    start: () => start(4, 2),
    checks: apart,
    hint: 'T₁ can write where T₂ does not read.',
    solution: sideBySideNetwork,
    after:
      'One way: a stream holds what T₂ may read, another keeps the output of T₁ for later. Only numbers have changed: training can find this.',
  },
  {
    title: 'A Λ',
    goal: 'Outputs of sublayers fade, but the embedding stays within reach of all. The paper finds this shape, which it calls Λ, in its trained networks.',
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
    after:
      'The solution that the page shows lets stream 1 fade, as in post-norm, and stream 2 keep the embedding; the streams may as well change places. The small trained networks among the buttons show no Λ: no column of theirs fades from row to row.',
  },
  {
    title: 'No embedding at the end',
    goal: 'Every sublayer reads the embedding, but the output does not contain it. Useful where the head shares its weights with the embedding.',
    start: () => start(4, 2),
    checks: [
      { text: 'column x is not zero in the rows T₁ to T₄', holds: c => c.slice(0, -1).every(row => !zero(row[0])) },
      { text: 'column x is zero in the last row', holds: embeddingEliminated },
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
      'e − e = 0: one stream carries the embedding with a minus sign. The mixes of mHC have no negative entries and cannot do that.',
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
  return preNorm(4).map((one, k) => (k === 2 ? sublayer([1], [[0.5]], [1]) : one));
}
