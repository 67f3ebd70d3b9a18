"use strict";
// A process's pipes beside its standard streams: the option that asks for them, and what writes and reads them.

const { invalid } = require("./error");
const { Output } = require("./handles/output");

/** @import { Calls } from "./calls" */
/** @import { ReadableOutput } from "./handles/output" */
/** @import { InputCalls } from "./handles/streams" */
/** @import { Bare } from "./members" */

/**
 * The numbers of the pipes that a program reads, and of those that it writes to.
 * @typedef {{ inputs: number[], outputs: number[] }} PipeNumbers
 */

/**
 * A pipe's end on this side.
 * @typedef {{ output: ReadableOutput } | { input: InputCalls }} PipeEnd
 */

/**
 * `options.descriptors`, whose entries were read once.
 * @param {string} name
 * @param {[number: string, direction: unknown][]} entries
 * @returns {Bare<PipeNumbers>}
 */
function pipeNumbers(name, entries) {
  /** @type {Bare<PipeNumbers>} */
  const pipes = { __proto__: null, inputs: [], outputs: [] };
  for (const [number, direction] of entries) {
    if (direction === undefined) continue;
    if (!/^[3-9]$/.test(number)) {
      throw invalid(`${name} must have numbers from 3 to 9, not ${JSON.stringify(number)}`);
    }
    if (direction !== "input" && direction !== "output") {
      const given = typeof direction === "string" ? JSON.stringify(direction) : typeof direction;
      throw invalid(`${name}[${number}] must be "input" or "output", as the program uses it, not ${given}`);
    }
    (direction === "input" ? pipes.inputs : pipes.outputs).push(Number(number));
  }
  return pipes;
}

/**
 * The pipes of a process, by their numbers.
 * @param {Calls} calls
 * @param {number} pid
 * @param {number} start
 * @param {PipeNumbers} numbers
 */
function pipesOf(calls, pid, start, { inputs, outputs }) {
  /** @type {Map<number, { output: Output } | { input: InputCalls }>} */
  const pipes = new Map();
  for (const number of inputs) {
    const input = {
      /** @param {Uint8Array} data */
      write: (data) => calls.ask("writeDescriptor", pid, number, data, start),
      close: () => calls.ask("closeDescriptorInput", pid, number, start),
    };
    pipes.set(number, { input });
  }
  for (const number of outputs) {
    const output = new Output({
      kept() {
        const [chunks, , truncatedBytes] = calls.now("readDescriptor", pid, number, 0, start);
        return [chunks.map(([, data, seq]) => ["stdout", data, seq]), truncatedBytes];
      },
      // Without a VM, or a record of the process, nothing is read that could be paused.
      pause: (_, paused) => calls.attempt("pauseDescriptor", pid, number, paused, start),
      // It is closed with its process.
      close: () => {},
      whenEnded: (_, onEnd) => calls.when(onEnd, "descriptorEnded", pid, number, start),
    });
    pipes.set(number, { output });
  }
  return pipes;
}

module.exports = { pipeNumbers, pipesOf };
