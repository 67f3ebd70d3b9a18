"use strict";
// Set-user-id and set-group-id files in host directories: a guest tries every call that sets a file's mode and every
// kind of path to a file, and changes these paths while init checks them.

const { execFileSync } = require("node:child_process");
const { AgentVm } = require("../..");
const { directoryForFile } = require("../fixture/directory");
const { compile, python } = require("../fixture/guest-programs");

/** Set-user-id files and directories, and set-group-id files, below a host directory. */
const setIds = (where) =>
  execFileSync("find", [where, "-perm", "/4000", "-o", "-perm", "/2000", "!", "-type", "d"], { encoding: "utf8" });

/** Fails if a set-id file is on the host, or if the VM no longer answers. */
async function unharmed(vm, host) {
  expect(setIds(host)).toBe("");
  expect(await vm.exec("echo alive")).toMatchObject({ stdout: "alive\n", exitCode: 0 });
}

/**
 * The VMs whose programs write to the host: the options of `create`, and the directory's path in the VM and on the
 * host.
 */
const LEVELS = {
  "a home on the host": () => {
    const host = directoryForFile();
    return { options: { home: host }, inside: "/home/user", host, own: "/tmp" };
  },
  "a writable mount": () => {
    const host = directoryForFile();
    const mounts = [{ path: "/mnt/shared", hostPath: host, readOnly: false }];
    return { options: { mounts }, inside: "/mnt/shared", host, own: "/home/user" };
  },
  "a home on the host, as root": () => {
    const host = directoryForFile();
    return { options: { home: host, user: "root" }, inside: "/home/user", host, own: "/tmp" };
  },
  "a VM without namespaces": () => ({ options: { isolation: "landlock" } }),
};

/**
 * System calls by number, bypassing the C library: the x86-64 numbers, where more such calls exist, or the arm64 ones.
 */
const NUMBERS = `
x86 = ${process.arch === "x64" ? "True" : "False"}
def call(number, *arguments):
    ctypes.set_errno(0)
    return "worked" if libc.syscall(number, *arguments) != -1 else errno.errorcode[ctypes.get_errno()]
FCHMOD, FCHMODAT, FCHMODAT2, OPENAT, MKNODAT, MKDIRAT = (91, 268, 452, 257, 259, 258) if x86 else (52, 53, 452, 56, 33, 34)
`;

