"use strict";
// Who follows an AbortSignal. However many calls follow one, it has a single listener of ours: Node.js warns of a leak from
// the eleventh on.

/** For each signal that is followed: what its abort calls, and the listener that calls it. */
const followed = new WeakMap();

/** Has `signal` call `onAbort` once when it aborts, unless the function that this returns is called before. */
function follow(signal, onAbort) {
  let entry = followed.get(signal);
  if (entry === undefined) {
    const callbacks = new Set();
    const listener = () => {
      followed.delete(signal);
      for (const callback of callbacks) callback();
    };
    entry = { callbacks, listener };
    followed.set(signal, entry);
    signal.addEventListener("abort", listener, { __proto__: null, once: true });
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
