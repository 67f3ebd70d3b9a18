"use strict";
// The checks of the options of `instrument`.

const { diag } = require("@opentelemetry/api");

const { invalid } = require("../error");

/** @import { InstrumentOptions } from "./index" */

const NAMES = ["tracerProvider", "meterProvider", "commandArgs", "attributesOf"];

/**
 * @param {unknown} options
 * @returns {InstrumentOptions & { commandArgs: boolean, attributesOf: NonNullable<InstrumentOptions["attributesOf"]> }}
 */
function checked(options) {
  if (options !== undefined && (typeof options !== "object" || options === null)) {
    throw invalid(`options must be an object, not ${String(options)}`);
  }
  /** @type {Record<string, any>} */
  const read = Object.assign(Object.create(null), options);
  for (const [name, value] of Object.entries(read)) {
    if (value !== undefined && !NAMES.includes(name)) {
      throw invalid(`options has no member ${JSON.stringify(name)}; there are ${NAMES.join(", ")}`);
    }
  }
  const { tracerProvider, meterProvider, commandArgs = false, attributesOf = () => ({}) } = read;
  if (tracerProvider !== undefined && typeof tracerProvider?.getTracer !== "function") {
    throw invalid("options.tracerProvider must be a TracerProvider of OpenTelemetry");
  }
  if (meterProvider !== undefined && typeof meterProvider?.getMeter !== "function") {
    throw invalid("options.meterProvider must be a MeterProvider of OpenTelemetry");
  }
  if (typeof commandArgs !== "boolean") throw invalid("options.commandArgs must be true or false");
  if (typeof attributesOf !== "function") throw invalid("options.attributesOf must be a function");
  return { tracerProvider, meterProvider, commandArgs, attributesOf: guarded(attributesOf) };
}

/**
 * A failure of the server's function must not end the process, which an exception in a channel's listener would.
 * @param {NonNullable<InstrumentOptions["attributesOf"]>} attributesOf
 * @returns {NonNullable<InstrumentOptions["attributesOf"]>}
 */
function guarded(attributesOf) {
  return (vm) => {
    try {
      return { ...attributesOf(vm) };
    } catch (error) {
      diag.error("agent-vm: attributesOf failed", error);
      return {};
    }
  };
}

exports.checked = checked;
