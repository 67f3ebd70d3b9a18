"use strict";
// Handles with `agent-vm/client`: what spawn, openShell and getHandle of an actor resolve to.

const { readFileSync } = require("node:fs");
const { AgentVm } = require("../..");
const { descendants } = require("../fixture/processes");
const { startServer } = require("../fixture/rivetkit/servers");

let server;
/** The inits of the server's VMs: its children that are not rivetkit's engine. */
const inits = () =>
  descendants(server.pid).filter(
    ({ pid, ppid }) => ppid === server.pid && !readFileSync(`/proc/${pid}/comm`, "utf8").startsWith("rivet"),
  );
beforeAll(async () => {
  server = await startServer({ agent: { options: { limits: { replayBytes: 100_000 } } } });
  await server.evaluate(({ agent }) => agent.exec("true"));
});

test("spawn resolves to a handle, which becomes JSON as { pid }, with streams, lines, exited and kill", async () => {
  const seen = await server.evaluate(async ({ agent }) => {
    const sort = await agent.spawn("sort");
    const json = JSON.stringify(sort);
    sort.stdin.write("pear\n");
    sort.stdin.end("apple\n");
    const lines = [];
    for await (const line of sort.lines()) lines.push(line);
    const both = await agent.spawn("sh", ["-c", "printf '\\377out'; printf err >&2; exit 4"]);
    const [out, err] = await Promise.all([both.stdout.toArray(), both.stderr.toArray()]);
    const { exitCode, reason } = await both.exited;
    const endless = await agent.spawn("sleep", ["1000"]);
    const catcher = await agent.spawn("sh", ["-c", "trap 'exit 7' USR1; echo ready; while :; do sleep 0.05; done"]);
    const caught = catcher.lines();
    await caught.next();
    await catcher.kill("SIGUSR1");
    await endless.kill();
    await endless[Symbol.asyncDispose]();
    return {
      json: json === `{"pid":${sort.pid}}`,
      lines,
      sorted: (await sort.exited).exitCode,
      out: [...Buffer.concat(out)],
      err: Buffer.concat(err).toString(),
      exit: [exitCode, reason],
      caught: (await catcher.exited).exitCode,
      killed: (await endless.exited).signal,
    };
  });
  expect(seen).toEqual({
    json: true,
    lines: [
      { stream: "stdout", line: "apple" },
      { stream: "stdout", line: "pear" },
    ],
    sorted: 0,
    out: [0xff, 0x6f, 0x75, 0x74],
    err: "err",
    exit: [4, "exited"],
    caught: 7,
    killed: "SIGKILL",
  });
});

test("a stream begins at the first byte, also when it is first read late and by another client", async () => {
  const seen = await server.evaluate(async ({ agent, client, until }) => {
    const { pid } = await agent.spawn("sh", ["-c", "seq 1 5000; read go; seq 5001 10000; echo late >&2"]);
    await until(async () => (await agent.readProcessOutput(pid)).nextSeq === 23_893);
    const handle = await client.vm.getOrCreate(["test"]).getHandle(pid);
    const stdout = handle.stdout.toArray();
    await agent.writeProcessStdin(pid, "\n");
    const during = Buffer.concat(await stdout).toString();
    await handle.exited;
    const again = await agent.getHandle(pid);
    const after = Buffer.concat(await again.stdout.toArray()).toString();
    const stderr = Buffer.concat(await again.stderr.toArray()).toString();
    return { during, same: during === after, stderr };
  });
  expect(seen).toEqual({
    during: Array.from({ length: 10_000 }, (_, index) => `${index + 1}\n`).join(""),
    same: true,
    stderr: "late\n",
  });
});

test("a stream whose beginning is no longer kept fails with LIMIT_EXCEEDED and truncatedBytes", async () => {
  const seen = await server.evaluate(async ({ agent }) => {
    const handle = await agent.spawn("head", ["-c", "1000000", "/dev/zero"]);
    await handle.exited;
    const error = await handle.stdout.toArray().catch((reason) => reason);
    const lines = await handle
      .lines()
      .next()
      .catch((reason) => reason);
    const { truncatedBytes } = await agent.readProcessOutput(handle.pid);
    return [error.code, error.truncatedBytes === truncatedBytes, lines.code, truncatedBytes >= 900_000];
  });
  expect(seen).toEqual(["LIMIT_EXCEEDED", true, "LIMIT_EXCEEDED", true]);
});

