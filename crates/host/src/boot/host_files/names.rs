//! The host's files that are shown although no package owns them, and those that are never shown.

use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use crate::boot::own_paths::{AGENT_VM, HOST_FILES, NODE};

/// Shown whatever their origin and content: programs need them, and they reveal nothing about the host's users, hosts
/// or secrets. A name that ends with `*` matches all names with that beginning.
const CHOSEN: [&str; 19] = [
    // The directories in which the loader looks for libraries.
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/ld-musl-*",
    // The certificate authorities that TLS trusts, including a company's own.
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/ca-certificates",
    "/etc/pki/tls",
    "/etc/pki/ca-trust",
    "/etc/pki/java",
    // Plain data on every host.
    "/etc/terminfo",
    "/etc/localtime",
    "/etc/timezone",
    "/etc/mime.types",
    "/etc/magic",
    "/etc/fonts",
    "/etc/perl",
    "/etc/inputrc",
    "/etc/debian_version",
];

/// Files that programs and package scripts generate from what packages install: no package owns them, and no person
/// writes them.
const GENERATED: [&str; 29] = [
    // update-alternatives: the programs that generic names refer to.
    "/etc/alternatives",
    // python3's compilation settings, and Java's settings, whose copy of a trust store is generated.
    "/etc/python3",
    "/etc/java-*",
    // update-xmlcatalog and update-catalog: where xmllint, xsltproc and jade find document types.
    "/etc/xml",
    "/etc/sgml",
    "/var/lib/xml-core",
    "/var/lib/sgml-base",
    // libpaper and R: the paper size, without which R loads no graphics.
    "/etc/papersize",
    // update-texmf, mktexlsr, updmap, fmtutil: TeX's configuration, and its index of files, fonts and formats.
    "/etc/texmf/web2c",
    "/etc/texmf/tex",
    "/var/lib/texmf",
    // update-dictcommon-*: compiled dictionaries of aspell and ispell, and which program uses which.
    "/etc/dictionaries-common",
    "/var/lib/aspell",
    "/var/lib/ispell",
    "/var/lib/dictionaries-common",
    "/var/cache/dictionaries-common",
    // Emacs packages: which package is compiled for which Emacs.
    "/var/lib/emacsen-common",
    // update-fonts-* and the successors of defoma: fonts that Ghostscript finds, and fontconfig's cache of all fonts.
    "/var/lib/ghostscript",
    "/var/cache/fontconfig",
    // mandb: the index that `man -k` and whatis read.
    "/var/cache/man",
    // dpkg: the installed packages and their files. /usr reveals the same.
    "/var/lib/dpkg/status",
    "/var/lib/dpkg/info",
    "/var/lib/dpkg/alternatives",
    "/var/lib/dpkg/arch",
    "/var/lib/dpkg/diversions",
    // Package tables of languages: what `gem install`, Haskell's and Octave's packages have registered.
    "/var/lib/gems",
    "/var/lib/ghc",
    "/var/lib/octave",
    "/var/lib/mecab",
];

/// Never shown, whatever their owner and the options: secrets, access controls, and the identity of the host.
const DENIED: [&str; 52] = [
    "/etc/passwd*",
    "/etc/group*",
    "/etc/shadow*",
    "/etc/gshadow*",
    "/etc/subuid*",
    "/etc/subgid*",
    "/etc/security/opasswd",
    "/etc/sudoers*",
    "/etc/sudo*",
    "/etc/doas.conf",
    "/etc/ssh",
    "/etc/ssl/private",
    "/etc/pki/tls/private",
    "/etc/pki/private",
    "/etc/pki/entitlement*",
    "/etc/letsencrypt",
    "/etc/machine-id",
    "/etc/hostid",
    "/etc/krb5.keytab",
    // Package managers, with their credentials.
    "/etc/apt",
    "/etc/apk",
    "/etc/dnf",
    "/etc/yum*",
    "/etc/zypp",
    "/etc/pacman*",
    "/etc/rhsm",
    // Clouds, containers, and credentials of services.
    "/etc/cloud",
    "/etc/docker",
    "/etc/containerd",
    "/etc/containers",
    "/etc/kubernetes",
    "/etc/rancher",
    "/etc/credstore*",
    "/etc/systemd",
    "/etc/NetworkManager",
    "/etc/netplan",
    "/etc/wpa_supplicant",
    "/etc/wireguard",
    "/etc/openvpn",
    "/etc/ipsec*",
    "/etc/ppp",
    "/etc/fstab",
    "/etc/crypttab",
    "/etc/exports*",
    "/etc/cron*",
    // A VM does not need to know what starts on the host.
    "/etc/rc*.d",
    // Data of services.
    "/var/lib/private",
    "/var/lib/systemd",
    "/var/lib/cloud",
    "/var/lib/dbus",
    // Paths that the VM uses itself.
    NODE,
    AGENT_VM,
];

