"use strict";
// What VMs use, as observable instruments. VMs with the same attributes are one time series, so that what has ended stays in its
// counters and there are as many series as the server's attributes make.

const { instrumentsOf } = require("./instruments");

/** @import { Attributes, BatchObservableResult, Meter } from "@opentelemetry/api" */
/** @import { AgentVm, VmStats } from "../../index" */

/** How many series there are at most; more VMs are in one with the attribute that OpenTelemetry has for that. */
const MOST_SERIES = 1000;
/** No key of attributes has a NUL at its beginning. */
const REST = "\0";
const OVERFLOW = { "otel.metric.overflow": true };

/** How many VMs are read at the same time, and how long one may take, in milliseconds. */
const AT_A_TIME = 16;
const PATIENCE = 1000;
const LATE = Symbol("late");

/** @typedef {Exclude<keyof ReturnType<typeof instrumentsOf>, "cpuTime" | "throttled" | "network">} LevelName */

/**
 * What VMs with the same attributes have used, and which levels of them were observed.
 * @typedef {{
 *   attributes: Attributes, cpuMs: number, throttledMs: number, sent: number, received: number, observed: Set<LevelName>,
 * }} Series
 */

/**
 * A VM. Only the server keeps it, because a VM ends when the server has dropped it.
 * @typedef {{ vm: WeakRef<AgentVm>, series: Series | undefined, last: VmStats | undefined }} Entry
 */

class Gauges {
  #meter;
  #attributesOf;
  #instruments;
  /** @type {Map<string, Series>} */
  #series = new Map();
  /** The VMs that have not ended. @type {Set<Entry>} */
  #living = new Set();
  /** @type {WeakMap<AgentVm, Entry>} */
  #known = new WeakMap();
  /** @type {Promise<void> | undefined} */
  #reading;

  /**
   * @param {Meter} meter
   * @param {(vm: AgentVm) => Attributes} attributesOf
   */
  constructor(meter, attributesOf) {
    this.#meter = meter;
    this.#attributesOf = attributesOf;
    this.#instruments = instrumentsOf(meter);
    meter.addBatchObservableCallback(this.#observe, this.#all());
  }

  disable() {
    this.#meter.removeBatchObservableCallback(this.#observe, this.#all());
    this.#living.clear();
  }

  #all() {
    return Object.values(this.#instruments);
  }

  /**
   * A VM that runs, or did a moment ago.
   * @param {AgentVm} vm
   * @returns {Entry}
   */
  see(vm) {
    const known = this.#known.get(vm);
    if (known) return known;
    /** @type {Entry} */
    const entry = { vm: new WeakRef(vm), series: undefined, last: undefined };
    this.#known.set(vm, entry);
    this.#living.add(entry);
    vm.once("exit", () => this.#living.delete(entry));
    return entry;
  }

  /**
   * A VM was disposed; `stats` is its last reading, if there was one.
   * @param {AgentVm} vm
   * @param {VmStats | undefined} stats
   */
  end(vm, stats) {
    const entry = this.see(vm);
    this.#living.delete(entry);
    if (stats) this.#advance(entry, vm, stats);
  }

  /**
   * Adds what a VM has used since its last reading to its series. The server has had the time to name the VM by now.
   * @param {Entry} entry
   * @param {AgentVm} vm
   * @param {VmStats} stats
   */
  #advance(entry, vm, stats) {
    entry.series ??= this.#seriesOf(this.#attributesOf(vm));
    const { series, last } = entry;
    /** @param {(stats: VmStats) => number | undefined} member */
    const more = (member) => Math.max((member(stats) ?? 0) - ((last && member(last)) ?? 0), 0);
    series.cpuMs += more(({ cpuMs }) => cpuMs);
    series.throttledMs += more(({ cpu }) => cpu?.throttledMs);
    series.sent += more(({ network }) => network?.sentBytes);
    series.received += more(({ network }) => network?.receivedBytes);
    entry.last = stats;
  }

  /** @param {Attributes} attributes */
  #seriesOf(attributes) {
    const named = Object.entries(attributes).sort(([one], [other]) => (one < other ? -1 : 1));
    const key = named.map(([name, value]) => `${name}=${typeof value} ${String(value)}`).join("\n");
    const known = this.#series.get(key);
    if (known) return known;
    if (this.#series.size >= MOST_SERIES) {
      return this.#series.get(REST) ?? this.#newSeries(REST, OVERFLOW);
    }
    return this.#newSeries(key, attributes);
  }

