"use strict";
// Divides the event loop's time among the calls that wait for output, of all VMs: in one turn of the loop they search a bounded
// number of bytes together, and go on in the next.

const timers = require("node:timers");

/** How many bytes are searched in one turn of the event loop. */
const TURN_BYTES = 256 * 1024;
/** How many calls may search what is kept of an output at the same time: each has a copy of it. */
const MOST_BEGINNING = 16;

/**
 * @typedef {object} Searcher
 * @property {() => number} search Searches something. Returns how many bytes that was.
 * @property {() => void} begin Reads what is kept of its output.
 */

/** @type {Set<Searcher>} */
const ready = new Set();
/** @type {Set<Searcher>} */
const beginning = new Set();
/** @type {Set<Searcher>} */
const waiting = new Set();
/** @type {NodeJS.Immediate | undefined} */
let next;

/**
 * Gives the searcher a turn, after those that wait for theirs.
 * @param {Searcher} searcher
 */
function searchLater(searcher) {
  ready.add(searcher);
  next ??= timers.setImmediate(takeTurns);
}

function takeTurns() {
  next = undefined;
  for (const searcher of waiting) {
    if (beginning.size >= MOST_BEGINNING) break;
    waiting.delete(searcher);
    beginning.add(searcher);
    searcher.begin();
  }
  let bytes = 0;
  // A searcher that has more to search is added again, at the end.
  for (const searcher of ready) {
    if (bytes >= TURN_BYTES) break;
    ready.delete(searcher);
    bytes += searcher.search();
  }
  if (ready.size > 0) next ??= timers.setImmediate(takeTurns);
}

/**
 * Calls `begin` of the searcher: at once and true, or later and false.
 * @param {Searcher} searcher
 */
function beginSearch(searcher) {
  if (beginning.size >= MOST_BEGINNING) {
    waiting.add(searcher);
    return false;
  }
  beginning.add(searcher);
  searcher.begin();
  return true;
}

/**
 * The searcher has searched what it read at its beginning, so another one may begin.
 * @param {Searcher} searcher
 */
function begun(searcher) {
  if (beginning.delete(searcher) && waiting.size > 0) next ??= timers.setImmediate(takeTurns);
}

/**
 * The searcher has ended.
 * @param {Searcher} searcher
 */
function endSearch(searcher) {
  ready.delete(searcher);
  waiting.delete(searcher);
  begun(searcher);
}

module.exports = { beginSearch, begun, endSearch, searchLater };