/// The listed paths that exist on this host, unsorted.
pub fn listed() -> Vec<PathBuf> {
    CHOSEN
        .iter()
        .chain(&GENERATED)
        .flat_map(|name| existing(name))
        .collect()
}

/// Paths that change when packages are installed, or when most of the listed files are generated again. Each boot
/// checks them, so there are only a few.
pub fn signs() -> [PathBuf; 5] {
    [
        "/var/lib/dpkg/status",
        "/etc",
        "/etc/alternatives",
        "/etc/ld.so.cache",
        "/etc/ssl/certs/ca-certificates.crt",
    ]
    .map(PathBuf::from)
}

/// Files below `/etc` that the VM makes itself.
const OWN: [&str; 8] = [
    "/etc/hosts",
    "/etc/hostname",
    "/etc/mailname",
    "/etc/resolv.conf",
    "/etc/nsswitch.conf",
    "/etc/shells",
    "/etc/bash.bashrc",
    "/etc/mtab",
];

/// Whether a caller may not request `path`.
pub fn is_refused(path: &Path) -> bool {
    is_denied(path) || OWN.iter().any(|own| path.starts_with(own))
}

/// Whether `path` is below one of the directories of which host files are shown.
pub fn is_in_tops(path: &str) -> bool {
    HOST_FILES
        .iter()
        .any(|top| Path::new(path).starts_with(top) && path != *top)
}

fn existing(name: &str) -> Vec<PathBuf> {
    let Some(start) = name.strip_suffix('*') else {
        let path = PathBuf::from(name);
        return if path.symlink_metadata().is_ok() {
            vec![path]
        } else {
            Vec::new()
        };
    };
    let (directory, start) = start.rsplit_once('/').unwrap_or(("/", start));
    let found = std::fs::read_dir(directory).into_iter().flatten().flatten();
    found
        .filter(|entry| {
            entry
                .file_name()
                .to_str()
                .is_some_and(|name| name.starts_with(start))
        })
        .map(|entry| entry.path())
        .collect()
}

/// Whether `path`, or a directory above it, is never shown.
pub fn is_denied(path: &Path) -> bool {
    let text = path.as_os_str().as_bytes();
    // A normalized path can only match if it begins the same. Thousands of files are checked, so this is tested first.
    let has_one_spelling = !text.windows(2).any(|pair| matches!(pair, b"//" | b"/."));
    DENIED.iter().any(|denied| {
        let start = denied.split('*').next().unwrap_or_default().as_bytes();
        (!has_one_spelling || text.starts_with(start)) && is_at_or_below(path, denied)
    })
}

/// Whether `path` is at or below the pattern, in which one name may contain a `*`.
fn is_at_or_below(path: &Path, pattern: &str) -> bool {
    let mut names = path.components();
    for wanted in Path::new(pattern).components() {
        let (Some(found), Some(wanted)) = (names.next(), text(wanted)) else {
            return false;
        };
        let Some(found) = text(found) else { return false };
        let is_same = match wanted.split_once('*') {
            None => found == wanted,
            Some((start, end)) => {
                found.len() >= start.len() + end.len() && found.starts_with(start) && found.ends_with(end)
            }
        };
        if !is_same {
            return false;
        }
    }
    true
}

fn text(component: Component<'_>) -> Option<&str> {
    component.as_os_str().to_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_denied_is_denied_with_all_below_and_no_neighbour() {
        for path in [
            "/etc/shadow",
            "/etc/shadow-",
            "/etc/ssh/sshd_config",
            "/etc/ssl/private/key.pem",
            "/etc/sudoers.d/x",
            "/etc/rc2.d/S01x",
            "/etc/apt/auth.conf.d/x",
            "/var/lib/systemd/credential.secret",
            "/opt/node/bin",
            "//etc//shadow",
            "/etc/./ssh/x",
        ] {
            assert!(is_denied(Path::new(path)), "{path}");
        }
        for path in [
            "/etc/ssl/certs",
            "/etc/ssl",
            "/etc",
            "/etc/rc.local",
            "/etc/profile.d/x",
            "/opt/nodes",
        ] {
            assert!(!is_denied(Path::new(path)), "{path}");
        }
    }

    #[test]
    fn nothing_that_is_listed_is_denied() {
        for name in CHOSEN.iter().chain(&GENERATED) {
            assert!(!is_denied(Path::new(name)), "{name}");
            assert!(
                HOST_FILES.iter().any(|top| Path::new(name).starts_with(top)),
                "{name}"
            );
        }
    }
}
