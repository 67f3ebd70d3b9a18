"use strict";
// `agent-vm/otel` with OpenTelemetry's own SDK, and exporters that keep what they get.

const { once } = require("node:events");

const { context, trace, SpanKind, SpanStatusCode } = require("@opentelemetry/api");
const { AsyncLocalStorageContextManager } = require("@opentelemetry/context-async-hooks");
const {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} = require("@opentelemetry/sdk-metrics");
const { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } = require("@opentelemetry/sdk-trace-base");
const { instrument } = require("agent-vm/otel");

const { AgentVm } = require("..");
const { afterTest } = require("./fixture/cleanup");
const { httpServer } = require("./fixture/host-servers");
const { withLimit } = require("./fixture/limits");
const { withInit } = require("./fixture/processes");
const { rejection, until } = require("./fixture/promises");
const { boot } = require("./fixture/vm");
const manifest = require("../package.json");

const BUSY = "i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); done";

const manager = new AsyncLocalStorageContextManager().enable();
beforeAll(() => context.setGlobalContextManager(manager));
afterAll(() => {
  context.disable();
  manager.disable();
});

/** Instruments with providers of its own, until the end of the test. */
function instrumented(options) {
  const spans = new InMemorySpanExporter();
  const tracerProvider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spans)] });
  const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 });
  const meterProvider = new MeterProvider({ readers: [reader] });
  const instrumentation = instrument({ tracerProvider, meterProvider, ...options });
  afterTest(async () => {
    instrumentation.disable();
    await meterProvider.shutdown();
    await tracerProvider.shutdown();
  });
  /** Collects; resolves to the points of each metric by its name, with the unit and the scope. */
  const collect = async () => {
    exporter.reset();
    await reader.forceFlush();
    const [resource] = exporter.getMetrics();
    const found = {};
    for (const { metrics, scope } of resource?.scopeMetrics ?? []) {
      for (const { descriptor, dataPoints } of metrics) {
        found[descriptor.name] = { unit: descriptor.unit, points: dataPoints, scope };
      }
    }
    return found;
  };
  return { spans, tracer: tracerProvider.getTracer("test"), collect, instrumentation };
}

/** The value of the only point with these attributes. */
function valueOf(metric, attributes = {}) {
  const matching = (metric?.points ?? []).filter((point) =>
    Object.entries(attributes).every(([name, value]) => point.attributes[name] === value),
  );
  expect(matching).toHaveLength(1);
  return matching[0].value;
}

const seconds = ([whole, nanoseconds]) => whole + nanoseconds / 1e9;

test("a boot, a command and a process are spans with OpenTelemetry's names, below the caller's span", async () => {
  const { spans, tracer } = instrumented({ attributesOf: () => ({ "container.name": "agent-7" }) });
  const before = Date.now() / 1000;
  const caller = await tracer.startActiveSpan("request", async (span) => {
    const vm = await boot();
    await vm.exec("sleep 0.2");
    const failed = await vm.exec("exit 3");
    expect(failed.exitCode).toBe(3);
    const { pid } = await vm.spawn("/bin/sh", ["-c", "kill -9 $$"]);
    await vm.waitProcess(pid);
    await rejection(vm.execFile("no-such-program", ["--token", "secret"]));
    span.end();
    return { ...span.spanContext(), pid };
  });
  const found = spans.getFinishedSpans().filter(({ name }) => name !== "request");
  expect(found.map(({ name, kind, status }) => [name, kind, status.code])).toEqual([
    ["agent_vm.boot", SpanKind.INTERNAL, SpanStatusCode.UNSET],
    ["sh", SpanKind.CLIENT, SpanStatusCode.UNSET],
    ["sh", SpanKind.CLIENT, SpanStatusCode.ERROR],
    ["sh", SpanKind.CLIENT, SpanStatusCode.ERROR],
    ["no-such-program", SpanKind.CLIENT, SpanStatusCode.ERROR],
  ]);
  const named = { "container.name": "agent-7" };
  const shell = { ...named, "process.executable.name": "sh", "process.executable.path": "/bin/sh" };
  const ended = { ...shell, "agent_vm.exit.reason": "exited" };
  expect(found.map(({ attributes }) => attributes)).toEqual([
    named,
    { ...ended, "process.exit.code": 0 },
    { ...ended, "process.exit.code": 3, "error.type": "3" },
    {
      ...shell,
      "process.pid": caller.pid,
      "process.exit.code": 137,
      "agent_vm.exit.reason": "signal",
      "error.type": "signal",
    },
    { ...named, "process.executable.name": "no-such-program", "error.type": "ENOENT" },
  ]);
  for (const span of found) {
    const { parentSpanContext, startTime, duration, instrumentationScope } = span;
    expect(parentSpanContext.spanId).toBe(caller.spanId);
    expect(span.spanContext().traceId).toBe(caller.traceId);
    expect(seconds(startTime)).toBeGreaterThanOrEqual(before);
    expect(seconds(duration)).toBeGreaterThan(0);
    expect(instrumentationScope).toMatchObject({ name: manifest.name, version: manifest.version });
  }
  expect(seconds(found[1].duration)).toBeGreaterThan(0.19);
  // No command line is exported unless the server asks for it.
  expect(JSON.stringify(found.map(({ attributes, status, events }) => [attributes, status, events]))).not.toContain(
    "secret",
  );
});

