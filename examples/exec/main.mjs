// Commands in a VM: their output, input, exit codes, time limits and files.
// Run it with `node examples/exec/main.mjs`.
import { AgentVm } from "agent-vm";

const vm = await AgentVm.create({ env: { GREETING: "hello" } });
try {
  const { stdout, exitCode } = await vm.exec('echo "$GREETING from $(id -un)@$(hostname)"');
  console.log(exitCode, stdout.trimEnd());

  // A command that fails is a result. What rejects is a call that could not be made.
  const failed = await vm.exec("ls /root/.ssh");
  console.log(failed.exitCode, failed.stderr.trimEnd());

  // execFile has no shell in between: the arguments arrive as they are.
  const counted = await vm.execFile("wc", ["-w"], { stdin: "one two three\n" });
  console.log("words:", counted.stdout.trim());

  // What takes too long is killed, with everything that it started. What it had printed is there.
  const late = await vm.exec("echo begun; sleep 600 & sleep 600", { timeout: 500 });
  console.log({ timedOut: late.timedOut, exitCode: late.exitCode, stdout: late.stdout });

  // Output as it comes, rather than at the end.
  await vm.exec("for i in 1 2 3; do echo line $i; done", {
    onStdout: (data) => process.stdout.write(data),
  });

  // Files go in and out without a shell. Each command finds what the last one left.
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
