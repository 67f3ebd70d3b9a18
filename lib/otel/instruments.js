"use strict";
// The observable instruments. The names are those of OpenTelemetry's conventions for containers; what they lack begins with
// `agent_vm`.

/** @import { Meter } from "@opentelemetry/api" */

/** @param {Meter} meter */
function instrumentsOf(meter) {
  /** @param {string} name @param {string} unit @param {string} description */
  const level = (name, unit, description) => meter.createObservableUpDownCounter(name, { unit, description });
  /** @param {string} name @param {string} unit @param {string} description */
  const total = (name, unit, description) => meter.createObservableCounter(name, { unit, description });
  return {
    cpuTime: total("container.cpu.time", "s", "Processor time that programs in VMs have used."),
    network: total("container.network.io", "By", "Bytes to and from destinations outside, through the VMs' proxies."),
    throttled: total("agent_vm.cpu.throttled", "s", "How long programs have waited because limits.cpus was used up."),
    memoryUsage: level(
      "container.memory.usage",
      "By",
      "Memory: what counts against the limit, or else the resident one.",
    ),
    memoryAvailable: level("container.memory.available", "By", "What is left of limits.memoryBytes."),
    memoryRss: level("container.memory.rss", "By", "Resident memory of the processes."),
    diskUsage: level("container.filesystem.usage", "By", "Bytes of private files."),
    diskAvailable: level("container.filesystem.available", "By", "What is left of limits.diskBytes."),
    diskCapacity: level("container.filesystem.capacity", "By", "The room for private files."),
    vms: level("agent_vm.vms", "{vm}", "VMs that run."),
    processes: level("agent_vm.processes", "{process}", "Processes in VMs."),
  };
}

exports.instrumentsOf = instrumentsOf;
