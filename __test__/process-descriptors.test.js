"use strict";
// Pipes of a process beside its standard streams: the option `descriptors` of spawn.

const { rejection, sleep, until } = require("./fixture/promises");
const { nodeScript } = require("./fixture/server-process");
const { boot, bootForFile } = require("./fixture/vm");

let vm;
beforeAll(async () => {
  vm = await bootForFile();
});

/** Everything that a stream brings, as text. */
async function textOf(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

test("a program writes to an output and reads from an input, byte for byte, each in its own direction", async () => {
  const child = await vm.spawn("sh", ["-c", "cat <&4 >&3; printf '\\377' >&9; echo out"], {
    descriptors: { 3: "output", 4: "input", 9: "output" },
  });
  expect(Object.keys(child.descriptors)).toEqual(["3", "4", "9"]);
  expect(Object.keys(child)).toEqual(["pid"]);
  const large = Buffer.from(Array.from({ length: 300_000 }, (_, index) => index % 251));
  const [three, nine, stdout] = [child.descriptors[3].toArray(), child.descriptors[9].toArray(), textOf(child.stdout)];
  child.descriptors[4].write(large);
  child.descriptors[4].end("end");
  expect(Buffer.concat(await three)).toEqual(Buffer.concat([large, Buffer.from("end")]));
  expect(Buffer.concat(await nine)).toEqual(Buffer.from([0xff]));
  expect(await stdout).toBe("out\n");
  expect((await child.exited).exitCode).toBe(0);
});

test.each([
  [undefined, "0 1 2"],
  [{}, "0 1 2"],
  [{ 5: "output" }, "0 1 2 5"],
  [{ 3: "input" }, "0 1 2 3"],
  [{ 9: "input", 8: "output" }, "0 1 2 8 9"],
  [{ 3: "output", 4: "input", 5: "output", 6: "input", 7: "output", 8: "input", 9: "output" }, "0 1 2 3 4 5 6 7 8 9"],
])("with descriptors %p a program has exactly %s, all of them pipes", async (descriptors, expected) => {
  const script = `
    for fd in $(seq 0 300); do
      [ -e /proc/$$/fd/$fd ] && printf '%s ' $fd
      case $(readlink /proc/$$/fd/$fd) in ''|pipe:*) ;; *) echo other ;; esac
    done`;
  const child = await vm.spawn("sh", ["-c", script], descriptors === undefined ? {} : { descriptors });
  expect((await textOf(child.stdout)).trim()).toBe(expected);
});

test("the event has the number and the bytes' position in the output, and replay counts the standard streams alone", async () => {
  const events = [];
  const onOutput = (event) => events.push(event);
  vm.on("descriptorOutput", onOutput);
  const child = await vm.spawn("sh", ["-c", "echo one >&7; sleep 0.1; echo two >&7; echo out"], {
    descriptors: { 7: "output" },
  });
  let closed = false;
  vm.once("processClose", () => (closed = true));
  await child.exited;
  await until(() => closed);
  vm.off("descriptorOutput", onOutput);
  expect(events.map(({ pid, fd, data, seq }) => [pid, fd, data.toString(), seq])).toEqual([
    [child.pid, 7, "one\n", 0],
    [child.pid, 7, "two\n", 4],
  ]);
  const { chunks, nextSeq } = await vm.readProcessOutput(child.pid);
  expect([chunks.map(({ stream, data }) => [stream, data.toString()]), nextSeq]).toEqual([[["stdout", "out\n"]], 4]);
});

test("an output begins at its first byte when it is read late, also by another handle, and is kept as far as stdout is", async () => {
  const own = await boot({ limits: { replayBytes: 10_000 } });
  const child = await own.spawn("sh", ["-c", "seq 1000 >&3; head -c 100000 /dev/zero >&4"], {
    descriptors: { 3: "output", 4: "output" },
  });
  await child.exited;
  const expected = Array.from({ length: 1000 }, (_, index) => `${index + 1}\n`).join("");
  expect(await textOf(child.descriptors[3])).toBe(expected);
  const again = await own.getHandle(child.pid);
  expect(await textOf(again.descriptors[3])).toBe(expected);
  const error = await rejection(again.descriptors[4].toArray());
  expect([error.code, error.truncatedBytes >= 90_000]).toEqual(["LIMIT_EXCEEDED", true]);
});

test("an output that nobody reads as a stream holds nothing up, and one whose stream is not read pauses its writer", async () => {
  const free = await vm.spawn("sh", ["-c", "head -c 5000000 /dev/zero >&3"], { descriptors: { 3: "output" } });
  expect((await free.exited).exitCode).toBe(0);
  let written = 0;
  const onOutput = ({ data }) => (written += data.length);
  vm.on("descriptorOutput", onOutput);
  const held = await vm.spawn("sh", ["-c", "head -c 20000000 /dev/zero >&3; echo done"], {
    descriptors: { 3: "output" },
  });
  const stream = held.descriptors[3];
  let before = -1;
  await until(async () => {
    const stands = written === before && written > 0;
    before = written;
    await sleep(50);
    return stands;
  });
  expect(written).toBeLessThan(3 * 1024 * 1024);
  let bytes = 0;
  for await (const chunk of stream) bytes += chunk.length;
  vm.off("descriptorOutput", onOutput);
  expect(bytes).toBe(20_000_000);
  expect(await textOf(held.stdout)).toBe("done\n");
});

test("a write to an input that no process reads fails with EPIPE; inputs are destroyed when the process exits", async () => {
  const child = await vm.spawn("sh", ["-c", "exec 3<&-; echo closed; sleep 1000"], { descriptors: { 3: "input" } });
  for await (const { line } of child.lines()) if (line === "closed") break;
  const error = await new Promise((resolve) => {
    child.descriptors[3].on("error", resolve);
    child.descriptors[3].write("x");
  });
  expect(error.code).toBe("EPIPE");
  await child.kill();
  const other = await vm.spawn("true", [], { descriptors: { 3: "input" } });
  const input = other.descriptors[3];
  await new Promise((resolve) => input.on("close", resolve));
  expect(input.destroyed).toBe(true);
});

test("streams end with the process and with the VM", async () => {
  const own = await boot();
  const child = await own.spawn("sh", ["-c", "echo first >&3; exec 3>&-; sleep 1000"], {
    descriptors: { 3: "output" },
  });
  expect(await textOf(child.descriptors[3])).toBe("first\n");
  const open = await own.spawn("sleep", ["1000"], { descriptors: { 3: "output", 4: "input" } });
  const text = textOf(open.descriptors[3]);
  await own.dispose();
  expect(await text).toBe("");
});

test("the server has no descriptor of a process left when its outputs have ended", async () => {
  const { ended } = nodeScript(`
    const { readdirSync } = require("node:fs");
    const vm = await AgentVm.create();
    const pipes = () => readdirSync("/proc/self/fd").length;
    const descriptors = { 3: "output", 4: "input", 5: "output", 6: "input", 7: "output", 8: "input", 9: "output" };
    const run = async () => {
      const child = await vm.spawn("sh", ["-c", "echo x >&3"], { descriptors });
      const closed = new Promise((resolve) => vm.once("processClose", resolve));
      await Promise.all([child.exited, closed]);
    };
    await run();
    const before = pipes();
    for (let round = 0; round < 50; round++) await run();
    console.log(pipes() - before);
    await vm.dispose();`);
  const { stdout, stderr } = await ended;
  expect(stderr).toBe("");
  expect(Number(stdout)).toBeLessThan(5);
});

test.each([
  [[], "descriptors must be an object such as"],
  ["3", "descriptors must be an object such as"],
  [{ 2: "output" }, 'descriptors must have numbers from 3 to 9, not "2"'],
  [{ 10: "output" }, "from 3 to 9"],
  [{ "03": "output" }, "from 3 to 9"],
  [{ __proto__: null, x: "output" }, "from 3 to 9"],
  [{ 3: "pipe" }, 'descriptors[3] must be "input" or "output", as the program uses it, not "pipe"'],
  [{ 3: 1 }, "not number"],
])("descriptors %p are refused", async (descriptors, message) => {
  const error = await rejection(vm.spawn("true", [], { descriptors }));
  expect([error.code, error.message.includes(message)]).toEqual(["INVALID_ARGUMENT", true]);
});

test("exec takes no descriptors, and members of Object.prototype are none", async () => {
  expect((await rejection(vm.exec("true", { descriptors: { 3: "output" } }))).code).toBe("INVALID_ARGUMENT");
  const { ended } = nodeScript(`
    const vm = await AgentVm.create();
    Object.prototype[4] = "output";
    Object.prototype.descriptors = { 5: "output" };
    const child = await vm.spawn("true", [], { descriptors: { 3: "output" } });
    const other = await vm.spawn("true", [], {});
    console.log(Object.keys(child.descriptors) + " " + Object.keys(other.descriptors).length + " " + child.descriptors[4]);
    await vm.dispose();`);
  const { stdout, stderr } = await ended;
  expect([stdout, stderr]).toEqual(["3 0 undefined", ""]);
});
