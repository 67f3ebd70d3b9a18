// Copies of trees between this machine and an actor's VM, for rivetkit/.
import type { TransferTotals } from "agent-vm";
import type { ArchiveBackend } from "./archives";

export function treesOf(actor: ArchiveBackend): {
  uploadDirectory(...args: unknown[]): Promise<TransferTotals>;
  downloadDirectory(...args: unknown[]): Promise<TransferTotals>;
};
