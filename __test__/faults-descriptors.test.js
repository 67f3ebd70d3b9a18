"use strict";
// A server that runs out of descriptors: calls reject with the errno's name, and work again when descriptors are free.

const { nodeScript, readableCopy, withFewDescriptors: few } = require("./fixture/server-process");

/** The output of a server that may have at most `limit` descriptors. */
async function withFewDescriptors(limit, source) {
  const server = nodeScript(source, { prefix: few(limit) });
  const { stdout, stderr, code } = await server.ended;
  expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
  return JSON.parse(stdout);
}

const helpers = `
  const fs = require("node:fs");
  const { descendants, prebootedGone } = require(${JSON.stringify(require.resolve("./fixture/processes"))});
  const taken = [];
  const open = () => fs.readdirSync("/proc/self/fd").length;
  const take = () => { try { for (;;) taken.push(fs.openSync("/dev/null")); } catch { /* none is left */ } };
  const give = (count = taken.length) => { for (const fd of taken.splice(0, count)) fs.closeSync(fd); };
  const code = (promise) => promise.then(() => "ok", (error) => error.code);`;

test("a VM asked for when descriptors run out, at whatever step, is refused with EMFILE, and nothing of it is left", async () => {
  const { codes, children, leaked, last } = await withFewDescriptors(
    200,
    `${helpers}
    await (await AgentVm.create()).dispose();
    await prebootedGone(process.pid);
    const before = open();
    const codes = [];
    for (let free = 0; free <= 30; free++) {
      take();
      give(free);
      codes.push(await AgentVm.create().then(async (vm) => {
        const result = await code(vm.exec("echo on"));
        await vm.dispose();
        return result;
      }, (error) => error.code));
      give();
    }
    const vm = await AgentVm.create();
    const last = (await vm.exec("echo on")).stdout;
    await vm.dispose();
    await prebootedGone(process.pid);
    console.log(JSON.stringify({ codes, children: descendants(process.pid).length, leaked: Math.max(0, open() - before), last }));`,
  );
  expect(last).toBe("on\n");
  expect({ children, leaked }).toEqual({ children: 0, leaked: 0 });
  expect(codes[0]).toBe("EMFILE");
  expect(codes.at(-1)).toBe("ok");
  expect(codes.filter((one) => one !== "ok" && one !== "EMFILE")).toEqual([]);
});

test("calls of a running VM reject with EMFILE, and work again when descriptors are free", async () => {
  const { codes, after, running } = await withFewDescriptors(
    150,
    `${helpers}
    const vm = await AgentVm.create();
    await vm.exec("true");
    await vm.writeFile("/tmp/file", "content");
    const { pid } = await vm.spawn("cat");
    await prebootedGone(process.pid);
    take();
    const calls = {
      exec: () => vm.exec("echo on"),
      spawn: () => vm.spawn("sleep", ["0"]),
      shell: () => vm.openShell(),
      read: () => vm.readFile("/tmp/file"),
      write: () => vm.writeFile("/tmp/other", "x"),
      list: () => vm.readdir("/tmp"),
      processes: () => vm.allProcesses(),
      connect: () => vm.connect(1),
    };
    const codes = {};
    for (const [name, call] of Object.entries(calls)) codes[name] = await code(call());
    // Processes that already run continue.
    await vm.writeProcessStdin(pid, "still here");
    await vm.closeProcessStdin(pid);
    const running = await vm.waitProcess(pid);
    give();
    const after = {};
    for (const [name, call] of Object.entries(calls)) after[name] = await code(call());
    await vm.dispose();
    console.log(JSON.stringify({ codes, after, running }));
    process.exit();`,
  );
  expect(codes).toEqual(Object.fromEntries(Object.keys(codes).map((name) => [name, "EMFILE"])));
  expect(after).toEqual({
    ...Object.fromEntries(Object.keys(codes).map((name) => [name, "ok"])),
    connect: "ECONNREFUSED",
  });
  expect(running).toBe(0);
});

test("a wait for a shell goes on without descriptors, and ends when there are some again", async () => {
  const { early, late } = await withFewDescriptors(
    150,
    `${helpers}
    const vm = await AgentVm.create();
    const { shellId } = await vm.openShell({ command: "sh" });
    await prebootedGone(process.pid);
    take();
    let settled = false;
    const waiting = code(vm.waitForIdle(shellId)).finally(() => (settled = true));
    await new Promise((resolve) => setTimeout(resolve, 500));
    const early = settled;
    give();
    const late = await waiting;
    await vm.dispose();
    console.log(JSON.stringify({ early, late }));
    process.exit();`,
  );
  expect({ early, late }).toEqual({ early: false, late: "ok" });
});

test("the process table is whole, or an EMFILE, however few descriptors are free", async () => {
  const { counts } = await withFewDescriptors(
    150,
    `${helpers}
    const vm = await AgentVm.create();
    await vm.spawn("sh", ["-c", "for i in $(seq 199); do sleep 1000 & done; echo started; wait"]);
    await new Promise((resolve) => vm.once("processOutput", resolve));
    await vm.allProcesses();
    const counts = [];
    for (let free = 0; free <= 8; free++) {
      take();
      give(free);
      counts.push(await vm.allProcesses().then((all) => all.length, (error) => error.code));
      give();
    }
    await vm.dispose();
    console.log(JSON.stringify({ counts }));`,
  );
  expect(counts[0]).toBe("EMFILE");
  expect(counts.at(-1)).toBe(200);
  expect(counts.filter((one) => one !== 200 && one !== "EMFILE")).toEqual([]);
});

