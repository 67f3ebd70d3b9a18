//! Ordinary programs work under the filter as they do without it.
//!
//! Needs bash, python3, node, gcc, make, git, tmux, strace and gdb on the PATH.
#![allow(unsafe_code, reason = "the filter is installed between fork and exec")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may end with a panic")]

#[path = "../src/seccomp/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "the filter of VMs without namespaces is not what these programs run under"
)]
mod seccomp;

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// The output of `script`, run by `program` under the filter.
fn output(program: &str, flag: &str, script: &str) -> String {
    let mut command = Command::new(program);
    command.args([flag, script]).env("LC_ALL", "C.UTF-8");
    // SAFETY: only two system calls are made between fork and exec.
    unsafe {
        command.pre_exec(|| {
            if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 {
                return Err(io::Error::last_os_error());
            }
            seccomp::confine(0x0123_4567_89ab_cdef, seccomp::SetIds::Free, false).map(drop)
        });
    }
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let stdout = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{program}: {}\n{stdout}\n{stderr}",
        output.status
    );
    stdout.trim_end().to_owned()
}

fn bash(script: &str) -> String {
    output(
        "bash",
        "-c",
        &format!("set -e; work=$(mktemp -d); trap 'rm -rf $work' EXIT; cd $work\n{script}"),
    )
}

#[test]
fn bash_runs_pipelines_and_jobs() {
    assert_eq!(
        bash("sleep 0.01 & wait $!; echo a b | tr a-z A-Z; cat <(echo sub)"),
        "A B\nsub"
    );
}

#[test]
fn python_runs_processes_threads_and_asyncio() {
    let script = "
import asyncio, multiprocessing, socket, subprocess, threading
def main():
    with multiprocessing.get_context('spawn').Pool(2) as pool:
        print(sum(pool.map(abs, range(10))))
    with multiprocessing.get_context('fork').Pool(2) as pool:
        print(sum(pool.map(abs, range(10))))
    thread = threading.Thread(target=lambda: print('thread')); thread.start(); thread.join()
    async def child():
        process = await asyncio.create_subprocess_exec('echo', 'async', stdout=subprocess.PIPE)
        print((await process.communicate())[0].decode().strip())
    asyncio.run(child())
    socket.create_server(('127.0.0.1', 0)).close()
    print(len(socket.if_nameindex()) > 0)
main()
";
    assert_eq!(output("python3", "-c", script), "45\n45\nthread\nasync\nTrue");
}

#[test]
fn node_runs_workers_children_and_the_network() {
    let script = "
const { Worker } = require('worker_threads'), os = require('os'), fs = require('fs'), net = require('net');
const { execFileSync } = require('child_process');
console.log(execFileSync('echo', ['child']).toString().trim());
console.log(typeof os.networkInterfaces());
fs.mkdtempSync(os.tmpdir() + '/node-'); 
new Worker('1', { eval: true }).on('exit', (code) => {
  console.log('worker', code);
  const server = net.createServer((socket) => socket.end('tcp')).listen(0, '127.0.0.1', () =>
    net.connect(server.address().port, '127.0.0.1').on('data', (data) => console.log(String(data))).on('close', () => server.close()));
});
";
    assert_eq!(output("node", "-e", script), "child\nobject\nworker 0\ntcp");
}

#[test]
fn gcc_and_make_build_a_threaded_program() {
    let script = r#"
cat > a.c <<'C'
#include <pthread.h>
#include <stdio.h>
static void *run(void *word) { puts(word); return 0; }
int main(void) { pthread_t t; pthread_create(&t, 0, run, "thread"); return pthread_join(t, 0); }
C
printf 'all: a.out b.out\n%%.out: a.c\n\t@gcc -pthread -o $@ a.c\n' > Makefile
make -s -j2; ./a.out; ./b.out"#;
    assert_eq!(bash(script), "thread\nthread");
}

#[test]
fn git_commits_and_clones() {
    let script = "
export HOME=$PWD GIT_CONFIG_NOSYSTEM=1
git init -q -b main a; cd a; echo x > x; chmod +x x; git add x
git -c user.name=u -c user.email=u@e commit -q -m one; cd ..
git clone -q a b; git -C b log --format=%s; git -C b gc -q; tar cf - b | tar xf - -C a; test -x a/b/x";
    assert_eq!(bash(script), "one");
}

#[test]
fn tmux_opens_a_terminal() {
    let script = "
export TERM=xterm; unset TMUX
tmux -S $work/socket -f /dev/null new-session -d 'echo inside > out'
for i in $(seq 100); do test -s out && break; sleep 0.05; done; cat out";
    assert_eq!(bash(script), "inside");
}

#[test]
fn debuggers_trace_their_own_children() {
    let script = r#"
strace -f -e trace=execve -o log sh -c 'true; /bin/true'; grep -q 'execve("/bin/true"' log
echo 'int main(void) { return 7; }' > a.c; gcc -g a.c
gdb -nx -q -batch -iex 'set debuginfod enabled off' -ex 'break main' -ex run -ex 'print 6*7' -ex continue ./a.out 2>&1 </dev/null | grep -oE '^\$1 = 42|exited with code 07'"#;
    assert_eq!(bash(script), "$1 = 42\nexited with code 07");
}
