"use strict";
// Reading objects without Object.prototype: what something else in the server wrote there is no option, and no member of
// what the addon answered. Objects that the package makes for itself have no prototype, for the same reason.

/** Whether an object is the prototype of all plain objects, of this realm or another. */
function isRoot(object) {
  return (
    object === Object.prototype || (Object.getPrototypeOf(object) === null && Object.hasOwn(object, "isPrototypeOf"))
  );
}

/** The objects that `value` has its members from, nearest first: itself and its classes. */
function* holders(value) {
  yield value;
  for (let at = Object.getPrototypeOf(value); at !== null && !isRoot(at); at = Object.getPrototypeOf(at)) yield at;
}

/** A member of `value` or of its classes; undefined for anything but an object or a function. */
function member(value, key) {
  if ((typeof value !== "object" && typeof value !== "function") || value === null) return undefined;
  for (const holder of holders(value)) if (Object.hasOwn(holder, key)) return value[key];
  return undefined;
}

/** These members of `value`, each read once, in an object without a prototype. */
function pick(value, keys) {
  const picked = { __proto__: null };
  for (const key of keys) {
    const read = member(value, key);
    if (read !== undefined) picked[key] = read;
  }
  return picked;
}

/** A member that `value` has itself, as what JSON.parse returns has them. */
function own(value, key) {
  return Object.hasOwn(value, key) ? value[key] : undefined;
}

/** An object that has these members itself, as undefined: for options of Node.js, which copies them into plain objects. */
function unset(names) {
  return Object.fromEntries(names.split(" ").map((name) => [name, undefined]));
}

/** JSON of plain values by their own members alone; JSON.stringify would also call an inherited `toJSON`. */
function json(value) {
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  let all = "";
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length; index++)
      all += `${index === 0 ? "" : ","}${json(value[index]) ?? "null"}`;
    return `[${all}]`;
  }
  for (const key of Object.keys(value)) {
    const text = json(value[key]);
    if (text !== undefined) all += `${all === "" ? "" : ","}${JSON.stringify(key)}:${text}`;
  }
  return `{${all}}`;
}

module.exports = { holders, json, member, own, pick, unset };
