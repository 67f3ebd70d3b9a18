"use strict";
// Software that a guest can write to would let that guest choose what other VMs show and run. So no VM of this server
// shows software that a VM of this server can write to, whether the software is below a writable mount or home, or
// contains one.
//
// Calls that copy trees ask for the directories, too, because a guest can put links there.

const { realpath } = require("node:fs/promises");

const { invalid } = require("../error");
const { within } = require("./paths");

/** @import { CheckedOptions } from "./create" */
/** @import { MountRequest } from "../../src/addon" */

/**
 * For each VM: the directories it can write to, those of its disks, and the software it shows.
 * @type {Map<symbol, { writable: string[], disks: string[], software: string[] }>}
 */
const used = new Map();

/** Removes the entries of VMs that were garbage collected. */
const collected = new FinalizationRegistry((/** @type {symbol} */ key) => used.delete(key));

/**
 * Records what `vm` can write to and shows, or refuses it. Returns a function that removes the record.
 * @param {object} vm
 * @param {CheckedOptions} options
 * @param {readonly MountRequest[]} software
 */
async function claim(vm, { home, mounts = [], disk }, software) {
  const writable = mounts.filter((mount) => !mount.readOnly).map((mount) => mount.hostPath);
  if (home !== undefined) writable.push(home);
  const disks = disk === undefined ? [] : [disk.directory];
  if (writable.length === 0 && software.length === 0 && disks.length === 0) return () => {};
  const claimed = {
    __proto__: /** @type {null} */ (null),
    // If the path does not exist, the boot reports that with a better error.
    writable: await Promise.all(writable.map((path) => realpath(path).catch(() => path))),
    disks: await Promise.all(disks.map((path) => realpath(path).catch(() => path))),
    software: software.map((mount) => mount.hostPath),
  };
  // No await from here on, so that the checked state still holds.
  for (const other of [claimed, ...used.values()]) {
    const whose = other === claimed ? "this VM" : "another VM of this server";
    refuseOverlap(claimed.software, [...other.writable, ...other.disks], whose);
    refuseOverlap(other.software, [...claimed.writable, ...claimed.disks], "this VM");
    refuseOpenDisks(claimed.disks, other.writable, whose);
    refuseOpenDisks(other.disks, claimed.writable, "this VM");
  }
  const key = Symbol("claim");
  used.set(key, claimed);
  collected.register(vm, key, key);
  return () => {
    used.delete(key);
    collected.unregister(key);
  };
}

/**
 * @param {readonly string[]} software
 * @param {readonly string[]} writable
 * @param {string} whose
 */
function refuseOverlap(software, writable, whose) {
  for (const shown of software) {
    const open = writable.find((path) => within(shown, path) || within(path, shown));
    if (open === undefined) continue;
    throw invalid(
      `software must not be where a VM can write: ${shown} is shown as software, and ${open} is a writable mount or the home ` +
        `of ${whose}. Install the software elsewhere, or mount that one read-only`,
    );
  }
}

/**
 * A VM that could write to the directory of the disks could change those of others, and lead this server elsewhere.
 * @param {readonly string[]} disks
 * @param {readonly string[]} writable
 * @param {string} whose
 */
function refuseOpenDisks(disks, writable, whose) {
  for (const directory of disks) {
    const open = writable.find((path) => within(directory, path) || within(path, directory));
    if (open === undefined) continue;
    throw invalid(
      `disk.directory must not be where a VM can write: ${directory} has the disks, and ${open} is a writable mount or the home of ` +
        `${whose}. Keep the disks elsewhere`,
    );
  }
}

/** The directories that VMs of this server can write to. */
function writableDirectories() {
  return [...used.values()].flatMap(({ writable, disks }) => [...writable, ...disks]);
}

module.exports = { claim, writableDirectories };