describe.each(Object.keys(LEVELS))("in %s", (level) => {
  let vm, at;

  beforeAll(async () => {
    at = LEVELS[level]();
    vm = await AgentVm.create(at.options);
    if (at.host === undefined) {
      at.inside = (await vm.exec("pwd")).stdout.trim();
      at.host = at.inside;
      at.own = at.inside;
    }
  });

  afterEach(() => unharmed(vm, at.host));

  afterAll(() => vm.dispose());

  test("no call sets a set-id mode on a host file, or makes a host file with one", async () => {
    const lines = await python(
      vm,
      `${NUMBERS}
os.close(os.open("file", os.O_CREAT | os.O_RDWR, 0o755))
fd = os.open("file", os.O_RDWR)
cwd, here = -100, b"file"
for bits in (0o4755, 0o2755, 0o6755, 0o4000):
    calls = {
        "fchmod": (FCHMOD, fd, bits),
        "fchmodat": (FCHMODAT, cwd, here, bits),
        "fchmodat2": (FCHMODAT2, cwd, here, bits, 0),
        "openat": (OPENAT, cwd, b"new1", os.O_CREAT | os.O_WRONLY, bits),
        "openat of what is there": (OPENAT, cwd, here, os.O_CREAT | os.O_WRONLY, bits),
        "tmpfile": (OPENAT, cwd, b".", os.O_TMPFILE | os.O_WRONLY, bits),
        "mknodat": (MKNODAT, cwd, b"new2", 0o100000 | bits, 0),
        "mknodat of a FIFO": (MKNODAT, cwd, b"new2", 0o010000 | bits, 0),
    }
    if x86:
        calls |= {
            "chmod": (90, here, bits),
            "open": (2, b"new4", os.O_CREAT | os.O_WRONLY, bits),
            "creat": (85, b"new5", bits),
            "mknod": (133, b"new6", 0o100000 | bits, 0),
        }
    for name, arguments in calls.items():
        print(name, call(*arguments))
# The kernel takes none of these bits from mkdir.
print("mkdirat", call(MKDIRAT, cwd, b"made", 0o6755), oct(os.stat("made").st_mode & 0o7000))`,
      { cwd: at.inside },
    );
    expect(lines.length).toBeGreaterThan(32);
    expect(lines.pop()).toBe("mkdirat worked 0o0");
    expect(lines.filter((line) => !line.endsWith(" EPERM"))).toEqual([]);
  });

  test("no name of a host file gets a set-id mode: link, descriptor, /proc path, or a file without a name", async () => {
    const lines = await python(
      vm,
      `${NUMBERS}
own = os.open(${JSON.stringify(at.own)}, os.O_RDONLY)
os.close(os.open("file", os.O_CREAT | os.O_RDWR, 0o755))
host = os.getcwd().encode()
os.makedirs("directory/below", exist_ok=True)
os.chdir(own)
os.symlink(host + b"/file", b"link")
os.symlink(host, b"to-host")
os.symlink(b"to-host/file", b"twice")
fd = os.open(host + b"/file", os.O_RDWR)
path_fd = os.open(host + b"/file", os.O_PATH)
here = os.open(host, os.O_PATH)
for mode in (0o4755, 0o6755, 0o2755):
    names = {
        "a link": (FCHMODAT, own, b"link", mode),
        "a link through a link": (FCHMODAT, own, b"twice", mode),
        "a directory that is a link": (FCHMODAT, own, b"to-host/file", mode),
        "from a directory": (FCHMODAT, here, b"file", mode),
        "from below a directory": (FCHMODAT, here, b"directory/below/../../file", mode),
        "a descriptor without a path": (FCHMODAT2, fd, b"", mode, 0x1000),
        "a descriptor for its path": (FCHMODAT2, path_fd, b"", mode, 0x1000),
        "a descriptor in /proc": (FCHMODAT, -100, b"/proc/self/fd/%d" % fd, mode),
        "the same for its path": (FCHMODAT, -100, b"/proc/self/fd/%d" % path_fd, mode),
        "by the process's number": (FCHMODAT, -100, b"/proc/%d/fd/%d" % (os.getpid(), fd), mode),
        "by /dev/fd": (FCHMODAT, -100, b"/dev/fd/%d" % fd, mode),
        "through a directory in /proc": (FCHMODAT, -100, b"/proc/self/fd/%d/file" % here, mode),
        "through the root in /proc": (FCHMODAT, -100, b"/proc/self/root" + host + b"/file", mode),
        "not following links": (FCHMODAT2, here, b"file", mode, 0x100),
    }
    for name, arguments in names.items():
        print(name, call(*arguments))
    unnamed = os.open(host, os.O_TMPFILE | os.O_RDWR, 0o755)
    print("unnamed", call(FCHMOD, unnamed, mode))
    try: os.link(b"/proc/self/fd/%d" % unnamed, host + b"/named-%o" % mode, follow_symlinks=True)
    except OSError: pass
    os.close(os.open(host + b"/removed", os.O_CREAT | os.O_WRONLY, 0o755))
    removed = os.open(host + b"/removed", os.O_RDWR); os.unlink(host + b"/removed")
    print("removed", call(FCHMOD, removed, mode))
os.chdir(host)
os.mkfifo("fifo", 0o755)
print("a FIFO", call(FCHMODAT, -100, b"fifo", 0o4755))
print("a directory", call(FCHMODAT, -100, b"directory", 0o4755))`,
      { cwd: at.inside },
    );
    expect(lines.length).toBe(3 * 16 + 2);
    const answers = new Set(lines.map((line) => line.split(" ").at(-1)));
    // Magic links are not followed and, without namespaces, absolute links and links to /proc lead nowhere.
    for (const answer of answers) expect(answer).toMatch(/^(EPERM|ELOOP|EACCES|ENOENT)$/);
    expect(lines.filter((line) => line.endsWith("EPERM")).length).toBeGreaterThan(3 * 8);
  });

  test("no host file gets a set-id mode while names, arguments, descriptors and directories are exchanged", async () => {
    const program = await compile(vm, RACES, at.inside);
    await vm.exec(`mkdir -p ${at.own}/race ${at.inside}/raced`);
    // Without namespaces, every file is the host's, so only the kind of file can be exchanged.
    const names = at.own === at.inside ? [] : ["links", "string", "descriptor", "directory"];
    for (const race of [...names, "kinds"]) {
      const result = await vm.execFile(program, [race, `${at.own}/race`, `${at.inside}/raced`]);
      expect({ race, ...result }).toMatchObject({ race, stdout: "both\n", stderr: "" });
      expect(setIds(at.host)).toBe("");
    }
  });

  test("no host file gets a set-id mode from a bound socket, or from moving or linking a file with one", async () => {
    const lines = await python(
      vm,
      `
for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
    try:
        one = socket.socket(socket.AF_UNIX, kind)
        attempt("fchmod", os.fchmod, one.fileno(), 0o6777)
        one.bind(f"socket-{int(kind)}")
    except OSError as error: print("none", errno.errorcode[error.errno])
own = ${JSON.stringify(at.own)}
os.close(os.open(own + "/mine", os.O_CREAT | os.O_WRONLY, 0o755))
attempt("mine", os.chmod, own + "/mine", 0o6755)
if own != os.getcwd():
    attempt("link", os.link, own + "/mine", "linked")
    attempt("rename", os.rename, own + "/mine", "moved")
attempt("memory", os.fchmod, os.memfd_create("file"), 0o6755)
attempt("pipe", os.fchmod, os.pipe()[0], 0o6755)`,
      { cwd: at.inside },
    );
    const [none, own] = [at.options.isolation === "landlock", at.own !== at.inside];
    expect(lines).toEqual([
      ...(none ? ["none EAFNOSUPPORT", "none EAFNOSUPPORT"] : ["fchmod EPERM", "fchmod EPERM"]),
      ...(own ? ["mine worked", "link EXDEV", "rename EXDEV"] : ["mine EPERM"]),
      ...["memory EPERM", "pipe EPERM"],
    ]);
  });

  test("a flood of chmod calls from processes that are killed delays neither commands nor timeouts", async () => {
    const flood = "for i in 1 2 3 4; do while :; do chmod 6755 flood; done 2>/dev/null & done; sleep 30";
    const running = vm.exec(`touch flood; ${flood}`, { cwd: at.inside, timeout: 500 });
    for (let count = 0; count < 10; count++) {
      expect(await vm.exec("echo through")).toMatchObject({ stdout: "through\n" });
    }
    expect(await running).toMatchObject({ timedOut: true });
  });
});

