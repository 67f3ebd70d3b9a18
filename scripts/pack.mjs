// Makes the tarballs that `npm publish` would upload, from what `npm run build` built: the main package, and the package
// of each platform whose binaries are here. Option: --destination DIR, else dist-tarballs/.
import { copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { platforms } from "./platforms.mjs";
import { root, run, step } from "./step.mjs";

const { values: options } = parseArgs({ options: { destination: { type: "string" } } });
const built = platforms.filter(({ addon, init }) => [addon, init].every((file) => existsSync(join(root, file))));
if (built.length === 0) {
  console.error("Nothing to pack yet: run `npm run build` first.");
  process.exit(1);
}

const destination = options.destination ?? join(root, "dist-tarballs");
if (!options.destination) rmSync(destination, { recursive: true, force: true });
mkdirSync(destination, { recursive: true });
for (const { name, addon, init } of built) {
  const staged = mkdtempSync(join(tmpdir(), "agent-vm-pack-"));
  cpSync(join(root, "npm", name), staged, { recursive: true });
  for (const file of [addon, init, "LICENSE-APACHE", "LICENSE-MIT"]) copyFileSync(join(root, file), join(staged, file));
  const status = run("npm", ["pack", staged, "--pack-destination", destination]);
  rmSync(staged, { recursive: true });
  if (status !== 0) process.exit(status);
}
step("npm", ["pack", "--pack-destination", destination]);
