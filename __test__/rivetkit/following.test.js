"use strict";
// What a client follows of its calls: `signal`, `onStdout` and `onStderr` of exec, execFile and spawn, and `signal` of
// vmFetch.

const { startServer } = require("../fixture/rivetkit/servers");

let server;
beforeAll(async () => {
  server = await startServer();
  await server.evaluate(({ agent }) => agent.exec("true"));
});

test("onStdout and onStderr have every byte, in order, before the call resolves", async () => {
  const seen = await server.evaluate(async ({ agent }) => {
    const streams = { stdout: [], stderr: [] };
    let last;
    const options = {
      env: { WORD: "é" },
      onStdout: (data) => streams.stdout.push(data),
      onStderr: (data) => streams.stderr.push(data),
    };
    // The two bytes of the character arrive separately; then both streams write at the same time.
    const command =
      "printf '\\303'; sleep 0.2; printf '\\251'; (seq 1 200000) & seq 1 50000 >&2; wait; head -c 300000 /dev/zero; echo $WORD";
    const result = await agent.exec(command, options).then((value) => ((last = streams.stdout.length), value));
    const whole = { stdout: Buffer.concat(streams.stdout), stderr: Buffer.concat(streams.stderr) };
    const plain = await agent.exec(command, { env: { WORD: "é" } });
    return {
      stdout: [whole.stdout.toString() === result.stdout, result.stdout === plain.stdout, result.stdout.length],
      stderr: [whole.stderr.toString() === result.stderr, result.stderr === plain.stderr],
      bytes: streams.stdout.every((data) => data instanceof Uint8Array),
      first: [...streams.stdout[0]].slice(0, 2),
      later: streams.stdout.length - last,
      exitCode: result.exitCode,
    };
  });
  expect(seen).toEqual({
    stdout: [true, true, 1_588_898],
    stderr: [true, true],
    bytes: true,
    first: [0xc3],
    later: 0,
    exitCode: 0,
  });
});

test("chunks come while the command runs, and execFile has them too", async () => {
  const seen = await server.evaluate(async ({ agent, text, until }) => {
    let heard = "";
    const running = agent.execFile("sh", ["-c", "echo first; until [ -e go ]; do sleep 0.02; done; echo second"], {
      onStdout: (data) => (heard += text(data)),
    });
    await until(() => heard === "first\n");
    await agent.writeFile("/home/user/go", "");
    return { stdout: (await running).stdout, heard };
  });
  expect(seen).toEqual({ stdout: "first\nsecond\n", heard: "first\nsecond\n" });
});

test("a spawned process's callbacks have its output until its end, and keep the connection until then", async () => {
  const seen = await server.evaluate(async ({ agent, endpoint, sleep, text, until }) => {
    const connections = () =>
      process._getActiveHandles().filter(({ remotePort }) => remotePort === Number(new URL(endpoint).port)).length;
    let stdout = "";
    let stderr = "";
    const { pid } = await agent.spawn("sh", ["-c", "seq 1 100000; echo err >&2; read line; echo got $line"], {
      onStdout: (data) => (stdout += text(data)),
      onStderr: (data) => (stderr += text(data)),
    });
    await until(() => stdout.endsWith("100000\n") && stderr !== "");
    // Longer than an unused connection is kept.
    await sleep(2500);
    const running = connections();
    await agent.writeProcessStdin(pid, "line\n");
    await agent.waitProcess(pid);
    await until(() => stdout.endsWith("got line\n"));
    await until(() => connections() < running);
    return { length: stdout.length, stderr };
  });
  expect(seen).toEqual({ length: 588_895 + 9, stderr: "err\n" });
});

