//! What a VM uses, for JavaScript.

use agent_vm_host::Usage;
use serde_json::json;

use crate::value::Value;

/// As `Usage` in lib/wire.js: the members of `VmStats` that the host knows. What is not counted is missing.
pub fn usage(usage: &Usage) -> Value {
    let mut value = json!({
        "processes": usage.processes,
        "peakProcesses": usage.peak_processes,
        "cpuMs": usage.cpu_ms,
        "memoryBytes": usage.memory_bytes,
        "peakMemoryBytes": usage.peak_memory_bytes,
        "bytesIn": usage.io.bytes_in,
        "bytesOut": usage.io.bytes_out,
    });
    let mut add = |name: &str, member| {
        if let Some(members) = value.as_object_mut() {
            members.insert(name.into(), member);
        }
    };
    if usage.io.outputs_cut > 0 {
        add("outputsCut", usage.io.outputs_cut.into());
    }
    if let Some(memory) = usage.memory {
        let mut found = json!({ "usedBytes": memory.used_bytes, "limitBytes": memory.limit_bytes });
        if let (Some(peak), Some(members)) = (memory.peak_bytes, found.as_object_mut()) {
            members.insert("peakBytes".into(), peak.into());
        }
        add("memory", found);
    }
    if let Some(cpu) = usage.cpu {
        let found = json!({
            "limit": cpu.limit,
            "periods": cpu.periods,
            "throttledPeriods": cpu.throttled_periods,
            "throttledMs": cpu.throttled_us / 1000,
        });
        add("cpu", found);
    }
    if let Some(disk) = usage.disk {
        let found = json!({
            "usedBytes": disk.bytes.saturating_sub(disk.free_bytes),
            "freeBytes": disk.free_bytes,
            "usedFiles": disk.files.saturating_sub(disk.free_files),
            "freeFiles": disk.free_files,
        });
        add("disk", found);
    }
    if let Some(network) = usage.network {
        let found = json!({ "sentBytes": network.sent_bytes, "receivedBytes": network.received_bytes });
        add("network", found);
    }
    Value::json(&value)
}
