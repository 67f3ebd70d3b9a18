"use strict";
// Between fork and `execve`, a starting program is a process of the VM's user: other programs can stop it, again and
// again, while init waits for it.

const { boot } = require("../fixture/vm");

/** Repeatedly stops every process that it may stop. */
const STOPPER = `
import os, signal
print("ready", flush=True)
while True:
    try: os.kill(-1, signal.SIGSTOP)
    except OSError: pass`;

/** What a call resolves to, or its error's code; "no answer" after a much longer time than any call needs. */
function answer(promise) {
  let timer;
  const none = new Promise((resolve) => {
    timer = setTimeout(resolve, 60_000, "no answer");
  });
  const settled = promise.catch((error) => error.code);
  return Promise.race([settled, none]).finally(() => clearTimeout(timer));
}

for (const isolation of ["namespaces", "landlock"]) {
  test(`programs that are stopped before they execute hold up no other call under ${isolation}`, async () => {
    const vm = await boot({ isolation });
    const file = `${(await vm.exec("printf %s $HOME; echo content > file")).stdout}/file`;
    const stopper = await vm.spawn("python3", ["-c", STOPPER]);
    await new Promise((resolve) => vm.once("processOutput", resolve));

    const starts = Array.from({ length: 20 }, () =>
      answer(vm.exec("true", { timeout: 300 }).then(({ exitCode }) => exitCode)),
    );
    // A helper of init opens the files. Under "namespaces" programs can stop it; init then replaces it.
    const read = await answer(vm.readFile(file).then(({ length }) => length));
    expect(isolation === "namespaces" ? [8, "EAGAIN"] : [8]).toContain(read);
    // Each ends: by itself, by its timeout, or because init gave it up.
    for (const end of await Promise.all(starts)) expect([0, 137, "EAGAIN"]).toContain(end);
    expect(await answer(vm.killProcess(stopper.pid))).toBeUndefined();
    expect(await vm.exec("echo on")).toMatchObject({ stdout: "on\n", exitCode: 0 });
  });
}
