"use strict";
// The VM's user at a level where the VM has the host's own root: programs read the VM's own tables of users and groups.
const fs = require("node:fs");
const { atLevel, boot, output } = require("../fixture/vm");

atLevel("landlock");

test("programs that look the user up find it", async () => {
  const vm = await boot();
  const home = (await output(vm, "echo $HOME")).trim();
  expect(
    await output(
      vm,
      "whoami; id -un; id -gn; id -nu 0; getent passwd user | cut -d: -f1,5-; getent group user | cut -d: -f1",
    ),
  ).toBe(`user\nuser\nuser\nroot\nuser:user:${home}:/bin/sh\nuser\n`);
  expect(
    await output(
      vm,
      "node -p 'const { username, homedir, uid } = os.userInfo(); [username, homedir, uid === process.getuid()].join()'",
    ),
  ).toBe(`user,${home},true\n`);
  expect(
    await output(
      vm,
      "python3 -c 'import os, pwd, getpass; print(pwd.getpwuid(os.getuid()).pw_name, os.path.expanduser(\"~user\"))'",
    ),
  ).toBe(`user ${home}\n`);
  expect(
    await output(
      vm,
      "perl -e 'print ((getpwuid($<))[0], \"\\n\")'; bash -c 'echo ~user'; touch f; ls -l f | cut -d\" \" -f3,4",
    ),
  ).toBe(`user\n${home}\nuser user\n`);
});

test("programs that need an entry for their user in the tables work", async () => {
  const vm = await boot();
  await output(vm, "ssh-keygen -q -t ed25519 -N '' -f key && grep -q ' user@' key.pub");
  expect(
    await output(vm, "git init -q r && cd r && git commit -q --allow-empty -m x && git log -1 --format='%an <%ae>'"),
  ).toBe("user <user@agent-vm>\n");
  await output(vm, "git config --global user.name Ada && git config --global user.email ada@example.com");
  expect(await output(vm, "cd r && git commit -q --allow-empty -m y && git log -1 --format='%an <%ae>'")).toBe(
    "Ada <ada@example.com>\n",
  );
});

test("the tables have the VM's user and no user of the host", async () => {
  const vm = await boot();
  const uid = (await output(vm, "id -u")).trim();
  const home = (await output(vm, "echo $HOME")).trim();
  const passwd = `user:x:${uid}:${(await output(vm, "id -g")).trim()}:user:${home}:/bin/sh\n`;
  expect(await output(vm, "cat /etc/passwd")).toBe(
    `${passwd}root:x:0:0:root:/root:/usr/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n`,
  );
  expect((await vm.execFile("cut", ["-d:", "-f1", "/etc/group"])).stdout).toBe("user\nroot\ntty\nnogroup\n");
  expect(await output(vm, "getent passwd | cut -d: -f1; grep -c : /etc/passwd; head -n 1 /etc/passwd")).toBe(
    `user\nroot\nnobody\n3\n${passwd}`,
  );
  expect((await vm.exec("getent passwd daemon")).exitCode).toBe(2);
});

test("each open has a position of its own, and nothing can be written", async () => {
  const vm = await boot();
  expect(
    await output(vm, "paste -d' ' /etc/passwd /etc/passwd | awk -F: 'NR == 1 { print ($0 ~ /^user:.* user:/) }'"),
  ).toBe("1\n");
  for (const command of [
    "echo x >> /etc/passwd",
    "dd if=/dev/zero of=/etc/passwd count=1",
    "truncate -s 0 /etc/group",
    "tee -a /etc/passwd < /dev/null",
  ]) {
    const { exitCode, stderr } = await vm.exec(command);
    expect([command, exitCode === 0, stderr]).toEqual([command, false, expect.stringContaining("Permission denied")]);
  }
  expect(await output(vm, "cat /etc/passwd | wc -l")).toBe("3\n");
});

