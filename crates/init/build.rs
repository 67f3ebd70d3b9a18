//! Compiles the seccomp policy for the target into the programs that `src/seccomp/mod.rs` includes.

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

#[path = "seccomp/compile.rs"]
mod compile;
#[path = "seccomp/emulated_root.rs"]
mod emulated_root;
#[path = "seccomp/policy/mod.rs"]
mod policy;
#[path = "seccomp/shared_host.rs"]
mod shared_host;

use policy::modes::Modes;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=seccomp");

    // Not `cfg!(target_arch)`: a build script runs on the machine that builds.
    let target = env::var("CARGO_CFG_TARGET_ARCH")?;
    let machine = policy::calls::Machine::named(&target).ok_or_else(|| {
        format!("no seccomp policy for {target}; seccomp/policy/mod.rs has x86_64 and aarch64")
    })?;

    let mut programs = vec![(
        "seccomp_filter_emulated_root.rs",
        compile::compile_addition(machine, &emulated_root::CALLS, policy::errno::SUCCESS)?,
    )];
    for (name, table) in [
        ("seccomp_filter_free.rs", policy::for_all(Modes::Free)),
        ("seccomp_filter_asked.rs", policy::for_all(Modes::Asked)),
        (
            "seccomp_filter_asked_elsewhere.rs",
            policy::for_all(Modes::AskedElsewhere),
        ),
        ("seccomp_filter_shared_host.rs", shared_host::table()),
    ] {
        programs.push((name, compile::compile(machine, &table)?));
    }

    let directory = env::var("OUT_DIR")?;
    for (name, program) in programs {
        let mut source = String::from("[\n");
        for seccompiler::sock_filter { code, jt, jf, k } in program {
            writeln!(
                source,
                "    libc::sock_filter {{ code: {code}, jt: {jt}, jf: {jf}, k: {k} }},"
            )?;
        }
        source.push(']');
        fs::write(Path::new(&directory).join(name), source)?;
    }
    Ok(())
}
