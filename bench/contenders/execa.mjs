import { execa } from "execa";

export async function open() {
  return {
    async exec(command, { maxBytes } = {}) {
      const options = { shell: true, stripFinalNewline: false };
      return (await execa(command, maxBytes ? { ...options, maxBuffer: maxBytes } : options)).stdout;
    },
    run: async (file, args) => (await execa(file, args)).exitCode,
    async close() {},
  };
}
