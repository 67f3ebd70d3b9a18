"use strict";
// Who follows an AbortSignal. However many calls follow one, it has a single listener of ours: Node.js warns of a leak from
// the eleventh on.

/**
 * For each signal that is followed: what its abort calls, and the listener that calls it.
 * @type {WeakMap<AbortSignal, { callbacks: Set<() => void>, listener: () => void }>}
 */
const followed = new WeakMap();

/**
 * Has `signal` call `onAbort` once when it aborts, unless the function that this returns is called before.
 * @param {AbortSignal} signal
 * @param {() => void} onAbort
 */
function follow(signal, onAbort) {
  let entry = followed.get(signal);
  if (entry === undefined) {
    /** @type {Set<() => void>} */
    const callbacks = new Set();
    const listener = () => {
      followed.delete(signal);
      for (const callback of callbacks) callback();
    };
    entry = { callbacks, listener };
    followed.set(signal, entry);
    /** @type {import("./members").Bare<{ once: boolean }>} */
    const options = { __proto__: null, once: true };
    signal.addEventListener("abort", listener, options);
  }
  const { callbacks, listener } = entry;
  // Two calls may pass one function.
  const callback = () => onAbort();
  callbacks.add(callback);
  return () => {
    if (!callbacks.delete(callback) || callbacks.size > 0 || followed.get(signal) !== entry) return;
    followed.delete(signal);
    signal.removeEventListener("abort", listener);
  };
}

module.exports = { follow };
