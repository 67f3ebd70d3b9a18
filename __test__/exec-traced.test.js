"use strict";
const { boot } = require("./fixture/vm");

// Any process can make its parent its tracer (ptrace(2), PTRACE_TRACEME), and a command's parent is init.
test("a command that has init trace it runs on, and exec returns when it ends", async () => {
  const vm = await boot();
  const script = `
import ctypes, os, signal
signal.signal(signal.SIGUSR1, lambda *_: print("signalled", flush=True))
for _ in range(3):
    print(ctypes.CDLL(None).ptrace(0, 0, 0, 0), flush=True)
    os.kill(os.getpid(), signal.SIGUSR1)
ctypes.CDLL(None).ptrace(0, 0, 0, 0)
os.execlp("sh", "sh", "-c", "echo executed; exit 3")`;
  expect(await vm.execFile("python3", ["-c", script])).toMatchObject({
    stdout: `${"0\nsignalled\n".repeat(3)}executed\n`,
    exitCode: 3,
    reason: "exited",
    background: [],
  });
});