test("no program takes the tables from another by changing their mode or times", async () => {
  const vm = await boot();
  // The environment is where the kernel put it, so init answers this open.
  const script = `
import ctypes, errno, os
libc = ctypes.CDLL(None)
libc.getenv.restype = ctypes.c_void_p
fd = libc.open(ctypes.c_void_p(libc.getenv(b"TABLE")), os.O_RDONLY)
before = os.fstat(fd)
for change in (lambda: os.fchmod(fd, 0), lambda: os.utime(fd, (1, 1))):
    try: change(); print("worked")
    except OSError as error: print(errno.errorcode[error.errno])
print(os.fstat(fd) == before)`;
  for (const TABLE of ["/etc/passwd", "/etc/group"]) {
    const { stdout, stderr } = await vm.execFile("python3", ["-c", script], { env: { TABLE } });
    expect([stdout, stderr]).toEqual(["EPERM\nEPERM\nTrue\n", ""]);
  }
  expect(await output(vm, "id -un; id -gn")).toBe("user\nuser\n");
});

test("no other file of the host becomes readable, by any way to name it", async () => {
  const vm = await boot();
  await output(vm, "ln -s /etc/passwd link; mkdir -p d/etc && echo own > d/etc/passwd");
  const paths = [
    "/etc/shadow",
    "/etc/../etc/passwd",
    "/etc//passwd",
    "/etc/passwd-",
    "link",
    "/etc/hostname",
    "/etc/gshadow",
  ];
  for (const path of paths.filter((one) => one === "link" || fs.existsSync(one))) {
    const { stdout, exitCode } = await vm.execFile("cat", [path]);
    expect([path, stdout, exitCode]).toEqual([path, "", 1]);
  }
  expect(await output(vm, "cd d && cat etc/passwd ./etc/passwd")).toBe("own\nown\n");
  // The server reads files as the VM's programs do, with its own calls.
  await expect(vm.readFile("/etc/passwd")).rejects.toMatchObject({ code: "EACCES" });
});

test("a path that changes while init reads it opens nothing that Landlock refuses", async () => {
  const vm = await boot();
  const source = `
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
static char *path;
static volatile int done;
static void *change(void *unused) {
  for (unsigned n = 0; !done; n++) {
    memcpy(path, n % 2 ? "/etc/passwd" : "/etc/shadow", 12);
  }
  return unused;
}
int main(int count, char **arguments) {
  path = arguments[1];
  pthread_t other;
  pthread_create(&other, NULL, change, NULL);
  int own = 0, refused = 0, foreign = 0;
  for (int n = 0; n < 2000; n++) {
    int fd = open(path, O_RDONLY);
    char text[6] = "";
    if (fd < 0) { refused++; continue; }
    if (read(fd, text, 5) == 5 && strcmp(text, "user:") == 0) own++; else foreign++;
    close(fd);
  }
  done = 1;
  pthread_join(other, NULL);
  printf("%d %d\\n", own + refused, foreign);
}`;
  await vm.writeFile(`${(await output(vm, "echo $HOME")).trim()}/race.c`, source);
  expect(await output(vm, "gcc -O1 -pthread -o race race.c && ./race /etc/xxxxxx")).toBe("2000 0\n");
});

test("programs at the limit of their descriptors get that error, and many at once all get an answer", async () => {
  const vm = await boot({ limits: { openFiles: 64 } });
  const script = `
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
libc.getpwuid.restype = ctypes.c_void_p
held = [os.dup(0)]
libc.getpwuid(os.getuid())
try:
    while True: held.append(os.dup(0))
except OSError: pass
ctypes.set_errno(0)
print(libc.getpwuid(os.getuid()), errno.errorcode[ctypes.get_errno()])
os.close(held.pop())
print(libc.getpwuid(os.getuid()) is not None)`;
  expect((await vm.execFile("python3", ["-c", script])).stdout).toBe("None EMFILE\nTrue\n");
  expect(
    await output(
      vm,
      "for n in $(seq 40); do (for m in 1 2 3 4 5; do cat /etc/passwd /etc/group; done) & done | sort | uniq -c | awk '{ print $1 }' | sort -u; wait",
    ),
  ).toBe("200\n");
});
