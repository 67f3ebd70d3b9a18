"use strict";
// Reads objects without Object.prototype, so that a member which other code in the server added there is not taken
// for an option or for part of the addon's result. Objects that the package makes for itself have no prototype, for
// the same reason.

/**
 * An object that may be written without a prototype. TypeScript treats `__proto__: null` in a literal as a member.
 * @template T
 * @typedef {T & { readonly __proto__?: null }} Bare
 */

/**
 * Whether an object is the prototype of all plain objects, in this realm or another.
 * @param {object} object
 */
function isRoot(object) {
  return (
    object === Object.prototype || (Object.getPrototypeOf(object) === null && Object.hasOwn(object, "isPrototypeOf"))
  );
}

/**
 * The objects from which `value` gets its members, nearest first: itself, then its classes.
 * @param {object} value
 * @returns {Generator<object>}
 */
function* holders(value) {
  yield value;
  for (let at = Object.getPrototypeOf(value); at !== null && !isRoot(at); at = Object.getPrototypeOf(at)) yield at;
}

/**
 * A member of `value` or of its classes; undefined if `value` is neither an object nor a function.
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
 * The listed members of `value`, each read once, as an object without a prototype.
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
  // The object contains only these keys.
  return /** @type {{ [key in K]?: unknown }} */ (picked);
}

/**
 * An own member of `value`, such as an object from JSON.parse has.
 * @param {object} value
 * @param {string} key
 * @returns {unknown}
 */
function own(value, key) {
  return Object.hasOwn(value, key) ? Reflect.get(value, key) : undefined;
}

/**
 * An object whose listed members are all its own and undefined. For options of Node.js, which copies them into plain
 * objects.
 * @param {string} names
 * @returns {{ [name: string]: undefined }}
 */
function unset(names) {
  return Object.fromEntries(names.split(" ").map((name) => [name, undefined]));
}

module.exports = { holders, member, own, pick, unset };
