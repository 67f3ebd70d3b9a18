"use strict";
const { boot, output } = require("./fixture");

// Numbers on x86-64 and on arm64; those from 424 on are the same everywhere (syscalls(2)).
const REFUSED = {
  mount: [165, 40],
  umount2: [166, 39],
  pivot_root: [155, 41],
  chroot: [161, 51],
  setns: [308, 268],
  unshare: [272, 97],
  open_tree: [428],
  move_mount: [429],
  fsopen: [430],
  fsconfig: [431],
  fsmount: [432],
  fspick: [433],
  mount_setattr: [442],
  bpf: [321, 280],
  perf_event_open: [298, 241],
  userfaultfd: [323, 282],
  add_key: [248, 217],
  request_key: [249, 218],
  keyctl: [250, 219],
  open_by_handle_at: [304, 265],
  name_to_handle_at: [303, 264],
  init_module: [175, 105],
  finit_module: [313, 273],
  delete_module: [176, 106],
  kexec_load: [246, 104],
  kexec_file_load: [320, 294],
  reboot: [169, 142],
  swapon: [167, 224],
  swapoff: [168, 225],
  acct: [163, 89],
  quotactl: [179, 60],
  syslog: [103, 116],
  kcmp: [312, 272],
  sethostname: [170, 161],
  settimeofday: [164, 170],
  clock_settime: [227, 112],
  fanotify_init: [300, 262],
};
const ABSENT = {
  clone3: [435],
  openat2: [437],
  io_uring_setup: [425],
  io_uring_enter: [426],
  io_uring_register: [427],
};

const arch = { x64: 0, arm64: 1 }[process.arch];
const number = (numbers) => numbers[arch] ?? numbers[0];

/** Makes each call with zeros for arguments, and answers with the names of the errors. */
async function errorsOf(vm, calls) {
  const numbers = Object.fromEntries(Object.entries(calls).map(([name, list]) => [name, number(list)]));
  const script = `
import ctypes, errno, json, sys
libc = ctypes.CDLL(None, use_errno=True)
answers = {}
for name, number in json.load(sys.stdin).items():
    ctypes.set_errno(0)
    # One flag of unshare's that would otherwise succeed: a new user namespace.
    first = 0x10000000 if name == "unshare" else 0
    result = libc.syscall(number, first, 0, 0, 0, 0, 0)
    answers[name] = errno.errorcode.get(ctypes.get_errno(), "none") if result == -1 else "worked"
print(json.dumps(answers))`;
  const { stdout, stderr } = await vm.execFile("python3", ["-c", script], { stdin: JSON.stringify(numbers) });
  if (stderr !== "") throw new Error(stderr);
  return JSON.parse(stdout);
}

test("what an escape is made of is refused, whatever its arguments", async () => {
  const vm = await boot();
  const expected = Object.fromEntries(Object.keys(REFUSED).map((name) => [name, "EPERM"]));
  expect(await errorsOf(vm, REFUSED)).toEqual(expected);
});

test("what programs can do without is not there", async () => {
  const vm = await boot();
  const expected = Object.fromEntries(Object.keys(ABSENT).map((name) => [name, "ENOSYS"]));
  expect(await errorsOf(vm, ABSENT)).toEqual(expected);
});

test.each([
  ["unshare -Ur true"],
  ["unshare -m true"],
  ["unshare -n true"],
  ["unshare -p -f true"],
  ["mount -t tmpfs none /tmp"],
  ["mount --bind /tmp /home/user"],
  ["mount -o remount,rw /usr"],
  ["umount /proc"],
  ["nsenter -t 1 -m true"],
  ["chroot / true"],
])("`%s` fails", async (command) => {
  const vm = await boot();
  const { exitCode, stderr } = await vm.exec(command);
  expect(exitCode).toBeGreaterThan(0);
  expect(stderr).not.toBe("");
  expect(stderr).not.toContain("not found");
});

test("no namespace can be made by clone", async () => {
  const vm = await boot();
  const script = `
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
clone = ${process.arch === "x64" ? 56 : 220}
for flag in (0x10000000, 0x20000000, 0x00020000, 0x40000000, 0x04000000, 0x08000000, 0x02000000):
    assert libc.syscall(clone, flag | 17, 0, 0, 0, 0) == -1
    print(errno.errorcode[ctypes.get_errno()])`;
  expect((await vm.execFile("python3", ["-c", script])).stdout).toBe("EPERM\n".repeat(7));
});

test("compilers, pipelines, threads and a debugger of one's own children work all the same", async () => {
  const vm = await boot();
  const source = '#include <stdio.h>\nint main(void) { puts("compiled"); return 0; }\n';
  expect(await output(vm, "cat > a.c && gcc a.c -o a && ./a", { stdin: source })).toBe("compiled\n");
  const threads = "import threading; t = threading.Thread(target=print, args=('thread',)); t.start(); t.join()";
  expect((await vm.execFile("python3", ["-c", threads])).stdout).toBe("thread\n");
  expect(await output(vm, "seq 1000 | sort -rn | head -1; git init -q . && git status -s")).toContain("1000\n");
});
