"use strict";
// With the host's network more is in reach; everything that programs do not need to use the network stays refused.

const { python } = require("../fixture/guest-programs");
const { victim } = require("../fixture/victim");

const attacked = victim({ network: "host" });

test("the host's network is used, and not changed, listened in on or spoken for", async () => {
  const lines = await python(
    attacked.vm,
    `
import fcntl, struct
for family, kind, protocol in ((17, 3, 0x300), (17, 2, 0x300), (2, 3, 1), (2, 3, 255), (10, 3, 58), (40, 1, 0), (38, 5, 0), (31, 3, 1), (16, 3, 6), (16, 3, 9), (16, 3, 12), (16, 3, 16)):
    attempt("socket", socket.socket, family, kind, protocol)
def netlink(kind, body):
    s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    s.sendto(struct.pack("=IHHII", 16 + len(body), kind, 5, 1, 0) + body, (0, 0))
    error = struct.unpack("=i", s.recv(4096)[16:20])[0]
    if error: raise OSError(-error, "")
attempt("address", netlink, 20, struct.pack("=BBBBI", 2, 32, 0, 0, 1) + struct.pack("=HH4s", 8, 2, bytes([203, 0, 113, 1])))
attempt("neighbour", netlink, 28, struct.pack("=BBHiHBB", 2, 0, 0, 1, 128, 0, 0))
attempt("interface", fcntl.ioctl, socket.socket(), 0x8914, struct.pack("16sH22x", b"no-such-device", 0))
def option(level, name, value): socket.socket().setsockopt(level, name, value)
attempt("mark", option, socket.SOL_SOCKET, 36, 1)
attempt("transparent", option, socket.IPPROTO_IP, 19, 1)
attempt("debug", option, socket.SOL_SOCKET, socket.SO_DEBUG, 1)
for name in ("ip_forward", "conf/all/accept_redirects", "ip_local_port_range"):
    attempt("setting", os.open, "/proc/sys/net/ipv4/" + name, os.O_WRONLY)`,
  );
  expect(lines).toHaveLength(21);
  for (const line of lines) expect(line).toMatch(/ (EPERM|EACCES|EAFNOSUPPORT|EPROTONOSUPPORT|ENODEV)$/);
});

test("no process outside is seen or signalled under the host's network", async () => {
  const lines = await python(
    attacked.vm,
    `
def signal_(number): os.kill(number, 0)
attempt("server", signal_, ${process.pid + 100000})
print(sorted(p for p in os.listdir("/proc") if p.isdigit()) == sorted({"1", str(os.getpid())}))`,
  );
  expect(lines).toEqual(["server ESRCH", "True"]);
});
