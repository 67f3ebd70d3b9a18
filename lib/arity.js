"use strict";
// Refuses arguments that a call does not have. Otherwise `readdir(path, { withFileTypes: true })` would ignore its options
// without a word. It runs in browsers too.

const { invalid } = require("./error");
const { own } = require("./members");

/** Their only argument may be what an event brings, and a VM must end nevertheless. */
const UNCHECKED = new Set(["constructor", "dispose"]);

/**
 * Throws INVALID_ARGUMENT for more than `most` arguments. Further ones that are undefined count as absent.
 * @param {string} name
 * @param {number} most
 * @param {readonly unknown[]} args
 */
function refuseExtra(name, most, args) {
  for (let index = most; index < args.length; index++) {
    if (args[index] === undefined) continue;
    const takes = most === 0 ? "no arguments" : most === 1 ? "1 argument" : `${most} arguments`;
    throw invalid(`${name} takes ${takes}; argument ${index + 1} must be absent`);
  }
}

/**
 * Makes the listed methods of `holder` refuse arguments that they do not declare.
 * @param {object} holder
 * @param {readonly string[]} names
 */
function checkArity(holder, names) {
  for (const name of names) {
    const method = Reflect.get(holder, name);
    const most = method.length;
    const isAsync = Object.prototype.toString.call(method) === "[object AsyncFunction]";
    /** @this {unknown} @param {unknown[]} args */
    const checked = function (...args) {
      if (args.length > most) {
        try {
          refuseExtra(name, most, args);
        } catch (error) {
          if (isAsync) return Promise.reject(error);
          throw error;
        }
      }
      return Reflect.apply(method, this, args);
    };
    Object.defineProperty(checked, "name", { value: name });
    Object.defineProperty(checked, "length", { value: most });
    Object.defineProperty(holder, name, { value: checked, writable: true, configurable: true, enumerable: false });
  }
}

/**
 * Does so for all methods of a class and for the static methods that it has itself.
 * @param {Function} Class
 */
function withArity(Class) {
  for (const holder of [Class.prototype, Class]) {
    const methods = Object.entries(Object.getOwnPropertyDescriptors(holder)).filter(
      ([name, descriptor]) => typeof own(descriptor, "value") === "function" && !UNCHECKED.has(name),
    );
    checkArity(
      holder,
      methods.map(([name]) => name),
    );
  }
}

module.exports = { refuseExtra, withArity };