test("a shell is a span from openShell to its exit, below the span in which it was opened", async () => {
  const { spans, tracer, collect } = instrumented();
  const vm = await boot();
  const { shell, spanId } = await tracer.startActiveSpan("opens", async (span) => {
    const opened = await vm.openShell({ command: "/bin/sh" });
    span.end();
    return { shell: opened, spanId: span.spanContext().spanId };
  });
  await tracer.startActiveSpan("ends", async (span) => {
    await vm.exec("sleep 0.2");
    await vm.writeShell(shell.shellId, "exit 3\n");
    await shell.exited;
    span.end();
  });
  await rejection(vm.openShell({ command: "no-such-program" }));
  const found = spans.getFinishedSpans().filter(({ attributes }) => attributes["agent_vm.shell.id"] !== undefined);
  expect(found).toHaveLength(1);
  expect(found[0]).toMatchObject({ name: "sh", kind: SpanKind.CLIENT, status: { code: SpanStatusCode.ERROR } });
  expect(found[0].attributes).toEqual({
    "process.executable.name": "sh",
    "process.executable.path": "/bin/sh",
    "agent_vm.shell.id": shell.shellId,
    "process.exit.code": 3,
    "agent_vm.exit.reason": "exited",
    "error.type": "3",
  });
  expect(found[0].parentSpanContext.spanId).toBe(spanId);
  expect(seconds(found[0].duration)).toBeGreaterThan(0.19);
  const failed = spans.getFinishedSpans().at(-1);
  expect(failed).toMatchObject({ name: "no-such-program", attributes: { "error.type": "ENOENT" } });
  const { "agent_vm.shell.duration": durations } = await collect();
  expect(valueOf(durations, { "error.type": "3" }).count).toBe(1);
  expect(valueOf(durations, { "error.type": "ENOENT" }).count).toBe(1);
});

test("a process's span is below the span in which it was started, not the one in which it ended", async () => {
  const { spans, tracer } = instrumented();
  const vm = await boot();
  const { process, spanId } = await tracer.startActiveSpan("starts", async (span) => {
    const started = await vm.spawn("cat");
    span.end();
    return { process: started, spanId: span.spanContext().spanId };
  });
  await tracer.startActiveSpan("ends", async (span) => {
    await vm.closeProcessStdin(process.pid);
    await vm.waitProcess(process.pid);
    span.end();
  });
  const span = spans.getFinishedSpans().find(({ name }) => name === "cat");
  expect(span.parentSpanContext.spanId).toBe(spanId);
});

test("commandArgs adds the command lines to spans", async () => {
  const { spans } = instrumented({ commandArgs: true });
  const vm = await boot();
  await vm.execFile("echo", ["a", "b"]);
  const span = spans.getFinishedSpans().find(({ name }) => name === "echo");
  expect(span.attributes["process.command_args"]).toEqual(["echo", "a", "b"]);
});

