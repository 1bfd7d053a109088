// Networks to go back to.
import { copied } from './presets.mjs';

// A stack of networks: `keep(network, key)` before a change, where changes of one entry in a row are one;
// `back()` is the last one kept.
export function undoable(most = 200) {
  const past = [];
  let last = null;
  return {
    keep(network, key = null) {
      if (key === null || key !== last) past.push(copied(network));
      if (past.length > most) past.shift();
      last = key;
    },
    back() {
      last = null;
      return past.pop();
    },
    empty: () => past.length === 0,
  };
}
