//! Links that no package owns.

use super::tree::{Node, ShownTree};

/// Links that no package owns may lead here: these are the programs' own files.
const PROGRAMS: [&str; 6] = ["/usr/", "/bin/", "/sbin/", "/lib/", "/lib64/", "/dev/null"];

/// The maximum length of a chain of links.
const LINKED: usize = 32;

/// Shows those of `links`, which are paths with targets, whose targets are shown: such a link only tells which of several
/// files is in use.
pub(super) fn show(tree: &mut ShownTree, mut links: Vec<(String, String)>) {
    for _ in 0..LINKED {
        let before = links.len();
        links.retain(|(path, target)| {
            let Some(leads_to) = normal(path, target) else {
                return false;
            };
            let shows = PROGRAMS.iter().any(|start| leads_to.starts_with(start)) || tree.shows(&leads_to);
            if shows {
                tree.nodes.insert(path.clone(), Node::Link(target.clone()));
            }
            !shows
        });
        if links.len() == before {
            break;
        }
    }
}

/// The target of a link at `path`, judged only by the link's text; `None` if it leads above the root.
fn normal(path: &str, target: &str) -> Option<String> {
    let start = if target.starts_with('/') {
        ""
    } else {
        path.rsplit_once('/')?.0
    };
    let mut parts: Vec<&str> = start.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(format!("/{}", parts.join("/")))
}
