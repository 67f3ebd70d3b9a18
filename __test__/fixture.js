"use strict";
// VMs for one test each: booted when asked for, disposed when the test is over, however it went.

const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");

const { AgentVm } = require("..");

const booted = [];
const folders = [];

afterEach(async () => {
  await Promise.all(booted.splice(0).map((vm) => vm.dispose()));
  for (const made of folders.splice(0)) fs.rmSync(made, { recursive: true });
});

let level = {};

/** Boots the VMs of this test file at another level of isolation, where a test does not ask for one itself. */
function atLevel(isolation) {
  level = { isolation };
}

async function boot(options) {
  const vm = await AgentVm.create({ ...level, ...options });
  booted.push(vm);
  return vm;
}

/** A new folder of the host's, gone when the test is over. */
function folder() {
  const made = fs.mkdtempSync(path.join(os.tmpdir(), "agent-vm-test-"));
  folders.push(made);
  return made;
}

/** The error that a promise rejects with. */
async function rejection(promise) {
  let value;
  try {
    value = await promise;
  } catch (error) {
    return error;
  }
  throw new Error(`resolved, with ${JSON.stringify(value)}`);
}

/** Standard output of a command that must succeed. */
async function output(vm, command, options) {
  const result = await vm.exec(command, options);
  if (result.exitCode !== 0) throw new Error(`${command}: exit code ${result.exitCode}: ${result.stderr}`);
  return result.stdout;
}

/** Waits for something that happens soon; `seconds` only bounds how long a failing test takes on a busy machine. */
async function until(condition, seconds = 20) {
  const deadline = Date.now() + seconds * 1000;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`not within ${seconds} s: ${condition}`);
    await new Promise((resolve) => {
      setTimeout(resolve, 10);
    });
  }
}

module.exports = { atLevel, boot, folder, rejection, output, until };
