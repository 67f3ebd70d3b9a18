import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { open as openVm } from "./agent-vm.mjs";

const tar = promisify(execFile);
/** More than the trees and files of the metrics have. */
const MOST = 256 * 1024 * 1024;

/** Trees and files through a program inside: what one would do without the calls for them. */
export async function open() {
  const session = await openVm();
  const { vm } = session;
  const inside = async (command, options) => {
    const result = await vm.exec(command, { encoding: "buffer", maxOutputBytes: MOST, ...options });
    if (result.exitCode !== 0) throw new Error(Buffer.from(result.stderr).toString());
    return result.stdout;
  };
  return {
    ...session,
    async upload(from, name) {
      const { stdout } = await tar("tar", ["-c", "-C", from, "."], { encoding: "buffer", maxBuffer: MOST });
      await inside(`mkdir -p ${name} && tar -x -C ${name}`, { stdin: stdout });
    },
    async download(name, to) {
      const stdout = await inside(`tar -c -C ${name} .`);
      const extracting = tar("sh", ["-c", 'mkdir "$0" && tar -x -C "$0"', to]);
      extracting.child.stdin.end(stdout);
      await extracting;
    },
    async readInPieces(name) {
      let bytes = 0;
      await vm.exec(`cat ${name}`, { maxOutputBytes: 0, onStdout: (chunk) => (bytes += chunk.length) });
      return bytes;
    },
  };
}
