// Commands in a VM: their output, input, exit codes, time limits and files.
// Run it with `node examples/exec/main.mjs`.
import { AgentVm } from "agent-vm";

const vm = await AgentVm.create({ env: { GREETING: "hello" } });
try {
  const { stdout, exitCode } = await vm.exec('echo "$GREETING from $(id -un)@$(hostname)"');
  console.log(exitCode, stdout.trimEnd());

  // A command that fails is a result. A call rejects only if it could not be made.
  const failed = await vm.exec("ls /root/.ssh");
  console.log(failed.exitCode, failed.stderr.trimEnd());

  // execFile uses no shell: the program gets the arguments unchanged.
  const counted = await vm.execFile("wc", ["-w"], { stdin: "one two three\n" });
  console.log("words:", counted.stdout.trim());

  // At the timeout, the command and everything that it started are killed. Its output until then is returned.
  const late = await vm.exec("echo begun; sleep 600 & sleep 600", { timeout: 500 });
  console.log({ timedOut: late.timedOut, exitCode: late.exitCode, stdout: late.stdout });

  // Output as it arrives, not only at the end.
  await vm.exec("for i in 1 2 3; do echo line $i; done", {
    onStdout: (data) => process.stdout.write(data),
  });

  // Files are written and read without a shell. Each command finds the files of the earlier ones.
  await vm.writeFile("/home/user/add.py", "import sys\nprint(sum(map(int, sys.argv[1:])))\n");
  await vm.exec("python3 add.py 20 22 > sum.txt");
  console.log(
    "sum:",
    Buffer.from(await vm.readFile("/home/user/sum.txt"))
      .toString()
      .trim(),
  );
} finally {
  await vm.dispose();
}
