"""Runs a command as in a container: under a seccomp filter like Docker's default one, which forbids namespaces.

container.py PROFILE COMMAND...: PROFILE is "docker", "docker-without-landlock", or "docker-with-landlock-5" (as a kernel
whose Landlock has ABI 5 would answer).
"""

import ctypes
import fcntl
import os
import platform
import socket
import struct
import sys

libc = ctypes.CDLL(None, use_errno=True)
machine = {"x86_64": 0, "aarch64": 1}[platform.machine()]
AUDIT_ARCH = [0xC000003E, 0xC00000B7][machine]
EPERM, ENOSYS = 1, 38
ALLOW, ERRNO, NOTIFY = 0x7FFF0000, 0x00050000, 0x7FC00000
NAMESPACES = 0x7E020000
LANDLOCK_CREATE = 444
CLONE = [56, 220][machine]
REFUSED = {
    "clone3": ([435, 435], ENOSYS),
    "unshare": ([272, 97], EPERM),
    "setns": ([308, 268], EPERM),
    "mount": ([165, 40], EPERM),
    "umount2": ([166, 39], EPERM),
    "pivot_root": ([155, 41], EPERM),
    "open_tree": ([428, 428], EPERM),
    "move_mount": ([429, 429], EPERM),
    "fsopen": ([430, 430], EPERM),
    "fsmount": ([432, 432], EPERM),
    "mount_setattr": ([442, 442], EPERM),
    "keyctl": ([250, 219], EPERM),
    "bpf": ([321, 280], EPERM),
}


def instruction(code, jt, jf, k):
    return struct.pack("HBBI", code, jt, jf, k)


def install(instructions, flags):
    program = b"".join(instructions)
    buffer = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxQ", len(instructions), ctypes.addressof(buffer))
    result = libc.syscall([317, 277][machine], 1, flags, ctypes.c_char_p(header))
    if result < 0:
        raise OSError(ctypes.get_errno(), "seccomp")
    return result


def docker(refused):
    program = [instruction(0x20, 0, 0, 0)]
    for number, errno in refused:
        program += [instruction(0x15, 0, 1, number), instruction(0x06, 0, 0, ERRNO | errno)]
    # clone: its first argument's namespace flags.
    program += [
        instruction(0x15, 1, 0, CLONE),
        instruction(0x06, 0, 0, ALLOW),
        instruction(0x20, 0, 0, 16),
        instruction(0x45, 0, 1, NAMESPACES),
        instruction(0x06, 0, 0, ERRNO | EPERM),
        instruction(0x06, 0, 0, ALLOW),
    ]
    return program


def ask_about_landlock():
    """Has the kernel ask about landlock_create_ruleset; returns where."""
    return install(
        [
            instruction(0x20, 0, 0, 0),
            instruction(0x15, 0, 1, LANDLOCK_CREATE),
            instruction(0x06, 0, 0, NOTIFY),
            instruction(0x06, 0, 0, ALLOW),
        ],
        1 << 3,
    )


def answer(listener):
    """Answers for ever: the version is 5, and everything else goes on."""
    while True:
        request = bytearray(80)
        try:
            fcntl.ioctl(listener, 0xC0502100, request)
        except OSError:
            continue
        identity, _, _, _, _, _, _, _, flags = struct.unpack_from("QIIiIQQQQ", request)
        response = struct.pack("QqiI", identity, 5, 0, 0) if flags == 1 else struct.pack("QqiI", identity, 0, 0, 1)
        try:
            fcntl.ioctl(listener, 0xC0182101, response)
        except OSError:
            continue


def main():
    profile, command = sys.argv[1], sys.argv[2:]
    refused = [(numbers[machine], errno) for numbers, errno in REFUSED.values()]
    if profile == "docker-without-landlock":
        refused.append((LANDLOCK_CREATE, ENOSYS))
    libc.prctl(38, 1, 0, 0, 0)
    if profile == "docker-with-landlock-5":
        ours, theirs = socket.socketpair()
        if os.fork() == 0:
            # Goes when the command and all it started are gone, whose filter it serves.
            libc.prctl(1, 9, 0, 0, 0)
            _, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
            answer(descriptors[0])
        listener = ask_about_landlock()
        socket.send_fds(theirs, [b"x"], [listener])
        os.close(listener)
    install(docker(refused), 0)
    os.execv(command[0], command)


main()
