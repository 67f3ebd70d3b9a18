"use strict";
// What a VM uses: one reading, and readings at an interval.

const timers = require("node:timers");

const check = require("./arguments");
const defaults = require("./defaults");
const { AgentVmError } = require("./error");
const { statsWatchOf } = require("./stats-watch");

/** The shortest interval of `watchStats`, in milliseconds: a reading takes up to some milliseconds of a processor. */
const SHORTEST = 100;
/** How long `dispose` waits for the last reading, in milliseconds. */
const PATIENCE = 100;
/** The longest time that a timer of Node.js can have. */
const LONGEST = 0x7fffffff;

const watching = {
  __proto__: /** @type {null} */ (null),
  interval: check.integer(SHORTEST, LONGEST),
  signal: check.abortSignal,
};

class Stats {
  #calls;
  #ports;
  /** End the readings that are waited for. @type {Set<() => void>} */
  #ends = new Set();

  /**
   * @param {import("./calls").Calls} calls
   * @param {import("./ports").Ports} ports
   */
  constructor(calls, ports) {
    this.#calls = calls;
    this.#ports = ports;
  }

  /** @returns {Promise<import("../index").VmStats>} */
  async read() {
    this.#calls.requireVm();
    return { ...(await this.#calls.askJson("usage")), ports: this.#ports.traffic() };
  }

  /** @param {unknown} options */
  watch(options) {
    const { interval = defaults.statsInterval, signal } = check.members("options", options, watching);
    this.#calls.requireVm();
    const read = async () => {
      try {
        return await this.read();
      } catch (error) {
        if (error instanceof AgentVmError && error.code === "VM_DISPOSED") return undefined;
        throw error;
      }
    };
    /** @param {() => void} end */
    const onEnd = (end) => {
      const each = () => end();
      this.#ends.add(each);
      return () => void this.#ends.delete(each);
    };
    return statsWatchOf({ read, onEnd }, interval, signal);
  }

  /**
   * The last reading of a VM that is about to be disposed. Undefined if it does not come in time.
   * @returns {Promise<import("../index").VmStats | undefined>}
   */
  last() {
    return new Promise((resolve) => {
      const timer = timers.setTimeout(() => resolve(undefined), PATIENCE);
      const end = (/** @type {import("../index").VmStats | undefined} */ stats) => {
        timers.clearTimeout(timer);
        resolve(stats);
      };
      this.read().then(end, () => end(undefined));
    });
  }

  /** The VM ends. */
  close() {
    for (const end of [...this.#ends]) end();
  }
}

exports.Stats = Stats;
