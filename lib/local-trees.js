"use strict";
// Copies of trees between a directory of this machine and one of an actor's VM. The tree passes as a tar archive: the addon
// makes or writes it here, the actor's VM at the other end. What comes from the actor is as hostile as what a VM has.

const { types } = require("node:util");

const { OpenArchive } = require("./archives");
const check = require("./arguments");
const { follow } = require("./abort");
const { AgentVmError, aborted, invalid, systemError } = require("./error");
const { transferOptions } = require("./transfer-options");
const { hostPath } = require("./trees");

/** @import { TransferTotals } from "../index" */
/** @typedef {import("./archives").ArchiveBackend} ArchiveBackend */
/** @typedef {ReturnType<typeof transferOptions>} Checked */
/** @typedef {(work: () => Promise<TransferTotals>) => Promise<TransferTotals>} InTurn */

/** The shortest time between two reports of progress, in milliseconds. */
const INTERVAL = 100;

const count = check.integer(0, Number.MAX_SAFE_INTEGER);

/**
 * The archives of this machine's directories.
 * @param {string} name
 * @returns {ArchiveBackend}
 */
function thisMachine(name) {
  const calls = callsFor(name);
  return {
    open: async (path, write, how) => {
      /** @type {import("./members").Bare<import("../src/addon").TransferOptions>} */
      const options = { __proto__: null, ...how, progress: false };
      return calls.ask("openLocalArchive", path, write, options);
    },
    read: (opened) => calls.ask("readLocalArchive", Number(opened)),
    write: (opened, piece) => calls.ask("writeLocalArchive", Number(opened), piece),
    end: (opened) => calls.ask("endLocalArchive", Number(opened)),
    totals: (opened) => calls.askJson("localArchiveTotals", Number(opened)),
    close: (opened) => calls.ask("stopLocalArchive", Number(opened)),
  };
}

/** @param {string} name */
function callsFor(name) {
  try {
    // Loaded by the first call: a client needs the addon for nothing else, and may run where there is none.
    const { Calls } = require("./calls");
    return new Calls(() => {});
  } catch (thrown) {
    const cause = systemError(thrown);
    throw new AgentVmError(
      "ISOLATION_UNAVAILABLE",
      `${name} needs agent-vm's binary on the client's machine too; without it, pass a tar archive through readArchive or ` +
        `writeArchive: ${cause.message}`,
      { cause },
    );
  }
}

/**
 * The copies between this machine and one actor: one at a time, because a client has at most two archives of an actor open, and
 * one of them is left for `readArchive` and `writeArchive`.
 * @param {ArchiveBackend} actor
 */
function treesOf(actor) {
  /** @type {Promise<unknown>} */
  let last = Promise.resolve();
  /** @type {InTurn} */
  const inTurn = (work) => {
    const turn = last.then(work);
    last = turn.catch(() => {});
    return turn;
  };
  return {
    /** @param {readonly unknown[]} args */
    uploadDirectory: async (...args) => uploadDirectory(actor, inTurn, ...args),
    /** @param {readonly unknown[]} args */
    downloadDirectory: async (...args) => downloadDirectory(actor, inTurn, ...args),
  };
}

/**
 * @param {ArchiveBackend} actor
 * @param {InTurn} inTurn
 * @param {readonly unknown[]} args
 */
async function uploadDirectory(actor, inTurn, ...args) {
  const [from, to, options] = three("uploadDirectory", args);
  const [source, target] = [hostPath(from), check.path("path", to)];
  const { how, ...rest } = transferOptions(options);
  const here = new OpenArchive(thisMachine("uploadDirectory"), undefined);
  const there = new OpenArchive(actor, undefined);
  const open = [() => here.open(source, false, how), () => there.open(target, true, { ...how, exclude: [] })];
  return copy(inTurn, { source: here, target: there, here, open, totals: () => here.totals() }, rest);
}

/**
 * @param {ArchiveBackend} actor
 * @param {InTurn} inTurn
 * @param {readonly unknown[]} args
 */
async function downloadDirectory(actor, inTurn, ...args) {
  const [from, to, options] = three("downloadDirectory", args);
  const [source, target] = [check.path("path", from), hostPath(to)];
  const { how, ...rest } = transferOptions(options);
  const there = new OpenArchive(actor, undefined);
  const here = new OpenArchive(thisMachine("downloadDirectory"), undefined);
  const open = [() => there.open(source, false, how), () => here.open(target, true, how)];
  const totals = async () => {
    const [written, { skipped }] = await Promise.all([here.totals(), there.totals()]);
    return { ...written, skipped: written.skipped + count("the actor's skipped", skipped) };
  };
  return copy(inTurn, { source: there, target: here, here, open, totals }, rest);
}

/**
 * @param {string} name
 * @param {readonly unknown[]} args
 */
function three(name, args) {
  if (args.slice(3).some((extra) => extra !== undefined)) {
    throw invalid(`${name} takes at most 3 arguments, not ${args.length}`);
  }
  return args;
}

/**
 * Passes an archive on. `here` is the end on this machine.
 * @param {InTurn} inTurn
 * @param {{ source: OpenArchive, target: OpenArchive, here: OpenArchive, open: (() => Promise<void>)[], totals: () => Promise<TransferTotals> }} between
 * @param {Omit<Checked, "how">} options
 */
async function copy(inTurn, { source, target, here, open: [openSource, openTarget], totals }, { signal, onProgress }) {
  if (signal?.aborted) throw aborted(signal);
  let last = performance.now();
  const report = async () => {
    if (!onProgress || performance.now() - last < INTERVAL) return;
    last = performance.now();
    onProgress(await totals());
  };
  const pass = async () => {
    if (signal?.aborted) throw aborted(signal);
    await openSource?.();
    // If there is no such directory, the other one is not made.
    let piece = await source.read();
    await openTarget?.();
    while (piece.byteLength > 0) {
      const next = source.read();
      // It may be lost when this piece cannot be written, which fails first.
      next.catch(() => {});
      await target.write(piece);
      await report();
      piece = await next;
      if (!types.isUint8Array(piece)) throw invalid("the actor's archive does not consist of bytes");
    }
    await target.end();
    const all = await totals();
    onProgress?.(all);
    return all;
  };
  /** @type {(() => void) | undefined} */
  let unfollow;
  const passing = inTurn(pass);
  try {
    if (!signal) return await passing;
    /** @type {Promise<never>} */
    const whenAborted = new Promise((_, reject) => {
      unfollow = follow(signal, () => reject(aborted(signal)));
    });
    // An actor that does not answer must not hold the call up.
    return await Promise.race([passing, whenAborted]);
  } catch (error) {
    throw signal?.aborted ? aborted(signal) : error;
  } finally {
    unfollow?.();
    const other = source === here ? target : source;
    other.close();
    // Nothing is read or written here when the call settles.
    await here.close();
  }
}

module.exports = { treesOf };