test("an abort before a call sends nothing, one during it kills what it started, and one after it does nothing", async () => {
  const seen = await server.evaluate(async ({ agent, until }) => {
    const reason = new Error("no longer");
    const outcome = (promise) =>
      promise.then(
        (value) => ({ value }),
        ({ group, code, message, cause }) => ({ group, code, message, cause: cause === reason }),
      );
    const sleepers = async () => (await agent.allProcesses()).filter(({ command }) => command === "sleep").length;
    const aborts = () => {
      const over = new AbortController();
      return { signal: over.signal, abort: () => over.abort(reason) };
    };
    const before = aborts();
    before.abort();
    const early = [
      await outcome(agent.exec("touch early", { signal: before.signal })),
      await outcome(agent.execFile("touch", ["early"], { signal: before.signal })),
      await outcome(agent.spawn("touch", ["early"], { signal: before.signal })),
      await outcome(agent.vmFetch(80, "/", { signal: before.signal })),
      // While the request is being sent.
      await (() => {
        const at = aborts();
        const call = outcome(agent.exec("sleep 1001", { signal: at.signal }));
        at.abort();
        return call;
      })(),
    ];
    early.push(await agent.exists("/home/user/early"), await sleepers());

    const during = aborts();
    let heard = "";
    const call = outcome(
      agent.exec("(sleep 1002 &) ; echo here; sleep 1003", {
        signal: during.signal,
        onStdout: (data) => (heard += data),
      }),
    );
    await until(() => heard !== "");
    during.abort();
    const middle = [await call, await sleepers()];
    const silent = aborts();
    const other = outcome(agent.execFile("sleep", ["1004"], { signal: silent.signal }));
    await until(async () => (await sleepers()) === 1);
    silent.abort();
    middle.push(await other, await sleepers());

    const after = aborts();
    const late = await agent.exec("sleep 1005 & echo done", { signal: after.signal });
    after.abort();
    const left = [late.stdout, await sleepers()];
    for (const { pid } of late.background) await agent.killProcess(pid);

    const process = aborts();
    const { pid } = await agent.spawn("sh", ["-c", "sleep 1006 & sleep 1007"], { signal: process.signal });
    await until(async () => (await sleepers()) === 2);
    process.abort();
    const exitCode = await agent.waitProcess(pid);
    const { exited } = await agent.readProcessOutput(pid);
    await until(async () => (await sleepers()) === 0);
    return { early, middle, left, spawned: [exitCode, exited.reason, exited.signal] };
  });
  const aborted = { group: "user", code: "ABORTED", message: "The operation was aborted", cause: true };
  expect(seen).toEqual({
    early: [aborted, aborted, aborted, aborted, aborted, false, 0],
    middle: [aborted, 0, aborted, 0],
    left: ["done\n", 1],
    spawned: [137, "signal", "SIGKILL"],
  });
});

test("vmFetch is aborted while the server inside does not answer", async () => {
  const seen = await server.evaluate(async ({ agent, failure, until }) => {
    const script = `require("node:http").createServer((request, response) => {
      console.log("asked");
      request.socket.on("close", () => console.log("closed"));
    }).listen(3000, () => console.log("up"))`;
    let printed = "";
    const { pid } = await agent.spawn("node", ["-e", script], { onStdout: (data) => (printed += data) });
    await until(() => printed.includes("up"));
    const over = new AbortController();
    const answer = failure(agent.vmFetch(3000, "/", { signal: over.signal }));
    await until(() => printed.includes("asked"));
    over.abort();
    const { code } = await answer;
    await until(() => printed.includes("closed"));
    await agent.killProcess(pid);
    return code;
  });
  expect(seen).toBe("ABORTED");
});

test("after a lost connection no chunk is missing or comes twice, and an abort still reaches the call", async () => {
  const seen = await server.evaluate(async ({ agent, endpoint, failure, text, until }) => {
    const cut = () => {
      const port = Number(new URL(endpoint).port);
      for (const socket of process._getActiveHandles().filter(({ remotePort }) => remotePort === port))
        socket.destroy();
    };
    const command = "for i in $(seq 400); do echo $i; sleep 0.01; done";
    const heard = { exec: "", spawn: "" };
    const running = agent.exec(command, { onStdout: (data) => (heard.exec += text(data)) });
    const { pid } = await agent.spawn("sh", ["-c", command], { onStdout: (data) => (heard.spawn += text(data)) });
    for (let time = 1; time <= 3; time++) {
      const length = heard.exec.length;
      await until(() => heard.exec.length > length + 100);
      cut();
    }
    const { stdout } = await running;
    await agent.waitProcess(pid);
    await until(() => heard.spawn.endsWith("400\n"));
    const over = new AbortController();
    let started = false;
    const aborted = failure(agent.exec("echo; sleep 1008", { signal: over.signal, onStdout: () => (started = true) }));
    await until(() => started);
    cut();
    over.abort();
    const { code } = await aborted;
    await until(async () => !(await agent.allProcesses()).some(({ command: name }) => name === "sleep"));
    return { same: [heard.exec === stdout, heard.spawn === stdout], lines: stdout.split("\n").length, code };
  });
  expect(seen).toEqual({ same: [true, true], lines: 401, code: "ABORTED" });
});

