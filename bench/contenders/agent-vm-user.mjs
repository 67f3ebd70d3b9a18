// agent-vm as it is without options, beside what options add to it.
import { open as openVm } from "./agent-vm.mjs";

export const open = () => openVm();
