// The platforms that binaries are built for, with their names in Rust, in Node.js and in file names.
export const platforms = [
  { triple: "x86_64-unknown-linux-gnu", cpu: "x64", name: "linux-x64-gnu" },
  { triple: "aarch64-unknown-linux-gnu", cpu: "arm64", name: "linux-arm64-gnu" },
].map((platform) => ({
  ...platform,
  addon: `agent-vm.${platform.name}.node`,
  init: `agent-vm-init.${platform.name}`,
}));