test("what VMs use are metrics with OpenTelemetry's names and units", async () => {
  const port = await httpServer((request, response) => response.end("y".repeat(50_000)));
  const { collect } = instrumented();
  const vm = await boot({ network: { allow: [`127.0.0.1:${port}`] }, limits: { diskBytes: 2 ** 24 } });
  await vm.exec(`${BUSY}; head -c 1000000 /dev/zero >/tmp/a; curl -sS http://127.0.0.1:${port}/ -o /dev/null`);
  await vm.spawn("sleep", ["100"]);
  const found = await collect();
  const units = Object.fromEntries(Object.entries(found).map(([name, { unit }]) => [name, unit]));
  expect(units).toEqual({
    "agent_vm.boot.duration": "s",
    "agent_vm.exec.duration": "s",
    "agent_vm.processes": "{process}",
    "agent_vm.vms": "{vm}",
    "container.cpu.time": "s",
    "container.filesystem.available": "By",
    "container.filesystem.capacity": "By",
    "container.filesystem.usage": "By",
    "container.memory.rss": "By",
    "container.memory.usage": "By",
    "container.network.io": "By",
  });
  const { cpuMs, memoryBytes, disk } = await vm.stats();
  expect(valueOf(found["container.cpu.time"])).toBeGreaterThan(0.01);
  expect(valueOf(found["container.cpu.time"])).toBeLessThanOrEqual(cpuMs / 1000);
  expect(valueOf(found["container.memory.rss"])).toBeGreaterThan(0);
  expect(valueOf(found["container.memory.usage"])).toBe(valueOf(found["container.memory.rss"]));
  expect(memoryBytes).toBeGreaterThan(0);
  expect(valueOf(found["container.filesystem.usage"])).toBe(disk.usedBytes);
  expect(valueOf(found["container.filesystem.available"])).toBe(disk.freeBytes);
  expect(valueOf(found["container.filesystem.capacity"])).toBe(2 ** 24);
  expect(valueOf(found["container.network.io"], { "network.io.direction": "receive" })).toBeGreaterThan(50_000);
  expect(valueOf(found["container.network.io"], { "network.io.direction": "transmit" })).toBeGreaterThan(10);
  expect([valueOf(found["agent_vm.vms"]), valueOf(found["agent_vm.processes"])]).toEqual([1, 1]);
  expect(found["agent_vm.vms"].scope).toMatchObject({ name: manifest.name, version: manifest.version });
});

test("what VMs have used stays in the counters when they are disposed, also between two collections", async () => {
  const { collect } = instrumented();
  let used = 0;
  for (let round = 0; round < 2; round++) {
    const vm = await AgentVm.create();
    await vm.exec(BUSY);
    used += (await vm.stats()).cpuMs;
    await vm.dispose();
  }
  const found = await collect();
  expect(valueOf(found["container.cpu.time"])).toBeGreaterThanOrEqual(used / 1000 - 1e-9);
  // No VM runs any more.
  expect(found["agent_vm.vms"]).toBeUndefined();
  const again = await collect();
  expect(valueOf(again["container.cpu.time"])).toBe(valueOf(found["container.cpu.time"]));
});

test("a VM that has died is not counted any more", async () => {
  const { collect } = instrumented();
  const { vm, init } = await withInit(boot);
  await vm.exec(BUSY);
  const before = await collect();
  const exit = once(vm, "exit");
  process.kill(init.pid, "SIGKILL");
  await exit;
  const after = await collect();
  expect(valueOf(after["container.cpu.time"])).toBe(valueOf(before["container.cpu.time"]));
  expect(valueOf(before["agent_vm.vms"])).toBe(1);
  expect(valueOf(before["container.filesystem.usage"])).toBeGreaterThan(0);
  for (const name of ["agent_vm.vms", "container.filesystem.usage"]) expect(valueOf(after[name])).toBe(0);
});

test("attributesOf keeps VMs apart, and VMs with the same attributes are added up", async () => {
  const names = new WeakMap();
  const { collect, spans } = instrumented({ attributesOf: (vm) => ({ "container.name": names.get(vm) ?? "new" }) });
  const vms = await Promise.all([boot(), boot(), boot()]);
  for (const [index, vm] of vms.entries()) {
    // The server has the VM only now.
    names.set(vm, index === 0 ? "one" : "two");
    await vm.spawn("sleep", ["100"]);
    await vm.exec("true");
  }
  const found = await collect();
  expect(valueOf(found["agent_vm.processes"], { "container.name": "one" })).toBe(1);
  expect(valueOf(found["agent_vm.processes"], { "container.name": "two" })).toBe(2);
  expect(found["agent_vm.processes"].points).toHaveLength(2);
  const named = spans.getFinishedSpans().map(({ name, attributes }) => [name, attributes["container.name"]]);
  expect(named).toEqual([...Array(3).fill(["agent_vm.boot", "new"]), ["sh", "one"], ["sh", "two"], ["sh", "two"]]);
});

