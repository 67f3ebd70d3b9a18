"use strict";
// A client that uses the internal actions of our client, and rivetkit's own actions, in ways that our client never
// does.

const { readFileSync } = require("node:fs");
const { startServer } = require("../fixture/rivetkit/servers");

let server;
beforeAll(async () => {
  server = await startServer();
  await server.evaluate(({ agent }) => agent.exec("true"));
});

/** The peak memory of the process, in bytes. */
const peak = ({ pid }) => Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))[1]) * 1024;

test("calls that wait for themselves or for each other are refused, and delay no other call", async () => {
  const seen = await server.evaluate(async ({ agent, createPlainClient, endpoint, failure }) => {
    const hostile = createPlainClient(endpoint).vm.getOrCreate(["test"]).connect();
    const { incarnation } = await hostile.action({ name: "agentVmHello", args: [] });
    const begin = (id, after) => {
      const request = { id, after, method: "exec", args: ["true"], incarnation, done: [] };
      return failure(hostile.action({ name: "agentVmBegin", args: [request] }));
    };
    const own = await Promise.all(
      Array.from({ length: 50 }, (_, index) => begin(`own-${index}-id`, `own-${index}-id`)),
    );
    const circle = await Promise.all([
      begin("circle-a", "circle-c"),
      begin("circle-b", "circle-a"),
      begin("circle-c", "circle-b"),
    ]);
    const { stdout } = await agent.exec("echo here");
    await hostile.dispose();
    return { own: [...new Set(own.map(({ code }) => code))], circle: circle.map(({ code }) => code), stdout };
  });
  expect(seen.own).toEqual(["INVALID_ARGUMENT"]);
  expect(seen.circle.filter((code) => code === "INVALID_ARGUMENT")).toHaveLength(1);
  expect(seen.stdout).toBe("here\n");
});

test("the id of another client's call gives no access to that call, and does not affect it", async () => {
  const seen = await server.evaluate(async ({ createPlainClient, endpoint, failure }) => {
    const connect = async () => {
      const connection = createPlainClient(endpoint).vm.getOrCreate(["test"]).connect();
      const { incarnation } = await connection.action({ name: "agentVmHello", args: [] });
      const send = (name, ...args) => failure(connection.action({ name, args }));
      const begin = (id, command, done = []) =>
        send("agentVmBegin", { id, method: "exec", args: [command], incarnation, done });
      return { connection, incarnation, send, begin };
    };
    const [one, other] = [await connect(), await connect()];
    const id = "replayed-id";
    await one.begin(id, "echo secret; head -c 400000 /dev/zero | tr '\\0' s");
    const foreign = [
      await other.send("agentVmFollow", id, other.incarnation),
      await other.send("agentVmPiece", id, 0),
      await other.send("agentVmPart", id, 0, "AAAA"),
      await other.begin(id, "echo mine", [id]),
    ];
    const still = await one.send("agentVmFollow", id, one.incarnation);
    const again = await one.begin(id, "echo twice");
    await Promise.all([one.connection.dispose(), other.connection.dispose()]);
    return { foreign, still, again };
  });
  expect(seen.foreign).toMatchObject([
    { code: "LIMIT_EXCEEDED" },
    { code: "LIMIT_EXCEEDED" },
    { resolved: undefined },
    { resolved: { state: "done", value: { stdout: "mine\n" } } },
  ]);
  // The same answer; no second call was made.
  expect(seen.still).toMatchObject({ resolved: { state: "large" } });
  expect(seen.again).toEqual(seen.still);
});

