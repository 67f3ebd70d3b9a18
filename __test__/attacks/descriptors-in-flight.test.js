"use strict";
// The kernel bounds the descriptors that a user has sent over Unix sockets and that nobody has received, counted over all
// processes of that user; root is exempt. VMs of an ordinary user's server share that count.

const { nodeScript } = require("../node-script");

/** Runs a server as an ordinary user, who may have `limit` descriptors. */
function server(limit, source) {
  const user =
    process.getuid() === 0 ? ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"] : [];
  const prefix = [...user, "prlimit", `--nofile=${limit}:${limit}`];
  return nodeScript(source, { prefix, env: { HOME: "/nonexistent", TMPDIR: "/tmp" } }).ended;
}

/** Sends descriptors over socket pairs that nobody reads, until the kernel takes no more; prints how many are in flight. */
const FLOOD = `
import array, errno, os, resource, socket, time
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
time.sleep(1000)`;

test.each([
  [4096, 3584],
  [1024, 512],
])(
  "with a hard limit of %i, descriptors in flight in one VM leave the others' calls alone",
  async (hard, inside) => {
    const { stdout, stderr, code } = await server(
      hard,
      `
    const flooder = await AgentVm.create({ limits: { openFiles: 1_048_576 } });
    const other = await AgentVm.create();
    const flooded = [];
    for (let i = 0; i < 2; i++) {
      await flooder.spawn("python3", ["-c", ${JSON.stringify(FLOOD)}], { onStdout: (data) => flooded.push(String(data)) });
    }
    while (flooded.length < 2) await new Promise((resolve) => setTimeout(resolve, 10));
    const ran = await other.exec("echo on");
    const stdin = await other.exec("wc -c", { stdin: "x".repeat(100_000) });
    await other.writeFile("/tmp/file", "content");
    const read = Buffer.from(await other.readFile("/tmp/file")).toString();
    const made = await AgentVm.create();
    const own = await flooder.exec("echo on");
    console.log(JSON.stringify({ flooded, ran: ran.stdout, stdin: stdin.stdout, read, made: (await made.exec("echo on")).stdout, own: own.stdout }));
    await Promise.all([flooder, other, made].map((vm) => vm.dispose()));`,
    );
    expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
    const { flooded, ...others } = JSON.parse(stdout);
    for (const line of flooded) expect(line).toMatch(new RegExp(`^ETOOMANYREFS \\d+ ${inside}\\n$`));
    expect(others).toEqual({ ran: "on\n", stdin: "100000\n", read: "content", made: "on\n", own: "on\n" });
  },
  60_000,
);

test("a call whose descriptors the kernel does not take is refused after a while, and calls work again afterwards", async () => {
  // Here it is the server's own user outside of any VM who has sent too many.
  const { stdout, stderr, code } = await server(
    1024,
    `
    const { spawn } = require("node:child_process");
    const vm = await AgentVm.create();
    const flood = spawn("python3", ["-c", ${JSON.stringify(FLOOD)}], { stdio: ["ignore", "pipe", "inherit"] });
    await new Promise((resolve) => flood.stdout.once("data", resolve));
    const code = (promise) => promise.then(() => "ok", (error) => error.code);
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
}, 60_000);
