"use strict";
// Publishes what happens in VMs on node:diagnostics_channel, for traces and metrics. Without a subscriber it costs
// one check.

const { channel } = require("node:diagnostics_channel");
const { contextOfCall } = require("./context-of-call");

const channels = {
  boot: channel("agent-vm:boot"),
  exec: channel("agent-vm:exec"),
  spawn: channel("agent-vm:spawn"),
  shell: channel("agent-vm:shell"),
  dispose: channel("agent-vm:dispose"),
};

/** @typedef {keyof typeof channels} Name */
/** @typedef {Partial<import("../index").AgentVmDiagnostic>} Fields */
/** @typedef {(more: Fields) => void} Publish */

/**
 * Calls `work` and publishes the end, with `members` of the result or with the `error`.
 * @template T
 * @param {Name} name
 * @param {Fields} fields
 * @param {() => Promise<T>} work
 * @param {(result: T) => Fields} members
 */
function observe(name, fields, work, members) {
  const told = begin(name, fields);
  return told === undefined ? work() : follow(told, work, members);
}

/**
 * @template T
 * @param {Publish} told
 * @param {() => Promise<T>} work
 * @param {(result: T) => Fields} members
 */
async function follow(told, work, members) {
  try {
    const result = await work();
    told(members(result));
    return result;
  } catch (error) {
    told({ error });
    throw error;
  }
}

/**
 * Starts measuring if there is a subscriber. The caller calls the returned function at the end, with further members. It
 * publishes in the asynchronous context of now, so that a tracer finds the span of the caller.
 * @param {Name} name
 * @param {Fields} fields
 * @returns {Publish | undefined}
 */
function begin(name, fields) {
  if (!channels[name].hasSubscribers) return undefined;
  const [startTime, begun] = [Date.now(), performance.now()];
  const inContext = contextOfCall();
  return (more) => {
    const message = { ...fields, startTime, durationMs: performance.now() - begun, ...more };
    inContext(() => channels[name].publish(message));
  };
}

module.exports = { begin, observe };
