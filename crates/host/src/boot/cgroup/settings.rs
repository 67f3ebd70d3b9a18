//! The settings by which each command's directory repeats the VM's limits: most runtimes look for a limit only there.

use agent_vm_protocol::message::CgroupSetting;

use super::VmCgroups;
use super::controller::Version;
use super::quota::{PERIOD_US, quota_us};

impl VmCgroups {
    /// The settings of each command's directory, if programs see it: the VM's own limits.
    pub fn family_settings(&self) -> Vec<CgroupSetting> {
        self.settings(Version::Two)
    }

    /// The same for each command's directory in the memory hierarchy of version 1.
    pub fn memory_settings(&self) -> Vec<CgroupSetting> {
        self.settings(Version::One)
    }

    fn settings(&self, version: Version) -> Vec<CgroupSetting> {
        let setting = |file: &str, value: String| CgroupSetting {
            file: file.into(),
            value,
        };
        let is_seen = |by: Option<Version>| self.shows && by == Some(version);
        let memory = self.limits.memory_bytes.filter(|_| is_seen(self.memory_by));
        let memory = memory.map(|bytes| match version {
            Version::One => setting("memory.limit_in_bytes", bytes.to_string()),
            Version::Two => setting("memory.max", bytes.to_string()),
        });
        // In version 1 the whole VM is in one directory.
        let cpus = self
            .limits
            .cpus
            .filter(|_| version == Version::Two && is_seen(self.cpu_by));
        let cpus = cpus.map(|cpus| setting("cpu.max", format!("{} {PERIOD_US}", quota_us(cpus))));
        memory.into_iter().chain(cpus).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::options::Resources;

    fn settings(by: Version, shows: bool) -> [Vec<String>; 2] {
        let cgroups = VmCgroups {
            shows,
            memory_by: Some(by),
            cpu_by: Some(by),
            limits: Resources {
                memory_bytes: Some(1 << 26),
                cpus: Some(0.5),
            },
            ..VmCgroups::default()
        };
        [cgroups.family_settings(), cgroups.memory_settings()].map(|settings| {
            let text = |setting: CgroupSetting| format!("{}: {}", setting.file, setting.value);
            settings.into_iter().map(text).collect()
        })
    }

    #[test]
    fn each_command_repeats_the_limits_that_its_own_directory_can_have() {
        let two = vec![
            "memory.max: 67108864".to_owned(),
            "cpu.max: 50000 100000".to_owned(),
        ];
        assert_eq!(settings(Version::Two, true), [two, vec![]]);
        let one = vec!["memory.limit_in_bytes: 67108864".to_owned()];
        assert_eq!(settings(Version::One, true), [vec![], one]);
        assert_eq!(settings(Version::Two, false), [const { Vec::<String>::new() }; 2]);
    }
}
