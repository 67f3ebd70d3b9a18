"use strict";
// Snapshots: what a VM has written, with which other VMs begin. The addon keeps them; here are the options of the VMs that
// they were made of, and the calls.

const check = require("./arguments");
const { requireMemory } = require("./options/disk");
const { idsOf } = require("./options/ids");
const { AgentVmError, invalid } = require("./error");
const { parse } = require("./wire");

/** @import { Calls } from "./calls" */
/** @import { CheckedOptions } from "./options/create" */
/** @import { Snapshot } from "../index" */
/** @import { BootRequest } from "../src/addon" */

/** @typedef {<T>(work: (request: import("./members").Bare<BootRequest>) => Promise<T>) => Promise<T>} WithRequest */

/** The most VMs that one call forks. */
const MOST_FORKS = 1000;

/** The most VMs of one call that boot at the same time. */
const AT_ONCE = 8;

/**
 * The options of the VM that each snapshot was made of, by the snapshot's id.
 * @type {Map<string, CheckedOptions>}
 */
const made = new Map();

/**
 * The id of a snapshot, or a snapshot.
 * @type {import("./arguments").Check<string>}
 */
function snapshotId(name, value) {
  const id = typeof value === "object" && value !== null ? Reflect.get(value, "id") : value;
  if (typeof id !== "string" || id === "") {
    throw invalid(`${name} must be a snapshot, or the id of one, not ${check.show(value)}`);
  }
  return check.text(name, id);
}

/**
 * A name for people: anything but control characters.
 * @type {import("./arguments").Check<string>}
 */
function snapshotName(name, value) {
  const text = check.text(name, value);
  if (text === "" || text.length > 255 || /\p{Cc}/u.test(text)) {
    throw invalid(`${name} must have 1 to 255 characters and no control characters, not ${check.show(value)}`);
  }
  return text;
}

/**
 * The options of the VM that the snapshot was made of.
 * @param {string} id
 */
function optionsOf(id) {
  const options = made.get(id);
  if (options === undefined) throw new AgentVmError("SNAPSHOT_NOT_FOUND", `Snapshot not found: ${id}`);
  return options;
}

/**
 * Refuses a snapshot of a VM whose root or ids differ from those of the VM that is to begin with it.
 * @param {CheckedOptions} vm
 * @param {CheckedOptions} ofSnapshot
 */
function requireFitting(vm, ofSnapshot) {
  if (vm.rootfs !== ofSnapshot.rootfs) {
    throw invalid(
      `a VM over this snapshot has the rootfs of the snapshot's VM, ${check.show(ofSnapshot.rootfs)}, not ${check.show(vm.rootfs)}`,
    );
  }
  const [ids, others] = [idsOf(vm), idsOf(ofSnapshot)];
  if (ids !== others) {
    throw invalid(
      `a VM over this snapshot has the ids of the snapshot's VM (option ids: ${check.show(others)}), not ${check.show(ids)}`,
    );
  }
}

/**
 * @param {Calls} calls
 * @param {CheckedOptions} vm The options of the VM.
 * @param {WithRequest} withRequest
 * @param {unknown} options
 * @returns {Promise<Snapshot>}
 */
async function takeSnapshot(calls, vm, withRequest, options) {
  const { name } = check.members("options", options, { __proto__: null, name: snapshotName });
  return take(calls, vm, withRequest, name, false);
}

/**
 * @param {Calls} calls
 * @param {CheckedOptions} vm
 * @param {WithRequest} withRequest
 * @param {string | undefined} name
 * @param {boolean} hidden
 */
async function take(calls, vm, withRequest, name, hidden) {
  requireMemory(hidden ? "fork" : "snapshot", vm);
  const answer = await calls.exclusive("snapshot", "read", (send, pending) =>
    withRequest((request) => send(request, name, hidden, pending)),
  );
  /** @type {Snapshot} */
  const snapshot = parse(answer);
  made.set(snapshot.id, vm);
  return Object.freeze(snapshot);
}

/** @param {Calls} calls */
async function list(calls) {
  return calls.askJson("listSnapshots");
}

/**
 * @param {Calls} calls
 * @param {CheckedOptions} vm
 * @param {WithRequest} withRequest
 * @param {unknown} snapshot
 * @param {unknown} options
 */
async function rollBack(calls, vm, withRequest, snapshot, options) {
  const id = snapshotId("snapshot", snapshot);
  const { kill = false } = check.members("options", options, { __proto__: null, kill: check.boolean });
  const ofSnapshot = optionsOf(id);
  requireMemory("rollback", vm);
  requireFitting(vm, ofSnapshot);
  await calls.exclusive("rollBack", kill ? "any" : "none", (send) => withRequest((request) => send(request, id, kill)));
}

/**
 * Makes VMs that begin with what this one has written. `create` makes one that begins with that snapshot.
 * @template {{ dispose(): Promise<void> }} V
 * @param {Calls} calls
 * @param {CheckedOptions} vm
 * @param {WithRequest} withRequest
 * @param {unknown} count
 * @param {(id: string) => Promise<V>} create
 */
async function fork(calls, vm, withRequest, count, create) {
  const wanted = count === undefined ? 1 : check.integer(1, MOST_FORKS)("count", count);
  const { id } = await take(calls, vm, withRequest, undefined, true);
  /** @type {V[]} */
  const forks = [];
  try {
    let begun = 0;
    const work = async () => {
      try {
        while (begun < wanted) {
          const index = begun++;
          forks[index] = await create(id);
        }
      } catch (error) {
        // No more of them.
        begun = wanted;
        throw error;
      }
    };
    const done = await Promise.allSettled(Array.from({ length: Math.min(wanted, AT_ONCE) }, work));
    const failed = done.find((one) => one.status === "rejected");
    if (failed === undefined) return forks;
    await Promise.all(forks.map((one) => one.dispose()));
    throw failed.reason;
  } finally {
    // The forks need its layers, and keep them.
    await remove(calls, id);
  }
}

/**
 * @param {Calls} calls
 * @param {unknown} snapshot
 */
async function remove(calls, snapshot) {
  const id = snapshotId("snapshot", snapshot);
  optionsOf(id);
  made.delete(id);
  await calls.ask("removeSnapshot", id);
}

module.exports = { snapshotId, optionsOf, requireFitting, takeSnapshot, rollBack, fork, list, remove };
