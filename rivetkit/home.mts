// The folders that homes are kept in while their actors sleep.
import { chmod, mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";

/** The folder that is the actor's /home/user, made on first use. Nobody else on the server may look into it. */
export async function homeOf(directory: string, actorId: string): Promise<string> {
  const home = folderOf(directory, actorId);
  await mkdir(home, { recursive: true, mode: 0o700 });
  return home;
}

/** A destroyed actor's home goes with it. Its VM is gone by then: nothing in it moves any more. */
export async function removeHome(directory: string, actorId: string): Promise<void> {
  const home = folderOf(directory, actorId);
  try {
    await rm(home, { recursive: true, force: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EACCES") throw error;
    // The VM's user may lock folders, and an ordinary user's server then stands before them.
    await unlock(home);
    await rm(home, { recursive: true, force: true });
  }
}

/** One folder at a time: its depth and width are the guest's. */
async function unlock(top: string): Promise<void> {
  const folders = [top];
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    await chmod(folder, 0o700);
    // Links are no directories here, and are not followed.
    for (const entry of await readdir(folder, { withFileTypes: true })) {
      if (entry.isDirectory()) folders.push(join(folder, entry.name));
    }
  }
}

function folderOf(directory: string, actorId: string): string {
  // rivetkit makes the ids; one that could lead elsewhere is none of them.
  if (!/^[A-Za-z0-9_-]+$/.test(actorId)) throw new Error(`Not an actor's id: ${actorId}`);
  return join(directory, actorId);
}
