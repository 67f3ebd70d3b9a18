//! Probes what this host can isolate, and says how to get what is missing.

use agent_vm_protocol::message::Isolation;
use nix::sys::utsname::uname;

use crate::boot::{self, Controller, Hindrance, Options, Remedy as _, ShowsOwners, Version};

/// One probe.
#[derive(Debug, Clone)]
pub struct DoctorCheck {
    /// The feature that was probed.
    pub name: &'static str,
    /// Whether it works.
    pub ok: bool,
    /// The finding.
    pub detail: String,
    /// How to make it work.
    pub remedy: Option<String>,
}

/// The result of all probes.
#[derive(Debug, Clone)]
pub struct Diagnosis {
    /// The strongest level that works here.
    pub level: Isolation,
    /// The probes.
    pub checks: Vec<DoctorCheck>,
}

/// Probes the host. Takes some milliseconds, because it boots VMs.
#[must_use]
pub fn diagnose(options: &Options) -> Diagnosis {
    let mut checks = vec![
        kernel(),
        user_namespaces(),
        ids(),
        id_range(options),
        cgroup(),
        limit("memory limit", "limits.memoryBytes", Controller::Memory),
        limit("cpu limit", "limits.cpus", Controller::Cpu),
    ];
    let mut level = Isolation::None;
    // The strongest level comes last.
    for (isolation, name, works) in [
        (Isolation::Landlock, "landlock", "a VM boots behind Landlock"),
        (
            Isolation::Namespaces,
            "namespaces",
            "a VM boots in namespaces of its own",
        ),
    ] {
        let booted = boot::boot_anew(&Options {
            isolation,
            ..options.clone()
        });
        checks.push(match booted {
            Ok(_) => {
                level = isolation;
                ok(name, works.into())
            }
            Err(error) => {
                let (cause, remedy) = error.into_diagnosis();
                DoctorCheck {
                    name,
                    ok: false,
                    detail: cause,
                    remedy: Some(remedy),
                }
            }
        });
    }
    checks.push(host_directories(level));
    Diagnosis { level, checks }
}

fn ok(name: &'static str, detail: String) -> DoctorCheck {
    DoctorCheck {
        name,
        ok: true,
        detail,
        remedy: None,
    }
}

fn kernel() -> DoctorCheck {
    // Not read from /proc/sys, which a unit's `ProcSubset=pid` hides.
    let release = uname().map_or_else(
        |_| String::new(),
        |system| system.release().to_string_lossy().into_owned(),
    );
    let mut numbers = release
        .split(['.', '-'])
        .map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    // mount_setattr(2) came with 5.12, cgroup.kill with 5.14.
    if version >= (5, 12) {
        ok("kernel", format!("Linux {release}"))
    } else {
        DoctorCheck {
            name: "kernel",
            ok: false,
            detail: format!("Linux {release}; 5.12 or later is needed"),
            remedy: Some(
                "Run on a kernel of 5.12 or later; 5.14 or later to name commands by cgroups".into(),
            ),
        }
    }
}

fn user_namespaces() -> DoctorCheck {
    match Hindrance::find() {
        None => ok("user namespaces", "no setting of the kernel forbids them".into()),
        Some(hindrance) => DoctorCheck {
            name: "user namespaces",
            ok: false,
            detail: hindrance.to_string(),
            remedy: Some(hindrance.remedy()),
        },
    }
}

fn ids() -> DoctorCheck {
    let detail = if boot::is_root() {
        "the server is root: each VM's user is an id of its own that no user has"
    } else {
        "the server is an ordinary user: inside, its own id is the VM's user"
    };
    ok("ids", detail.into())
}

fn id_range(options: &Options) -> DoctorCheck {
    let name = "id range";
    match boot::probe_block(options) {
        Ok(()) if boot::is_root() => ok(
            name,
            "65,536 ids that nobody on this host has can be leased".into(),
        ),
        Ok(()) => ok(
            name,
            "newuidmap and newgidmap map 65,536 ids of /etc/subuid and /etc/subgid".into(),
        ),
        Err(error) => {
            let (cause, remedy) = error.into_diagnosis();
            DoctorCheck {
                name,
                ok: false,
                detail: cause,
                remedy: Some(remedy),
            }
        }
    }
}

fn cgroup() -> DoctorCheck {
    if boot::names_commands() {
        return ok(
            "cgroup",
            "each command has a cgroup v2 of its own: kill takes all of it".into(),
        );
    }
    DoctorCheck {
        name: "cgroup",
        ok: false,
        detail: "no cgroup v2 to make directories in: kill looks through all processes of the VM for what a command started"
            .into(),
        remedy: Some(
            "Start the server in a delegated cgroup: `systemd-run --user --scope -p Delegate=yes node server.js`, or \
             `Delegate=yes` in its unit"
                .into(),
        ),
    }
}

fn host_directories(level: Isolation) -> DoctorCheck {
    let name = "host directories";
    let missing = |detail, remedy| DoctorCheck {
        name,
        ok: false,
        detail,
        remedy: Some(remedy),
    };
    if level != Isolation::Namespaces {
        return missing(
            "`home`, `mounts` and `rootfs` take isolation \"namespaces\"".into(),
            "Get namespaces first, as said above".into(),
        );
    }
    match boot::probe_directories() {
        Ok(ShowsOwners::Own) => ok(
            name,
            "`home`, `mounts` and `rootfs` show directories, of which the server's own user is the VM's".into(),
        ),
        Ok(ShowsOwners::Mapped) => ok(
            name,
            "`home`, `mounts` and `rootfs` show directories, with their owner as the VM's user".into(),
        ),
        Ok(ShowsOwners::NotOfTheRoot) => ok(
            name,
            "`home`, `mounts` and `rootfs` show directories of file systems that can map owners, which that of / cannot: \
             use a volume"
                .into(),
        ),
        Err(lack) => missing(
            format!("`home`, `mounts` and `rootfs` are refused: {lack}"),
            lack.remedy(),
        ),
    }
}

fn limit(name: &'static str, option: &str, controller: Controller) -> DoctorCheck {
    match boot::serves(controller) {
        Ok(Version::Two) => ok(name, format!("{option} is held by a controller of cgroup v2")),
        Ok(Version::One) => ok(name, format!("{option} is held by a controller of cgroup v1")),
        Err(unavailable) => DoctorCheck {
            name,
            ok: false,
            detail: unavailable.to_string(),
            remedy: Some(unavailable.remedy()),
        },
    }
}
