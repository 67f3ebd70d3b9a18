"use strict";
// Reading objects without Object.prototype: what something else in the server wrote there is no option, and no member of
// what the addon answered. Objects that the package makes for itself have no prototype, for the same reason.

/**
 * An object that may be written without a prototype. TypeScript takes `__proto__: null` in a literal for a member.
 * @template T
 * @typedef {T & { readonly __proto__?: null }} Bare
 */

/**
 * Whether an object is the prototype of all plain objects, of this realm or another.
 * @param {object} object
 */
function isRoot(object) {
  return (
    object === Object.prototype || (Object.getPrototypeOf(object) === null && Object.hasOwn(object, "isPrototypeOf"))
  );
}

/**
 * The objects that `value` has its members from, nearest first: itself and its classes.
 * @param {object} value
 * @returns {Generator<object>}
 */
function* holders(value) {
  yield value;
  for (let at = Object.getPrototypeOf(value); at !== null && !isRoot(at); at = Object.getPrototypeOf(at)) yield at;
}

/**
 * A member of `value` or of its classes; undefined for anything but an object or a function.
 * @param {unknown} value
 * @param {PropertyKey} key
 * @returns {unknown}
 */
function member(value, key) {
  if ((typeof value !== "object" && typeof value !== "function") || value === null) return undefined;
  for (const holder of holders(value)) if (Object.hasOwn(holder, key)) return Reflect.get(value, key);
  return undefined;
}

/**
 * These members of `value`, each read once, in an object without a prototype.
 * @template {string} K
 * @param {unknown} value
 * @param {readonly K[]} keys
 * @returns {{ [key in K]?: unknown }}
 */
function pick(value, keys) {
  /** @type {Bare<{ [key: string]: unknown }>} */
  const picked = { __proto__: null };
  for (const key of keys) {
    const read = member(value, key);
    if (read !== undefined) picked[key] = read;
  }
  // No other keys are in it.
  return /** @type {{ [key in K]?: unknown }} */ (picked);
}

/**
 * A member that `value` has itself, as what JSON.parse returns has them.
 * @param {object} value
 * @param {string} key
 * @returns {unknown}
 */
function own(value, key) {
  return Object.hasOwn(value, key) ? Reflect.get(value, key) : undefined;
}

/**
 * An object that has these members itself, as undefined: for options of Node.js, which copies them into plain objects.
 * @param {string} names
 * @returns {{ [name: string]: undefined }}
 */
function unset(names) {
  return Object.fromEntries(names.split(" ").map((name) => [name, undefined]));
}

module.exports = { holders, member, own, pick, unset };
