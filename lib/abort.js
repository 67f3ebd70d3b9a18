"use strict";
// The calls that follow an AbortSignal. A signal gets one listener however many calls follow it, because Node.js
// warns of a leak at the eleventh listener.

/**
 * For each followed signal: the callbacks to call on abort, and the listener that calls them.
 * @type {WeakMap<AbortSignal, { callbacks: Set<() => void>, listener: () => void }>}
 */
const followed = new WeakMap();

/**
 * Calls `onAbort` once when `signal` aborts. The returned function cancels that.
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
  // Two calls may pass the same function.
  const callback = () => onAbort();
  callbacks.add(callback);
  return () => {
    if (!callbacks.delete(callback) || callbacks.size > 0 || followed.get(signal) !== entry) return;
    followed.delete(signal);
    signal.removeEventListener("abort", listener);
  };
}

module.exports = { follow };