test("streams that are read at once get everything, although the process prints more than is kept before that", async () => {
  const seen = await server.evaluate(async ({ agent }) => {
    const lengths = [];
    for (let round = 0; round < 5; round++) {
      const handle = await agent.spawn("sh", ["-c", "yes | head -c 3000000 & head -c 3000000 /dev/zero >&2; wait"]);
      const lines = (async () => {
        let count = 0;
        for await (const { stream } of handle.lines()) count += stream === "stdout" ? 1 : 0;
        return count;
      })();
      const [stdout, stderr] = await Promise.all([handle.stdout.toArray(), handle.stderr.toArray()]);
      lengths.push(Buffer.concat(stdout).length, Buffer.concat(stderr).length, await lines);
    }
    return lengths;
  });
  expect(seen).toEqual(Array.from({ length: 5 }, () => [3_000_000, 3_000_000, 1_500_000]).flat());
});

test("a process whose output nobody reads as a stream is not held up", async () => {
  const seen = await server.evaluate(async ({ agent }) => {
    const started = await agent.spawn("sh", ["-c", "yes | head -c 10000000; echo done"]);
    return (await started.exited).exitCode;
  });
  expect(seen).toBe(0);
});

test("a stream that nobody reads pauses the process, and every byte comes when it is read", async () => {
  const seen = await server.evaluate(async ({ agent, sleep, until }) => {
    const total = 20_000_000;
    const handle = await agent.spawn("sh", ["-c", `yes | head -c ${total}`]);
    const { stdout } = handle;
    const written = async () => (await agent.readProcessOutput(handle.pid, { after: 1e12 })).nextSeq;
    let before = -1;
    await until(async () => {
      const now = await written();
      const stands = now === before;
      before = now;
      await sleep(300);
      return stands && now > 0;
    });
    // Longer than an unused connection is kept.
    await sleep(2500);
    const held = await written();
    let bytes = 0;
    let others = 0;
    for await (const chunk of stdout) {
      bytes += chunk.length;
      for (const byte of chunk) if (byte !== 0x79 && byte !== 0x0a) others++;
    }
    return { held, bytes, others, exit: (await handle.exited).exitCode };
  });
  expect(seen).toMatchObject({ bytes: 20_000_000, others: 0, exit: 0 });
  // What the client holds, what the actor holds, and what was on its way.
  expect(seen.held).toBeLessThan(4 * 1024 * 1024);
});

test("leaving a loop lets the process continue, and closes the connection when nothing else uses it", async () => {
  const seen = await server.evaluate(async ({ agent, endpoint, text, until }) => {
    const connections = () =>
      process._getActiveHandles().filter(({ remotePort }) => remotePort === Number(new URL(endpoint).port)).length;
    const handle = await agent.spawn("sh", ["-c", "yes | head -c 30000000; echo done >&2"]);
    const stderr = handle.stderr.toArray();
    for await (const chunk of handle.stdout) if (chunk.length > 0) break;
    const open = connections();
    const end = [text(Buffer.concat(await stderr)), (await handle.exited).exitCode];
    await until(() => connections() < open);
    return end;
  });
  expect(seen).toEqual(["done\n", 0]);
});

test("streams continue where they were when the connection is cut", async () => {
  const seen = await server.evaluate(async ({ agent, endpoint, sleep, until }) => {
    const cut = () => {
      const port = Number(new URL(endpoint).port);
      const sockets = process._getActiveHandles().filter((handle) => handle.remotePort === port);
      for (const socket of sockets) socket.destroy();
      return sockets.length;
    };
    const handle = await agent.spawn("sh", ["-c", "for i in $(seq 300); do echo $i; sleep 0.01; done; exit 9"]);
    const [stdout, lines] = [handle.stdout.toArray(), []];
    const following = (async () => {
      for await (const { line } of handle.lines()) lines.push(line);
    })();
    const { exited } = handle;
    for (let time = 0; time < 2; time++) {
      await sleep(700);
      await until(() => cut() > 0);
    }
    await following;
    return { stdout: Buffer.concat(await stdout).toString(), lines, exitCode: (await exited).exitCode };
  });
  const expected = Array.from({ length: 300 }, (_, index) => `${index + 1}`);
  expect(seen).toEqual({ stdout: expected.map((line) => `${line}\n`).join(""), lines: expected, exitCode: 9 });
});