  /**
   * @param {string} key
   * @param {Attributes} attributes
   */
  #newSeries(key, attributes) {
    const series = { attributes, cpuMs: 0, throttledMs: 0, sent: 0, received: 0, observed: new Set() };
    this.#series.set(key, series);
    return series;
  }

  /** Reads all VMs that run; collections at the same time share one reading. */
  #read() {
    this.#reading ??= this.#readAll().finally(() => (this.#reading = undefined));
    return this.#reading;
  }

  async #readAll() {
    const entries = [...this.#living];
    const next = async () => {
      for (let entry = entries.pop(); entry; entry = entries.pop()) {
        const vm = entry.vm.deref();
        const stats = vm && (await readingOf(vm));
        if (stats === undefined) this.#living.delete(entry);
        else if (vm && stats !== LATE) this.#advance(entry, vm, stats);
      }
    };
    await Promise.all(Array.from({ length: AT_A_TIME }, next));
  }

  #observe = async (/** @type {BatchObservableResult} */ result) => {
    await this.#read();
    const instruments = this.#instruments;
    for (const { attributes, cpuMs, throttledMs, sent, received } of this.#series.values()) {
      result.observe(instruments.cpuTime, cpuMs / 1000, attributes);
      if (throttledMs > 0) result.observe(instruments.throttled, throttledMs / 1000, attributes);
      result.observe(instruments.network, sent, { ...attributes, "network.io.direction": "transmit" });
      result.observe(instruments.network, received, { ...attributes, "network.io.direction": "receive" });
    }
    const living = grouped(this.#living);
    for (const series of this.#series.values()) {
      const values = levelsOf(living.get(series) ?? []);
      for (const name of values.keys()) series.observed.add(name);
      // A level that is not observed any more would keep its last value.
      for (const name of series.observed) result.observe(instruments[name], values.get(name) ?? 0, series.attributes);
    }
  };
}

/**
 * One reading; undefined if the VM is gone, LATE if there is none now.
 * @param {AgentVm} vm
 * @returns {Promise<VmStats | typeof LATE | undefined>}
 */
function readingOf(vm) {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(LATE), PATIENCE);
    vm.stats().then(
      (stats) => {
        clearTimeout(timer);
        resolve(stats);
      },
      (error) => {
        clearTimeout(timer);
        resolve(error.code === "VM_DISPOSED" ? undefined : LATE);
      },
    );
  });
}

/**
 * What these VMs use together, without what none of them has.
 * @param {readonly Entry[]} entries
 */
function levelsOf(entries) {
  const all = entries.map(({ last }) => last).filter((last) => last !== undefined);
  /** @type {Map<LevelName, number>} */
  const levels = new Map();
  if (entries.length > 0) levels.set("vms", entries.length);
  /** @param {LevelName} name @param {(stats: VmStats) => number | undefined} member */
  const add = (name, member) => {
    const found = all.map(member).filter((value) => value !== undefined);
    if (found.length > 0)
      levels.set(
        name,
        found.reduce((total, value) => total + value, 0),
      );
  };
  add("processes", ({ processes }) => processes);
  add("memoryUsage", ({ memory, memoryBytes }) => memory?.usedBytes ?? memoryBytes);
  add("memoryRss", ({ memoryBytes }) => memoryBytes);
  add("memoryAvailable", ({ memory }) => memory && Math.max(memory.limitBytes - memory.usedBytes, 0));
  add("diskUsage", ({ disk }) => disk?.usedBytes);
  add("diskAvailable", ({ disk }) => disk?.freeBytes);
  add("diskCapacity", ({ disk }) => disk && disk.usedBytes + disk.freeBytes);
  return levels;
}

/** @param {Iterable<Entry>} entries */
function grouped(entries) {
  /** @type {Map<Series, Entry[]>} */
  const groups = new Map();
  for (const entry of entries) {
    // It was not read in time yet.
    if (entry.series === undefined) continue;
    const group = groups.get(entry.series);
    if (group) group.push(entry);
    else groups.set(entry.series, [entry]);
  }
  return groups;
}

exports.Gauges = Gauges;