test("parts of an upload that are empty, too long or both short are refused", async () => {
  const seen = await server.evaluate(async ({ agent, createPlainClient, endpoint, failure }) => {
    const hostile = createPlainClient(endpoint).vm.getOrCreate(["test"]).connect();
    const part = (...args) => failure(hostile.action({ name: "agentVmPart", args }));
    const refused = [
      await part("upload-empty", 0, ""),
      await part("upload-padding", 0, "===="),
      await part("upload-long", 0, "A".repeat(61_000)),
      await part("upload-index", -1, "AAAA"),
      await part("upload-index", 0.5, "AAAA"),
      await part("upload-index", 1e9, "AAAA"),
      await part("__proto__", 0, "AAAA"),
      await part({}, 0, "AAAA"),
    ];
    const short = [await part("upload-short", 0, "AAAA"), await part("upload-short", 1, "AAAA")];
    const many = await Promise.all(Array.from({ length: 50 }, (_, index) => part(`upload-${index}`, 0, "AAAA")));
    const data = "x".repeat(1_000_000);
    const { stdout } = await agent.exec("wc -c", { stdin: data });
    await hostile.dispose();
    return { refused: refused.map(({ code }) => code), short, many, stdout };
  });
  expect([...new Set(seen.refused)]).toEqual(["INVALID_ARGUMENT"]);
  expect(seen.short).toMatchObject([{ resolved: undefined }, { code: "INVALID_ARGUMENT" }]);
  expect(seen.many.filter(({ code }) => code !== undefined)).toEqual([]);
  expect(seen.stdout).toBe("1000000\n");
});

test("every action, and every call, refuses what does not fit with an error that says so", async () => {
  const before = peak(server);
  const { odd, unknown, ms } = await server.evaluate(async ({ agent, createPlainClient, endpoint, failure }) => {
    const plain = createPlainClient(endpoint).vm.getOrCreate(["test"]);
    const hostile = plain.connect();
    const { incarnation } = await hostile.action({ name: "agentVmHello", args: [] });
    const polluting = JSON.parse(
      '{"__proto__":{"cwd":"/","polluted":true},"constructor":{"prototype":{"polluted":true}}}',
    );
    const values = [
      null,
      true,
      NaN,
      Infinity,
      -1,
      0.5,
      2 ** 53,
      "",
      "\0",
      "__proto__",
      "constructor",
      "\ud800",
      "x".repeat(20_000),
      [],
      [[]],
      {},
      polluting,
      { length: 2 ** 53, 0: "/" },
      { signal: {}, onStdout: {}, maxOutputBytes: -1 },
      { toString: 1, valueOf: 1, toJSON: 1 },
      new Uint8Array(3),
    ];
    const methods = [
      ...["exec", "execFile", "spawn", "writeProcessStdin", "closeProcessStdin", "waitProcess", "waitProcessExit"],
      ...["getProcess", "stopProcess", "killProcess", "signalProcess", "readProcessOutput", "allProcesses"],
      ...[
        "processTree",
        "openShell",
        "writeShell",
        "resizeShell",
        "closeShell",
        "waitShell",
        "waitShellExit",
        "listShells",
        "listProcesses",
      ],
      ...["readShell", "readFile", "writeFile", "readFiles", "writeFiles", "mkdir", "readdir", "readdirRecursive"],
      ...["stat", "exists", "move", "delete", "deleteFile", "vmFetch"],
    ];
    const protocol = ["agentVmBegin", "agentVmFollow", "agentVmPart", "agentVmPiece", "agentVmTake", "agentVmAbort"];
    const odd = [];
    let next = 0;
    const send = async (name, args) => {
      const request = { id: `walking-${next}`, method: name, args, incarnation, done: [`walking-${next - 200}`] };
      // Alternately as an action of its own, and carried.
      const carried = next++ % 2 === 0 && !protocol.includes(name);
      const action = carried ? { name: "agentVmBegin", args: [request] } : { name, args };
      const each = await failure(hostile.action(action));
      // Neither rivetkit's "internal_error" nor any other error that this package does not intend.
      const known = /^[A-Z][A-Z0-9_]+$/.test(each.code ?? "");
      if (!("resolved" in each) && !known) odd.push([name, JSON.stringify(args).slice(0, 200), each]);
    };
    for (const name of [...methods, ...protocol]) {
      const first = /Process/.test(name)
        ? 99_999
        : /File|dir|stat|exists|move|delete/.test(name)
          ? "/nowhere/x"
          : "true";
      await Promise.all(
        values.map((value, index) => send(name, [[value], [first, value], [first, [], value]][index % 3])),
      );
      await Promise.all(
        values.map((value, index) => send(name, [[first, value], [first, [], value], [value]][index % 3])),
      );
    }
    const unknown = [];
    for (const name of [
      "constructor",
      "toString",
      "__proto__",
      "hasOwnProperty",
      "dispose",
      "connect",
      "fetch",
      "on",
    ]) {
      const request = { id: `unknown-${name}`, method: name, args: [], incarnation, done: [] };
      unknown.push(await failure(hostile.action({ name: "agentVmBegin", args: [request] })));
      unknown.push(await failure(hostile.action({ name, args: [] })));
    }
    // Deeper than rivetkit's client would send.
    const deep = `${"[".repeat(30_000)}${"]".repeat(30_000)}`;
    const url = `${endpoint}/gateway/vm/action/exec?rvt-namespace=default&rvt-method=get&rvt-key=test`;
    const headers = { "content-type": "application/json", "x-rivet-encoding": "json" };
    const { status } = await fetch(url, { method: "POST", headers, body: `{"args":${deep}}` });
    unknown.push(status < 400 ? { resolved: status } : { code: String(status) });
    await hostile.dispose();
    const since = performance.now();
    await agent.exec("true");
    return { odd, unknown, ms: performance.now() - since };
  });
  expect(odd).toEqual([]);
  for (const each of unknown) expect(each).toMatchObject({ code: expect.any(String) });
  expect(ms).toBeLessThan(30_000);
  expect(peak(server) - before).toBeLessThan(500_000_000);
  expect(server.lines.filter((line) => line.includes("polluted"))).toEqual([]);
}, 180_000);

