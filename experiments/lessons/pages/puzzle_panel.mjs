// The panel of the puzzles.
import { byId, el, letters } from './elements.mjs';
import { PUZZLES } from './puzzles.mjs';

// The panel: `load(network)` is what its buttons call. Returns `show(at)`, where nothing is the puzzle
// of before, and `check(c, n)` of an unfolded network of n streams.
export function puzzlePanel(load) {
  let puzzle = 0;
  let said = '';

  function show(at = puzzle) {
    puzzle = at;
    said = '';
    const { title, goal, checks, hint, solution, after } = PUZZLES[at];
    const hidden = (summary, ...content) => el('details', {}, el('summary', {}, summary), ...content);
    byId('puzzle').replaceChildren(
      el('p', { class: 'faint' }, `Puzzle ${at + 1} of ${PUZZLES.length}`),
      el('h2', {}, `${at + 1}. ${title}`),
      el('p', {}, goal),
      el(
        'ul',
        { id: 'checks', 'aria-live': 'polite' },
        checks.map(check => el('li', {}, letters(check.text))),
      ),
      el('p', { id: 'solved', role: 'status' }),
      hidden('A hint', el('p', {}, hint)),
      solution
        ? hidden('A solution', el('p', {}, el('button', { onclick: () => load(solution()) }, 'show it')))
        : hidden('I give up', el('p', {}, letters(after))),
      el(
        'div',
        { class: 'steps' },
        el(
          'button',
          {
            id: 'puzzle-back',
            'aria-label': 'previous puzzle',
            onclick: () => show(at - 1),
            ...(at === 0 && { disabled: '' }),
          },
          '←',
        ),
        el('button', { onclick: () => load(PUZZLES[at].start()) }, 'start again'),
        el(
          'button',
          {
            id: 'puzzle-next',
            'aria-label': 'next puzzle',
            onclick: () => show(at + 1),
            ...(at === PUZZLES.length - 1 && { disabled: '' }),
          },
          'next →',
        ),
      ),
    );
    load(PUZZLES[at].start());
  }

  function check(c, n) {
    if (byId('puzzle').hidden) return;
    const { checks, after, rate: only } = PUZZLES[puzzle];
    const allowed = !only || n === only;
    const met = checks.map(check => allowed && c.length > 4 && check.holds(c));
    [...byId('checks').children].forEach((li, i) => li.classList.toggle('met', met[i]));
    const solved = met.every(Boolean);
    const words = solved ? `Solved. ${after}` : allowed ? '' : `This one is for ${only} stream.`;
    if (words === said) return;
    said = words;
    byId('solved').classList.toggle('refused', !solved);
    byId('solved').replaceChildren(...letters(words));
  }

  return { show, check };
}
