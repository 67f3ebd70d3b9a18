"use strict";
// A program opens the output streams of others and keeps them open. Each could cost the server a descriptor for ever.

const fs = require("node:fs");
const { until } = require("../fixture/promises");
const { nodeScript, withFewDescriptors: few } = require("../fixture/server-process");
const { boot, output } = require("../fixture/vm");

/**
 * Python: opens the standard output and error of every process, or its terminal, creates a file `held-PID` for each,
 * and prints how many it holds. When a file `write` exists, it writes to all of them and prints how many writes failed.
 */
const HOLDER = `
import errno, os, resource, signal, time
signal.signal(signal.SIGPIPE, signal.SIG_IGN)
own, tmp = os.getpid(), os.environ.get("TMPDIR", "/tmp")
held, done = {}, set()
room = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 20
def hold(path):
    name = os.readlink(path)
    if name in held: return
    if len(held) >= room:
        # A copy of this process holds them from now on.
        if os.fork() == 0: time.sleep(1000)
        for fd in held.values(): os.close(fd)
        held.clear()
    if name.startswith("pipe:"): held[name] = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    elif name.startswith("/dev/pts/"): held[name] = os.open(name, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
def refuses(fd):
    try: os.write(fd, b"late")
    except BlockingIOError: return False
    except OSError as error: return error.errno in (errno.EPIPE, errno.EIO)
    return False
print("ready", flush=True)
while not os.path.exists(tmp + "/write"):
    for pid in os.listdir("/proc"):
        if not pid.isdigit() or int(pid) in (1, own) or pid in done: continue
        try:
            # A shell: what it starts has the same streams.
            if not open(f"/proc/{pid}/comm").read().startswith("sh"): continue
            for fd in "1", "2": hold(f"/proc/{pid}/fd/{fd}")
        except OSError: continue
        done.add(pid)
        open(f"{tmp}/held-{pid}", "w").close()
    time.sleep(0.002)
print("refused", sum(refuses(fd) for fd in held.values()), "of", len(held), flush=True)
time.sleep(1000)
`;

/** A command that ends when the holder has opened its streams. */
const HELD = "while [ ! -e ${TMPDIR:-/tmp}/held-$$ ]; do sleep 0.005; done";

const descriptors = () => fs.readdirSync("/proc/self/fd").length;

/**
 * A VM in which the holder runs. `refused()` resolves to how many of its descriptors it could not write to, and their
 * total.
 */
async function attacked() {
  const vm = await boot();
  let said = "";
  const { pid } = await vm.spawn("python3", ["-c", HOLDER]);
  vm.on("processOutput", (event) => {
    if (event.pid === pid) said += Buffer.from(event.data);
  });
  await until(async () => String((await vm.readProcessOutput(pid)).chunks[0]?.data) === "ready\n");
  const refused = async () => {
    await vm.exec("touch ${TMPDIR:-/tmp}/write");
    const [, count, of] = await until(() => /refused (\d+) of (\d+)/.exec(said));
    return { refused: Number(count), of: Number(of) };
  };
  return { vm, pid, refused };
}

/** Calls `one` that many times, ten at a time. */
async function many(count, one) {
  let left = count;
  const worker = async () => {
    while (left-- > 0) await one();
  };
  await Promise.all(Array.from({ length: 10 }, worker));
}

test("300 execs whose streams are held open by another program leave the server no descriptor", async () => {
  const { vm, refused } = await attacked();
  const before = descriptors();
  await many(300, async () => {
    expect(await vm.exec(`${HELD}; echo out; echo err >&2`)).toMatchObject({ stdout: "out\n", stderr: "err\n" });
  });
  await until(() => descriptors() <= before);
  const { refused: count, of } = await refused();
  expect(of).toBeGreaterThanOrEqual(600);
  // The other descriptors are those of the command that asks.
  expect(of - count).toBeLessThanOrEqual(2);
});

test("300 spawned processes leave descriptors for other calls, and all their output is delivered", async () => {
  const { vm, refused } = await attacked();
  const wrote = new Map();
  vm.on("processOutput", ({ pid, data }) => wrote.set(pid, (wrote.get(pid) ?? 0) + data.length));
  const before = descriptors();
  await many(300, async () => {
    const { pid } = await vm.spawn("sh", ["-c", `${HELD}; head -c 5000 /dev/zero; echo err >&2`]);
    await vm.waitProcess(pid);
    expect(wrote.get(pid)).toBe(5004);
    expect((await vm.readProcessOutput(pid)).outputCut).toBe(false);
  });
  await until(() => descriptors() <= before);
  const { refused: count, of } = await refused();
  expect(of).toBeGreaterThanOrEqual(600);
  expect(of - count).toBeLessThanOrEqual(2);
  expect(await vm.stats()).not.toHaveProperty("outputsCut");
});