describe("what calls read and keep together is bounded, also in a server with a small heap", () => {
  let small;
  beforeAll(async () => {
    small = await startServer({ env: { NODE_OPTIONS: "--max-old-space-size=400" } });
    await small.evaluate(({ agent }) => agent.exec("true"));
  });

  test("many commands that print much at once", async () => {
    const before = peak(small);
    const seen = await small.evaluate(async ({ client, createPlainClient, endpoint, failure }) => {
      const hostile = createPlainClient(endpoint).vm.getOrCreate(["test"]).connect();
      const { incarnation } = await hostile.action({ name: "agentVmHello", args: [] });
      // Each waits until all have printed, so that their output is held at the same time.
      const command =
        "head -c 16777216 /dev/zero | tr '\\0' x; echo >> done; until [ $(wc -l < done) -ge 40 ]; do sleep 0.1; done";
      const answers = await Promise.all(
        Array.from({ length: 60 }, (_, index) => {
          const request = { id: `printing-${index}`, method: "exec", args: [command], incarnation, done: [] };
          return failure(hostile.action({ name: "agentVmBegin", args: [request] }));
        }),
      );
      const { stdout } = await client.vm.getOrCreate(["test"]).exec("echo here");
      await hostile.dispose();
      return { refused: answers.filter(({ code }) => code === "LIMIT_EXCEEDED").length, stdout };
    });
    expect(seen.refused).toBeGreaterThan(40);
    expect(seen.stdout).toBe("here\n");
    // The heap limit is 448 MiB, so the budget is 112 MiB and one client's part of it 84 MiB. A result is in memory up
    // to four times while it becomes text and is encoded; 120 MB are typical here.
    expect(peak(small) - before).toBeLessThan(500_000_000);
  }, 120_000);

  test("many answers that are bombs", async () => {
    const before = peak(small);
    const seen = await small.evaluate(async ({ agent, failure, until }) => {
      const source = `
        const { gzipSync } = require("node:zlib");
        const bomb = gzipSync(gzipSync(Buffer.alloc(255 << 20), { level: 9 }), { level: 9 });
        require("node:http").createServer((request, response) => {
          response.writeHead(200, { "content-encoding": request.url === "/" ? "gzip, gzip" : "identity" });
          response.end(request.url === "/" ? bomb : "small");
        }).listen(3000, () => console.log("up"))`;
      await agent.writeFile("/home/user/bomb.js", source);
      let up = false;
      const off = agent.on("processOutput", () => (up = true));
      const { pid } = await agent.spawn("node", ["bomb.js"]);
      await until(() => up);
      off();
      const answers = await Promise.all(Array.from({ length: 12 }, () => failure(agent.vmFetch(3000, "/"))));
      const { body } = await agent.vmFetch(3000, "/small");
      await agent.killProcess(pid);
      return { codes: [...new Set(answers.map(({ code }) => code))], body: Buffer.from(body).toString() };
    });
    expect(seen).toEqual({ codes: ["LIMIT_EXCEEDED"], body: "small" });
    expect(peak(small) - before).toBeLessThan(400_000_000);
  }, 120_000);

  test("many reads of large files", async () => {
    const before = peak(small);
    const seen = await small.evaluate(async ({ agent, failure }) => {
      await agent.exec("truncate -s 1G sparse; truncate -s 60M some; echo small > small");
      const answers = await Promise.all([
        ...Array.from({ length: 10 }, () => failure(agent.readFile("/home/user/sparse"))),
        ...Array.from({ length: 10 }, () => failure(agent.readFile("/home/user/some"))),
      ]);
      const files = await agent.readFiles(["/home/user/small", "/home/user/sparse", "/home/user/some", "/nowhere"]);
      const codes = answers.map(({ code }) => code);
      return {
        sparse: [...new Set(codes.slice(0, 10))],
        some: codes.slice(10).filter((code) => code === "LIMIT_EXCEEDED").length,
        files: files.map(({ content }) => content?.length),
        proc: (await agent.readFile("/proc/meminfo")).length,
      };
    });
    expect(seen.sparse).toEqual(["LIMIT_EXCEEDED"]);
    expect(seen.some).toBeGreaterThanOrEqual(8);
    expect(seen.files).toEqual([6, undefined, expect.any(Number), undefined]);
    expect(seen.proc).toBeGreaterThan(100);
    expect(peak(small) - before).toBeLessThan(400_000_000);
  }, 120_000);

  test("an upload that is not finished, once its client has gone", async () => {
    const seen = await small.evaluate(async ({ agent, createPlainClient, endpoint, failure }) => {
      const hostile = createPlainClient(endpoint).vm.getOrCreate(["test"]).connect();
      const full = "A".repeat(60_000);
      let parts = 0;
      let refused;
      for (let upload = 0; upload < 100 && !refused; upload++) {
        for (let index = 0; index < 100 && !refused; index += 50) {
          const sent = await Promise.all(
            Array.from({ length: 50 }, (_, each) =>
              failure(hostile.action({ name: "agentVmPart", args: [`upload-${upload}`, index + each, full] })),
            ),
          );
          parts += sent.filter(({ code }) => code === undefined).length;
          refused = sent.find(({ code }) => code !== undefined);
        }
      }
      await hostile.dispose();
      // The same amount, by another client.
      const stdin = new Uint8Array(parts * 30_000);
      await agent.writeFile("/home/user/large", stdin);
      const { size } = await agent.stat("/home/user/large");
      return { parts, refused: refused?.code, same: size === stdin.length };
    });
    expect(seen).toMatchObject({ refused: "LIMIT_EXCEEDED", same: true });
    expect(seen.parts * 45_000).toBeLessThan(110_000_000);
  }, 240_000);
});