test("200 commands at once are followed, each with its own output, on one signal and without a warning", async () => {
  const seen = await server.evaluate(async ({ agent, text }) => {
    const warnings = [];
    process.on("warning", ({ name }) => warnings.push(name));
    const { signal } = new AbortController();
    const right = await Promise.all(
      Array.from({ length: 200 }, async (_, index) => {
        let heard = "";
        const { stdout } = await agent.exec(`echo ${index}; seq ${index} ${index + 100}`, {
          signal,
          onStdout: (data) => (heard += text(data)),
        });
        return heard === stdout && stdout.startsWith(`${index}\n`);
      }),
    );
    return { right: right.filter(Boolean).length, warnings };
  });
  expect(seen).toEqual({ right: 200, warnings: [] });
});

test("invalid options are refused, and rivetkit's own client gets an error that names the option it cannot send", async () => {
  const seen = await server.evaluate(async ({ agent, createPlainClient, endpoint, failure }) => {
    const plain = createPlainClient(endpoint).vm.getOrCreate(["test"]);
    const inJson = createPlainClient({ endpoint, encoding: "json" }).vm.getOrCreate(["test"]);
    const connection = plain.connect();
    const refusals = [
      await failure(agent.exec("true", { onStdout: "text" })),
      await failure(agent.spawn("true", [], { onStderr: 5 })),
      await failure(agent.vmFetch(80, "/", { signal: {} })),
    ];
    const unsent = [
      await failure(inJson.exec("touch unsent", { signal: AbortSignal.timeout(60_000) })),
      await failure(plain.exec("touch unsent", { onStdout: true })),
      await failure(plain.execFile("touch", ["unsent"], { onStderr: {} })),
      await failure(connection.spawn("touch", ["unsent"], { signal: {} })),
      await failure(plain.vmFetch(80, "/", { signal: {} })),
    ];
    // Values that rivetkit's own encoding cannot contain: it refuses them before sending.
    const unencoded = [
      await failure(plain.exec("touch unsent", { onStdout: () => {} })),
      await failure(plain.exec("touch unsent", { signal: AbortSignal.timeout(60_000) })),
    ];
    await connection.dispose();
    return { refusals, unsent, unencoded, done: await agent.exists("/home/user/unsent") };
  });
  expect(seen.refusals.map(({ code, message }) => [code, message.split(",")[0]])).toEqual([
    ["INVALID_ARGUMENT", "options.onStdout must be a function"],
    ["INVALID_ARGUMENT", "options.onStderr must be a function"],
    ["INVALID_ARGUMENT", "init.signal must be an AbortSignal"],
  ]);
  expect(seen.unsent.map(({ code, message }) => [code, message.split(":")[0]])).toEqual([
    ["INVALID_ARGUMENT", "options.signal cannot be sent by this client"],
    ["INVALID_ARGUMENT", "options.onStdout cannot be sent by this client"],
    ["INVALID_ARGUMENT", "options.onStderr cannot be sent by this client"],
    ["INVALID_ARGUMENT", "options.signal cannot be sent by this client"],
    ["INVALID_ARGUMENT", "init.signal cannot be sent by this client"],
  ]);
  for (const each of seen.unencoded) expect(each).not.toHaveProperty("resolved");
  expect(seen.done).toBe(false);
});