test("terminals of shells that have ended leave descriptors for other calls", async () => {
  const { vm, refused } = await attacked();
  const before = descriptors();
  await many(50, async () => {
    const { shellId } = await vm.openShell({ command: "sh", args: ["-c", `${HELD}; echo out`] });
    await vm.waitShell(shellId);
    expect(Buffer.from((await vm.readShell(shellId)).data).toString()).toBe("out\r\n");
  });
  await until(() => descriptors() <= before);
  const { refused: count, of } = await refused();
  expect(of).toBeGreaterThanOrEqual(50);
  expect(of - count).toBeLessThanOrEqual(2);
});

test("what a background process writes last is delivered, though another program holds its stream", async () => {
  const { vm } = await attacked();
  const before = descriptors();
  const script = `${HELD}; (while [ ! -e \${TMPDIR:-/tmp}/go ]; do sleep 0.01; done; head -c 60000 /dev/zero) & exit 3`;
  const { pid } = await vm.spawn("sh", ["-c", script]);
  let late = 0;
  vm.on("processOutput", (event) => {
    if (event.pid === pid) late += event.data.length;
  });
  expect(await vm.waitProcess(pid)).toBe(3);
  expect(descriptors()).toBeGreaterThan(before);
  await output(vm, "touch ${TMPDIR:-/tmp}/go");
  await until(() => late === 60_000);
  await until(() => descriptors() <= before);
  expect((await vm.readProcessOutput(pid)).outputCut).toBe(false);
});

/** The JSON that a server with at most `limit` descriptors prints. */
async function withFewDescriptors(limit, source) {
  const server = nodeScript(source, { prefix: few(limit) });
  const { stdout, stderr, code } = await server.ended;
  expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
  return JSON.parse(stdout);
}

test("a server of 256 descriptors runs 1,000 commands beside such a program", async () => {
  const { ended, other } = await withFewDescriptors(
    256,
    `
    const vm = await AgentVm.create();
    const other = await AgentVm.create();
    const { pid } = await vm.spawn("python3", ["-c", ${JSON.stringify(HOLDER)}]);
    while ((await vm.readProcessOutput(pid)).nextSeq === 0) await vm.exec("sleep 0.01");
    let left = 1000, ended = 0;
    await Promise.all([1, 2, 3, 4].map(async () => {
      while (left-- > 0) {
        const { stdout } = await vm.exec(${JSON.stringify(`${HELD}; echo out`)});
        if (stdout === "out\\n") ended++;
      }
    }));
    const { stdout } = await other.exec("echo on");
    console.log(JSON.stringify({ ended, other: stdout }));
    await Promise.all([vm.dispose(), other.dispose()]);`,
  );
  expect({ ended, other }).toEqual({ ended: 1000, other: "on\n" });
}, 120_000);

// A background process that continues to write; it creates a file when a write fails.
const WRITER = `(trap "" PIPE; while echo on 2>/dev/null; do sleep 0.5; done; touch \${TMPDIR:-/tmp}/refused-$0) & exit 0`;

test("of what one VM leaves running, at most 256 streams are read; the oldest is closed, which is reported", async () => {
  const { cut, counted, refused } = await withFewDescriptors(
    4096,
    `
    const vm = await AgentVm.create();
    const pids = [];
    for (let n = 0; n < 130; n++) {
      const { pid } = await vm.spawn("sh", ["-c", ${JSON.stringify(WRITER)}, String(n)]);
      await vm.waitProcess(pid);
      pids.push(pid);
    }
    // A stream is closed soon after the next one has taken its place.
    const closed = async () => (await vm.stats()).outputsCut ?? 0;
    while ((await closed()) < 4) await vm.exec("sleep 0.01");
    const cut = [];
    for (const pid of pids) if ((await vm.readProcessOutput(pid)).outputCut) cut.push(pids.indexOf(pid));
    const counted = await closed();
    let refused;
    do refused = (await vm.exec("ls \${TMPDIR:-/tmp} | grep refused || true")).stdout; while (refused.split("\\n").length < 3);
    console.log(JSON.stringify({ cut, counted, refused }));
    await vm.dispose();`,
  );
  expect({ cut, counted, refused }).toEqual({ cut: [0, 1], counted: 4, refused: "refused-0\nrefused-1\n" });
});

test("where all VMs together have too many, the one that has the most loses its oldest", async () => {
  const { few, most } = await withFewDescriptors(
    1024,
    `
    const [one, other] = [await AgentVm.create(), await AgentVm.create()];
    const leave = async (vm) => {
      const { pid } = await vm.spawn("sh", ["-c", "sleep 1000 & exit 0"]);
      await vm.waitProcess(pid);
    };
    await leave(one);
    for (let n = 0; n < 80; n++) await leave(other);
    const closed = async (vm) => (await vm.stats()).outputsCut ?? 0;
    // A stream is closed soon after the next one has taken its place.
    while ((await closed(other)) < ${2 + 160 - 128}) await other.exec("sleep 0.01");
    const [few, most] = [await closed(one), await closed(other)];
    console.log(JSON.stringify({ few, most }));
    await Promise.all([one.dispose(), other.dispose()]);`,
  );
  // An eighth of the descriptors may be used for kept streams.
  expect({ few, most }).toEqual({ few: 0, most: 2 + 160 - 128 });
});