// The kernel bounds how many descriptors a user has sent over Unix sockets that are not received yet, counted over all
// processes of the user; root is exempt. The VMs of an ordinary user's server share that bound. The tests are in this
// file because descriptors in transit also delay servers with few descriptors.

/** An ordinary user that runs nothing else, since the kernel counts all descriptors in transit of a user. */
const USER = 1_000_000 + process.pid;

/** What a call resolves to, or its error's code, or that it has not settled. */
const ANSWER = `
    const answer = (promise) =>
      Promise.race([
        promise.catch((error) => error.code),
        new Promise((resolve) => setTimeout(resolve, 60_000, "no answer")),
      ]);`;

/** Runs a server as an ordinary user, who may have `limit` descriptors. */
function ordinaryServer(limit, source) {
  const user =
    process.getuid() === 0
      ? ["setpriv", `--reuid=${USER}`, `--regid=${USER}`, "--clear-groups", "--inh-caps=-all"]
      : [];
  const prefix = [...few(limit), ...user];
  return nodeScript(ANSWER + source, { prefix, from: readableCopy(), env: { HOME: "/nonexistent", TMPDIR: "/tmp" } })
    .ended;
}

/**
 * Sends descriptors over socket pairs that nobody reads, until the kernel refuses more; prints how many are in transit.
 */
const FLOOD = `
import array, errno, os, resource, socket, sys
null = os.open("/dev/null", os.O_RDONLY)
pairs, sent = [], 0
while True:
    try:
        pairs.append(socket.socketpair())
    except OSError: break
    pairs[-1][0].setblocking(False)
    try:
        while True:
            pairs[-1][0].sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [null] * 250))])
            sent += 250
    except BlockingIOError: continue
    except OSError as error:
        print(errno.errorcode[error.errno], sent, resource.getrlimit(resource.RLIMIT_NOFILE)[1], flush=True)
        break
# Until the process that started it is gone.
sys.stdin.read()`;

test.each([
  [4096, 3584],
  [1024, 512],
])(
  "with a hard limit of %i, descriptors in flight in one VM leave the others' calls alone",
  async (hard, inside) => {
    const { stdout, stderr, code } = await ordinaryServer(
      hard,
      `
    const flooder = await AgentVm.create({ limits: { openFiles: 1_048_576 } });
    const other = await AgentVm.create();
    const flooded = [];
    for (let i = 0; i < 2; i++) {
      await flooder.spawn("python3", ["-c", ${JSON.stringify(FLOOD)}], { onStdout: (data) => flooded.push(String(data)) });
    }
    while (flooded.length < 2) await new Promise((resolve) => setTimeout(resolve, 10));
    const text = ({ stdout }) => stdout;
    const made = AgentVm.create();
    const [ran, stdin, read, begun, own] = await Promise.all([
      answer(other.exec("echo on").then(text)),
      answer(other.exec("wc -c", { stdin: "x".repeat(100_000) }).then(text)),
      answer(other.writeFile("/tmp/file", "content").then(() => other.readFile("/tmp/file")).then((data) => Buffer.from(data).toString())),
      answer(made.then((vm) => vm.exec("echo on")).then(text)),
      answer(flooder.exec("echo on").then(text)),
    ]);
    console.log(JSON.stringify({ flooded, ran, stdin, read, made: begun, own }));
    process.exit();`,
    );
    expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
    const { flooded, ...others } = JSON.parse(stdout);
    expect(others).toEqual({ ran: "on\n", stdin: "100000\n", read: "content", made: "on\n", own: "on\n" });
    for (const line of flooded) expect(line).toMatch(new RegExp(`^ETOOMANYREFS \\d+ ${inside}\\n$`));
  },
  120_000,
);

test("a call whose descriptors the kernel does not take is refused after a while, and calls work again afterwards", async () => {
  // Here the server's user has sent too many outside of any VM.
  const { stdout, stderr, code } = await ordinaryServer(
    1024,
    `
    const { spawn } = require("node:child_process");
    const vm = await AgentVm.create();
    const flood = spawn("python3", ["-c", ${JSON.stringify(FLOOD)}], { stdio: ["pipe", "pipe", "inherit"] });
    await new Promise((resolve) => flood.stdout.once("data", resolve));
    const code = (promise) => answer(promise.then(() => "ok"));
    const long = "x".repeat(100_000);
    const refused = await Promise.all([
      code(vm.exec("true")),
      code(vm.exec("true", { env: { LONG: long } })),
      code(vm.exec("true", { env: { LONG: long } })),
      code(vm.readFile("/etc/passwd")),
      code(AgentVm.create({ limits: { pids: 77 } })),
    ]);
    flood.kill("SIGKILL");
    await new Promise((resolve) => flood.once("exit", resolve));
    const later = (await vm.exec("echo on")).stdout;
    const read = (await vm.readFile("/etc/passwd")).length > 0;
    await vm.dispose();
    console.log(JSON.stringify({ refused, later, read }));
    process.exit();`,
  );
  expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
  const { refused, ...after } = JSON.parse(stdout);
  expect(refused).toEqual(["EMFILE", "LIMIT_EXCEEDED", "LIMIT_EXCEEDED", "EMFILE", "ETOOMANYREFS"]);
  expect(after).toEqual({ later: "on\n", read: true });
});