test("1,000 different attributes are kept apart, and the others are one series", async () => {
  let count = 0;
  const names = new WeakMap();
  const { collect } = instrumented({ attributesOf: (vm) => ({ "container.name": names.get(vm) ?? "new" }) });
  const live = async () => {
    while (count < 1005) {
      const vm = await AgentVm.create();
      names.set(vm, String(count++));
      await vm.dispose();
    }
  };
  await Promise.all(Array.from({ length: 4 }, live));
  const { points } = (await collect())["container.cpu.time"];
  expect(points.filter(({ attributes }) => attributes["otel.metric.overflow"] === true)).toHaveLength(1);
  expect(points).toHaveLength(1001);
}, 60_000);

test("a failure of attributesOf leaves a VM without attributes", async () => {
  const { collect, spans } = instrumented({
    attributesOf: () => {
      throw new Error("no name");
    },
  });
  await boot();
  expect((await collect())["agent_vm.vms"].points).toMatchObject([{ attributes: {}, value: 1 }]);
  expect(spans.getFinishedSpans()[0].attributes).toEqual({});
});

test(
  "memory and throttling of a VM with limits are metrics too",
  withLimit({ memoryBytes: 128 * 1024 * 1024 }, async (vm) => {
    const { collect } = instrumented();
    await vm.exec("head -c 50000000 /dev/zero >/tmp/a");
    const found = await collect();
    const used = valueOf(found["container.memory.usage"]);
    expect(used).toBeGreaterThan(50_000_000);
    expect(used + valueOf(found["container.memory.available"])).toBe(128 * 1024 * 1024);
  }),
);

test(
  "throttled time is a metric",
  withLimit({ cpus: 0.2 }, async (vm) => {
    const { collect } = instrumented();
    await vm.spawn("sh", ["-c", "while :; do :; done"]);
    await until(async () => (await vm.stats()).cpu.throttledMs > 20);
    await vm.exec("true");
    expect(valueOf((await collect())["agent_vm.cpu.throttled"])).toBeGreaterThan(0.02);
  }),
);

test("the durations of boots, commands and processes are histograms, apart by what went wrong", async () => {
  const { collect } = instrumented();
  const vm = await boot();
  await rejection(AgentVm.create({ hostname: "" }));
  await vm.exec("sleep 0.3");
  await vm.exec("exit 2");
  await vm.exec("sleep 100", { timeout: 50 });
  const { pid } = await vm.spawn("true");
  await vm.waitProcess(pid);
  const found = await collect();
  const counts = (name) => found[name].points.map(({ attributes, value }) => [attributes["error.type"], value.count]);
  expect(counts("agent_vm.boot.duration")).toEqual([
    [undefined, 1],
    ["INVALID_ARGUMENT", 1],
  ]);
  expect(counts("agent_vm.exec.duration")).toEqual([
    [undefined, 1],
    ["2", 1],
    ["timeout", 1],
  ]);
  expect(counts("agent_vm.spawn.duration")).toEqual([[undefined, 1]]);
  const [slow] = found["agent_vm.exec.duration"].points;
  expect(slow.value.sum).toBeGreaterThan(0.29);
  expect(slow.value.buckets.boundaries).toContain(0.25);
});

test("disable ends spans and metrics", async () => {
  const { spans, collect, instrumentation } = instrumented();
  const vm = await boot();
  expect(spans.getFinishedSpans()).toHaveLength(1);
  instrumentation.disable();
  instrumentation.disable();
  await vm.exec("true");
  expect(spans.getFinishedSpans()).toHaveLength(1);
  expect((await collect())["agent_vm.vms"]).toBeUndefined();
});

test("without providers, the global ones are used", async () => {
  const exporter = new InMemorySpanExporter();
  const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
  trace.setGlobalTracerProvider(provider);
  afterTest(async () => {
    trace.disable();
    await provider.shutdown();
  });
  const { disable } = instrument();
  afterTest(disable);
  await boot();
  expect(exporter.getFinishedSpans().map(({ name }) => name)).toEqual(["agent_vm.boot"]);
});

test.each([
  [7],
  [{ tracerProvider: {} }],
  [{ meterProvider: 1 }],
  [{ commandArgs: 1 }],
  [{ attributesOf: {} }],
  [{ other: 1 }],
])("instrument refuses %j", (options) => {
  expect(() => instrument(options)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
});
