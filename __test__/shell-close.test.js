"use strict";
const { sleep, until } = require("./fixture/promises");
const { shellsOf } = require("./fixture/shells");
const { bootForFile } = require("./fixture/vm");

let vm;
let shells;
beforeEach(async () => {
  vm = await bootForFile();
  shells = shellsOf(vm);
  // Writes each SIGHUP and SIGCONT that it gets to a file with its name, and then does what its second argument says.
  // It handles one signal after the other: with two handlers, the second could run in the middle of the first.
  await vm.writeFile(
    "/home/user/witness",
    `import signal, sys, time
name, then = sys.argv[1:]
def note(what):
    with open("/tmp/log", "a") as log: log.write(f"{name} {what}\\n")
told = False
signals = {signal.SIGHUP, signal.SIGCONT}
signal.pthread_sigmask(signal.SIG_BLOCK, signals)
note("up")
while True:
    if signal.sigwait(signals) == signal.SIGHUP:
        note("HUP")
        told = then != "stay"
        if then == "late": time.sleep(0.3)
    else:
        note("CONT")
        if told: sys.exit(0)
`,
  );
});

const log = async () => (await vm.exec("cat /tmp/log")).stdout.trim().split("\n");
const lines = async (...wanted) =>
  until(async () => {
    const seen = await log();
    return wanted.every((line) => seen.includes(line));
  });
const pids = async () => (await vm.allProcesses()).map(({ pid }) => pid);

test("it hangs up: every process of the session gets SIGHUP and SIGCONT, also those in the background and the stopped", async () => {
  // dash does not pass the signal on to its jobs.
  const shell = await shells.open({ command: "sh", args: ["-i"] });
  await shell.write("python3 witness behind go & python3 witness stopped go &\n");
  await lines("behind up", "stopped up");
  await shell.write("kill -STOP %2; (exec setsid --fork python3 witness left stay); python3 witness front go\n");
  await lines("front up", "left up");
  await until(async () => (await vm.allProcesses()).some(({ status }) => status === "stopped"));
  const left = (await vm.allProcesses()).find(({ args }) => args.includes("left"));

  await shell.close();
  // It resolves when the whole session is gone and the exit event was emitted.
  expect(shell.exit).toMatchObject({ reason: "signal", signal: "SIGHUP", exitCode: 129 });
  expect(await pids()).toEqual([left.pid]);
  const seen = await log();
  for (const name of ["behind", "stopped", "front"]) {
    expect(seen).toContain(`${name} HUP`);
    expect(seen).toContain(`${name} CONT`);
  }
  // Processes that had left the session got no signal, and live on.
  expect(seen.filter((line) => line.startsWith("left"))).toEqual(["left up"]);
  await vm.killProcess(left.pid);
});

test("bash ends with its jobs", async () => {
  const shell = await shells.open();
  await shell.write("sleep 1001 & sleep 1002 & kill -STOP %2; sleep 1003\n");
  await until(async () => (await pids()).length === 4);
  await shell.close();
  expect(await pids()).toEqual([]);
  expect(shell.exit.reason).toBe("signal");
  expect(await shell.wait()).toBe(shell.exit.exitCode);
});

test("a shell or a job that ignores the hang-up is killed after 2 s", async () => {
  const [deaf, parent] = await Promise.all([
    shells.open({ command: "sh", args: ["-c", "trap '' HUP; echo up; while :; do sleep 1000; done"] }),
    shells.open({ command: "sh", args: ["-c", "python3 witness job stay & python3 witness front go"] }),
  ]);
  await deaf.shows("up");
  await lines("job up", "front up");
  const begun = performance.now();
  await Promise.all([deaf.close(), parent.close()]);
  expect(performance.now() - begun).toBeGreaterThan(1950);
  expect(await pids()).toEqual([]);
  expect(deaf.exit).toMatchObject({ reason: "signal", signal: "SIGKILL", exitCode: 137 });
  expect(parent.exit).toMatchObject({ signal: "SIGHUP" });
  expect(await log()).toContain("job HUP");
});

test("calls at the same time hang up once, and all resolve when it is gone; later ones do nothing", async () => {
  const shell = await shells.open({ command: "python3", args: ["witness", "shell", "late"] });
  await lines("shell up");
  const first = shell.close();
  await lines("shell HUP");
  await Promise.all(
    [first, shell.close(), shell.close()].map((closing) => closing.then(() => expect(shell.exit).not.toBeNull())),
  );
  expect((await log()).filter((line) => line === "shell HUP").length).toBe(1);
  expect(shell.exit).toMatchObject({ reason: "exited", exitCode: 0, signal: null });
  await shell.close();
  await shell.close();
  expect(shell.events.filter((event) => event === "exit").length).toBe(1);
});

test("further calls do not postpone the end of a shell that the first call hung up", async () => {
  const shell = await shells.open({ command: "python3", args: ["witness", "shell", "stay"] });
  await lines("shell up");
  const closing = [];
  // If each call gave the shell another 2 s, it would never end.
  await until(async () => {
    closing.push(shell.close());
    await sleep(200);
    return shell.exit !== null;
  });
  await Promise.all(closing);
  expect((await log()).filter((line) => line === "shell HUP").length).toBe(1);
});

test("a shell may be closed while it prints without end, and while input waits for it", async () => {
  const printing = await shells.open({ command: "yes" });
  const reading = await shells.open({ command: "sh", args: ["-c", "stty raw; echo ready; exec sleep 1000"] });
  await reading.shows("ready");
  const writing = reading.write(Buffer.alloc(1_000_000, "x")).catch((error) => error);
  await until(() => printing.length > 100_000);
  await Promise.all([printing.close(), reading.close()]);
  expect(await writing).toMatchObject({ code: "SHELL_NOT_FOUND", message: `Shell not found: ${reading.id}` });
  expect(printing.events.at(-1)).toBe("exit");
  expect(vm.activeCount).toBe(0);
  expect(await pids()).toEqual([]);
});

test("closing takes the terminal from processes that live on, and they get SIGHUP", async () => {
  const shell = await shells.open({ command: "sh", args: ["-i"] });
  await shell.write(
    "setsid sh -c 'trap \"\" HUP; while echo x; do sleep 0.01; done 2>/dev/null; echo ended > /tmp/ended' &\n",
  );
  await shell.shows("x\r\nx\r\n");
  await shell.close();
  await until(() => vm.exists("/tmp/ended"));
  await until(async () => (await pids()).length === 0);
});

test("a shell may be closed at once, and by a listener of its own", async () => {
  const ids = await Promise.all(Array.from({ length: 20 }, () => vm.openShell()));
  await Promise.all(ids.map(({ shellId }) => vm.closeShell(shellId)));
  expect(vm.activeCount).toBe(0);
  const closing = new Promise((resolve) => {
    vm.once("shellData", ({ shellId }) => resolve(vm.closeShell(shellId)));
  });
  await shells.open({ command: "yes" });
  await closing;
  expect(await pids()).toEqual([]);
});