/**
 * One thread exchanges the file that a call names, while another makes the call until 300 calls have succeeded and 300
 * have failed. Prints whether that happened within 100,000 calls.
 */
const RACES = `
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
static char own[4096], host[4096], text[4096];
static const char *race;
static volatile int over;
static int own_fd, host_fd;
static int is(const char *name) { return strcmp(race, name) == 0; }
static void *exchange(void *none) {
    for (unsigned turn = 0; !over; turn++) {
        const char *to = turn % 2 ? own : host;
        if (is("links")) {
            char link[4200]; snprintf(link, sizeof link, "%s/other", own);
            char name[4200]; snprintf(name, sizeof name, "%s/link", own);
            unlink(link); symlink(to, link); rename(link, name);
        } else if (is("string")) snprintf(text, sizeof text, "%s/file", to);
        else if (is("descriptor")) dup2(turn % 2 ? own_fd : host_fd, 100);
        else if (is("directory")) chdir(to);
        else {
            char one[4200], two[4200];
            snprintf(one, sizeof one, "%s/one", host); snprintf(two, sizeof two, "%s/two", host);
            renameat2(AT_FDCWD, one, AT_FDCWD, two, RENAME_EXCHANGE);
        }
    }
    return 0;
}
int main(int count, char **arguments) {
    race = arguments[1]; strcpy(own, arguments[2]); strcpy(host, arguments[3]);
    char name[4200];
    snprintf(name, sizeof name, "%s/file", own); own_fd = open(name, O_CREAT | O_RDWR, 0755);
    snprintf(name, sizeof name, "%s/file", host); host_fd = open(name, O_CREAT | O_RDWR, 0755);
    snprintf(name, sizeof name, "%s/one", host); mkdir(name, 0755);
    snprintf(name, sizeof name, "%s/two", host); close(open(name, O_CREAT | O_RDWR, 0755));
    snprintf(name, sizeof name, "%s/link/file", own);
    if (own_fd < 0 || host_fd < 0) { perror(own); return 1; }
    dup2(own_fd, 100);
    snprintf(text, sizeof text, "%s/file", own);
    pthread_t thread; pthread_create(&thread, 0, exchange, 0);
    int worked = 0, refused = 0;
    for (int turn = 0; turn < 100000 && (worked < 300 || refused < 300); turn++) {
        int result;
        if (is("links")) result = chmod(name, 06755);
        else if (is("string")) result = chmod(text, 06755);
        else if (is("descriptor")) result = fchmod(100, 06755);
        else if (is("directory")) result = chmod("file", 06755);
        else { char one[4200]; snprintf(one, sizeof one, "%s/one", host); result = chmod(one, 02755); }
        if (result == 0) worked++; else refused++;
    }
    over = 1; pthread_join(thread, 0);
    puts(worked < 300 || refused < 300 ? "one alone" : "both");
    return 0;
}`;
