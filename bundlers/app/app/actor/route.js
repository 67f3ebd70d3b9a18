import { agentOs } from "agent-vm/rivetkit";

export const dynamic = "force-dynamic";

export function GET() {
  return new Response(typeof agentOs);
}
