"use strict";
// How long boots, commands, processes and shells take, as histograms.

const { errorType } = require("./error-type");

/** @import { Meter } from "@opentelemetry/api" */
/** @import { AgentVmDiagnostic } from "../../index" */

/** In seconds: a boot takes about a millisecond, a command up to hours. */
const BOUNDARIES = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800];

/** @param {Meter} meter */
function durationsOf(meter) {
  /** @param {string} name @param {string} description */
  const histogram = (name, description) =>
    meter.createHistogram(name, { description, unit: "s", advice: { explicitBucketBoundaries: BOUNDARIES } });
  const histograms = {
    boot: histogram("agent_vm.boot.duration", "Duration of the boots of VMs."),
    exec: histogram("agent_vm.exec.duration", "Duration of the commands of exec and execFile."),
    spawn: histogram("agent_vm.spawn.duration", "Duration of spawned processes."),
    shell: histogram("agent_vm.shell.duration", "Duration of shells on a terminal."),
  };
  /**
   * @param {keyof typeof histograms} name
   * @param {AgentVmDiagnostic} message
   */
  return (name, message) => {
    const failed = errorType(message);
    histograms[name].record(message.durationMs / 1000, failed === undefined ? {} : { "error.type": failed });
  };
}

exports.durationsOf = durationsOf;
