// The client's half of copies of whole trees: an archive is made or written on the client's own machine.
import type { TransferOptions, TransferTotals } from "agent-vm";
import type { ArchiveBackend } from "#archives";
import { treesOf } from "#local-trees";

/** The calls of a handle about trees. Node.js on Linux only, with agent-vm's binary. A handle copies one tree at a time; more wait. */
export interface RemoteTrees {
  /** As `AgentVm.uploadDirectory`, from a directory of the client's machine. It keeps the actor awake. */
  uploadDirectory(hostPath: string, path: string, options?: TransferOptions): Promise<TransferTotals>;
  /**
   * As `AgentVm.downloadDirectory`, into a directory of the client's machine, with the user of this process. Whatever the actor
   * sends, nothing is made outside of `hostPath`. The bytes of the totals are without holes.
   */
  downloadDirectory(path: string, hostPath: string, options?: TransferOptions): Promise<TransferTotals>;
}

export function remoteTrees(archives: ArchiveBackend): RemoteTrees {
  return treesOf(archives);
}
