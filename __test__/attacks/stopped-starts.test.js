"use strict";
// Between its start and `execve`, a program is a process of the VM's user: other programs can stop it, again and again, and
// init waits for it.

const { boot } = require("../fixture");

/** Stops every process that it may, without end. */
const STOPPER = `
import os, signal
print("ready", flush=True)
while True:
    try: os.kill(-1, signal.SIGSTOP)
    except OSError: pass`;

for (const isolation of ["namespaces", "landlock"]) {
  test(`programs that are stopped before they execute hold up no other call under ${isolation}`, async () => {
    const vm = await boot({ isolation });
    const file = `${(await vm.exec("printf %s $HOME; echo content > file")).stdout}/file`;
    const stopper = await vm.spawn("python3", ["-c", STOPPER]);
    await new Promise((resolve) => vm.once("processOutput", resolve));

    const starts = Array.from({ length: 20 }, () =>
      vm.exec("true", { timeout: 300 }).then(
        ({ exitCode }) => exitCode,
        (error) => error.code,
      ),
    );
    // Under "landlock" it is a process of the VM that opens files; one that is stopped as well is replaced.
    const read = await vm.readFile(file).then(
      ({ length }) => length,
      (error) => error.code,
    );
    expect(isolation === "landlock" ? [8, "EAGAIN"] : [8]).toContain(read);
    // Each ends: by itself, by its time-out, or since init gave it up.
    for (const end of await Promise.all(starts)) expect([0, 137, "EAGAIN"]).toContain(end);
    await vm.killProcess(stopper.pid);
    expect(await vm.exec("echo on")).toMatchObject({ stdout: "on\n", exitCode: 0 });
  });
}