test("descriptors of a process are streams of its handle, also of one that getHandle makes", async () => {
  const seen = await server.evaluate(async ({ agent, failure }) => {
    const child = await agent.spawn("sh", ["-c", "cat <&4 >&3; yes | head -c 3000000 >&5"], {
      descriptors: { 3: "output", 4: "input", 5: "output" },
    });
    const five = child.descriptors[5].toArray();
    const three = (await agent.getHandle(child.pid)).descriptors[3].toArray();
    child.descriptors[4].write("through ");
    child.descriptors[4].end("it");
    const seen = { keys: Object.keys(child.descriptors), three: Buffer.concat(await three).toString() };
    seen.five = Buffer.concat(await five).length;
    seen.exitCode = (await child.exited).exitCode;
    const unread = await agent.spawn("sh", ["-c", "exec 3<&-; echo ready; sleep 1000"], {
      descriptors: { 3: "input" },
    });
    await unread.lines().next();
    const input = unread.descriptors[3];
    seen.write = (await new Promise((resolve) => input.on("error", resolve).write("x"))).code;
    await unread.kill();
    seen.refused = (await failure(agent.spawn("true", [], { descriptors: { 2: "input" } }))).code;
    return seen;
  });
  expect(seen).toEqual({
    keys: ["3", "4", "5"],
    three: "through it",
    five: 3_000_000,
    exitCode: 0,
    write: "EPIPE",
    refused: "INVALID_ARGUMENT",
  });
});

test("a client pauses and resumes the actor's VM, where it can be paused", async () => {
  const { checks } = await AgentVm.doctor();
  const served = checks.find(({ name }) => name === "cgroup").ok;
  const seen = await server.evaluate(async ({ agent, failure }) => {
    const child = await agent.spawn("cat");
    const paused = await failure(agent.pause());
    const exec = await failure(agent.exec("echo runs"));
    await agent.resume();
    child.stdin.end("later");
    const text = Buffer.concat(await child.stdout.toArray()).toString();
    return [paused.code, exec.code ?? exec.resolved.stdout, text];
  });
  expect(seen).toEqual(served ? [undefined, "VM_PAUSED", "later"] : ["ISOLATION_UNAVAILABLE", "runs\n", "later"]);
});

test("openShell resolves to a handle with the terminal as a stream", async () => {
  const seen = await server.evaluate(async ({ agent, until }) => {
    const shell = await agent.openShell({ command: "sh" });
    const json = JSON.stringify(shell) === JSON.stringify({ shellId: shell.shellId });
    let shown = "";
    shell.stream.on("data", (data) => (shown += data));
    await shell.resize(100, 30);
    shell.stream.write("stty size\n");
    await until(() => shown.includes("30 100"));
    const other = await agent.getHandle(shell.shellId);
    let again = "";
    other.stream.on("data", (data) => (again += data));
    shell.stream.write("exit 3\n");
    const { exitCode } = await shell.exited;
    await until(() => again === shown && shown.includes("exit 3"));
    const closed = await agent.openShell({ command: "sh" });
    await closed.close();
    const write = await new Promise((resolve) => {
      closed.stream.on("error", resolve);
      closed.stream.write("x");
    });
    return { json, exitCode, closed: (await closed.exited).signal, write: write.code };
  });
  expect(seen).toEqual({ json: true, exitCode: 3, closed: "SIGHUP", write: "SHELL_NOT_FOUND" });
});

test("getHandle rejects as that of an AgentVm does, and boots no VM for an id", async () => {
  const seen = await server.evaluate(async ({ agent, client, failure }) => {
    const codes = async (handle) => {
      const errors = [];
      for (const id of [99_999, "shell-99", 0, null]) errors.push((await failure(handle.getHandle(id))).code);
      return errors;
    };
    const none = client.vm.getOrCreate(["none"]);
    return [await codes(agent), await codes(none)];
  });
  const expected = ["PROCESS_NOT_FOUND", "SHELL_NOT_FOUND", "INVALID_ARGUMENT", "INVALID_ARGUMENT"];
  expect(seen).toEqual([expected, expected]);
});

