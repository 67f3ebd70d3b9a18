"use strict";
// An emitter that knows when its listeners change, so that what nobody listens to costs nothing.

const { EventEmitter } = require("node:events");

/** The name of the method that is called; a symbol, so that it is none of the public ones. */
const listenersChanged = Symbol("listenersChanged");

/**
 * Its method `listenersChanged` is called after listeners were added or removed. The events `newListener` and `removeListener` would
 * not do: they come before the change, and `removeAllListeners` removes their listeners too.
 * @template {Record<keyof Events, unknown[]>} Events
 * @extends {EventEmitter<Events>}
 */
class FollowedEmitter extends EventEmitter {
  [listenersChanged]() {}
}

/** @type {readonly (keyof EventEmitter)[]} */
const CHANGES = [
  "addListener",
  "on",
  "once",
  "prependListener",
  "prependOnceListener",
  "removeListener",
  "off",
  "removeAllListeners",
];
for (const name of CHANGES) {
  /** @type {(this: EventEmitter, ...args: unknown[]) => unknown} */
  const change = /** @type {any} */ (EventEmitter.prototype)[name];
  Object.defineProperty(FollowedEmitter.prototype, name, {
    configurable: true,
    writable: true,
    /** @this {FollowedEmitter<never>} @param {unknown[]} args */
    value(...args) {
      const result = change.apply(this, args);
      this[listenersChanged]();
      return result;
    },
  });
}

module.exports = { FollowedEmitter, listenersChanged };