test("after its VM has died, nothing of the next VM is taken for what a handle is of", async () => {
  const run = server.evaluate(async ({ agent, failure, pause }) => {
    const died = new Promise((resolve) => agent.once("vmShutdown", resolve));
    const handle = await agent.spawn("sh", ["-c", "echo before; sleep 1000"]);
    const shell = await agent.openShell({ command: "sh" });
    const { stdout, exited } = handle;
    let output = "";
    const over = new Promise((resolve, reject) => stdout.once("end", resolve).once("error", reject));
    // The actor reads the stream from then on.
    await new Promise((resolve) => stdout.on("data", (data) => resolve((output += data))));
    await pause("running");
    await over;
    const ended = [output, (await exited).reason];
    await died;
    // The ids of another VM begin again.
    let process;
    do process = await agent.spawn("sleep", ["1001"]);
    while (process.pid < handle.pid);
    let other;
    do other = await agent.openShell({ command: "sh" });
    while (other.shellId !== shell.shellId);
    const codes = [];
    for (const call of [
      () => handle.kill(),
      () => handle.kill("SIGKILL"),
      () => shell.close(),
      () => handle.stderr.toArray(),
      () => new Promise((_, reject) => shell.stream.on("error", reject).write("x")),
    ]) {
      codes.push((await failure(call())).code);
    }
    await handle[Symbol.asyncDispose]();
    const still = [await agent.getProcess(process.pid), (await agent.listShells()).at(-1)].map(
      ({ running }) => running,
    );
    await process.kill();
    return { ended, same: process.pid === handle.pid, codes, still };
  });
  await run.reached("running");
  for (const { pid } of inits()) process.kill(pid, "SIGKILL");
  run.go("running");
  expect(await run).toEqual({
    ended: ["before\n", "disposed"],
    same: true,
    codes: Array(5).fill("VM_DISPOSED"),
    still: [true, true],
  });
});

test("dispose of the client's handle of the actor ends what its handles wait for, and leaves the process", async () => {
  const seen = await server.evaluate(async ({ agent, failure }) => {
    const handle = await agent.spawn("yes");
    const { stdout, exited } = handle;
    stdout.once("data", () => stdout.pause());
    const error = new Promise((resolve) => stdout.once("error", resolve));
    await agent.exec("true");
    await agent.dispose();
    const messages = [(await error).message, (await failure(exited)).message];
    const { running } = await agent.getProcess(handle.pid);
    await (await agent.getHandle(handle.pid)).kill();
    return { messages, running };
  });
  expect(seen).toEqual({
    messages: [expect.stringMatching(/disposed|lost/), expect.stringMatching(/disposed|lost/)],
    running: true,
  });
});

test("what a client names wrongly is refused", async () => {
  const seen = await server.evaluate(async ({ agent, failure }) => {
    const { shellId } = await agent.openShell({ command: "cat" });
    const { pid } = await agent.spawn("cat");
    const codes = [];
    for (const of of [{ pid: shellId }, { pid: null }, { pid: 1.5 }, { pid: -1 }, {}, null, "x"]) {
      for (const call of ["handleKill", "handleWait", "handleEnd"]) codes.push((await failure(agent[call](of))).code);
    }
    for (const of of [{ shellId: pid }, { shellId: null }, {}, null, "x"]) {
      for (const call of ["handleClose", "handleResize", "handleWait"])
        codes.push((await failure(agent[call](of))).code);
    }
    const { running } = await agent.getProcess(pid);
    await agent.killProcess(pid);
    await agent.closeShell(shellId);
    return { codes, running };
  });
  expect(seen).toEqual({ codes: Array(36).fill("INVALID_ARGUMENT"), running: true });
});

test("rivetkit's plain client gets what names the process and the shell, and cannot use the handles' calls", async () => {
  const seen = await server.evaluate(async ({ createPlainClient, endpoint, failure }) => {
    const plain = createPlainClient(endpoint);
    const agent = plain.vm.getOrCreate(["test"]);
    const process = await agent.spawn("true");
    const shell = await agent.openShell({ command: "true" });
    const error = await failure(agent.handleKill(process));
    await plain.dispose();
    return [Object.keys(process), Object.keys(shell), error.code];
  });
  expect(seen).toEqual([["pid"], ["shellId"], "action_not_found"]);
});
