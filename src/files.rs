//! File calls and connections of the native class.
#![allow(clippy::needless_pass_by_value, reason = "napi hands arguments over by value")]

use std::sync::Arc;

use agent_vm_host::{Abort, Attributes, Entry, EntryKind, MAX_FILE, OnEntries, Walk, copied};
use napi::bindgen_prelude::Uint8Array;
use napi_derive::napi;
use serde::Serialize;
use serde_json::json;

use crate::value::Value;
use crate::vm::{Answer, NativeVm};

#[napi]
impl NativeVm {
    /// Settles with the content, if it has at most `max_bytes`.
    #[napi(ts_return_type = "Answer<Buffer>")]
    pub fn read_file(&self, call: f64, path: String, max_bytes: Option<f64>) -> Answer {
        let most = max_bytes.map_or(MAX_FILE, |most| most as u64);
        self.ask(call, move |vm| async move {
            vm.read_file(path, most).await.map(Value::Content)
        })
    }

    /// Writes a file whole. The content is copied before this returns, so that it may be changed then.
    #[napi(ts_return_type = "Answer<void>")]
    pub fn write_file(&self, call: f64, path: String, content: Uint8Array) -> Answer {
        let content = copied(&content);
        self.ask(call, |vm| async move {
            vm.write_file(path, content).await.map(|()| Value::Undefined)
        })
    }

    /// Makes a folder.
    #[napi(ts_return_type = "Answer<void>")]
    pub fn mkdir(&self, call: f64, path: String, recursive: bool) -> Answer {
        self.ask(call, move |vm| async move {
            vm.mkdir(path, recursive).await.map(|()| Value::Undefined)
        })
    }

    /// Gives names in pieces, each a JSON array, and settles.
    #[napi(ts_return_type = "Answer<void>")]
    pub fn readdir(&self, call: f64, path: String) -> Answer {
        let on_entries = self.in_pieces(call, |entries| {
            let names: Vec<_> = entries.iter().map(|entry| entry.name.as_str()).collect();
            serde_json::to_string(&names)
        });
        self.ask(call, |vm| async move {
            vm.readdir(path, on_entries).await.map(|()| Value::Undefined)
        })
    }

    /// Gives entries in pieces, each a JSON array, and settles.
    #[napi(ts_return_type = "Answer<void>")]
    pub fn readdir_recursive(
        &self,
        call: f64,
        path: String,
        max_depth: Option<u32>,
        exclude: Vec<String>,
    ) -> Answer {
        let walk = Walk {
            path,
            max_depth,
            exclude: exclude.into_iter().collect(),
        };
        let on_entries = self.in_pieces(call, |entries| {
            let entries: Vec<_> = entries.iter().map(ListedEntry::of).collect();
            serde_json::to_string(&entries)
        });
        self.ask(call, |vm| async move {
            vm.walk(walk, on_entries).await.map(|()| Value::Undefined)
        })
    }

    fn in_pieces(&self, call: f64, describe: fn(&[Entry]) -> serde_json::Result<String>) -> OnEntries {
        let send_piece = self.bridge.pieces(call);
        Arc::new(move |entries, credit| {
            // It fails for maps whose keys are no text, and for writers that fail: here are none.
            send_piece(describe(&entries).unwrap_or_default(), credit);
        })
    }

    /// Settles with attributes, as JSON.
    #[napi(ts_return_type = "Answer<Json<VmStat>>")]
    pub fn stat(&self, call: f64, path: String) -> Answer {
        self.ask(call, |vm| async move {
            vm.stat(path)
                .await
                .map(|attributes| Value::json(&stat(&attributes)))
        })
    }

    /// Settles with whether it is there.
    #[napi(ts_return_type = "Answer<boolean>")]
    pub fn exists(&self, call: f64, path: String) -> Answer {
        self.ask(call, |vm| async move { vm.exists(path).await.map(Value::Bool) })
    }

    /// Renames.
    #[napi(ts_return_type = "Answer<void>")]
    pub fn rename(&self, call: f64, from: String, to: String) -> Answer {
        self.ask(call, |vm| async move {
            vm.rename(from, to).await.map(|()| Value::Undefined)
        })
    }

    /// Removes.
    #[napi(ts_return_type = "Answer<void>")]
    pub fn remove(&self, call: f64, path: String, recursive: bool) -> Answer {
        self.ask(call, move |vm| async move {
            vm.delete(path, recursive).await.map(|()| Value::Undefined)
        })
    }

    /// Settles with the descriptor of a connected socket, which the caller owns. One that is `abortable` is remembered until
    /// `forget`.
    #[napi(ts_return_type = "Answer<number>")]
    pub fn connect(&self, call: f64, port: u16, abortable: bool) -> Answer {
        let abort = Abort::default();
        if abortable {
            self.slot.remember(call as u64, abort.clone());
        }
        let answer = self.ask(call, move |vm| async move {
            vm.connect(port, &abort).await.map(Value::Descriptor)
        });
        if answer.is_some() {
            self.forget(call);
        }
        answer
    }
}

/// One of `readdirRecursive`.
#[derive(Serialize)]
struct ListedEntry<'a> {
    path: &'a str,
    r#type: &'static str,
    size: u64,
}

impl<'a> ListedEntry<'a> {
    fn of(entry: &'a Entry) -> Self {
        Self {
            path: &entry.name,
            r#type: match entry.kind {
                EntryKind::Directory => "directory",
                EntryKind::Symlink => "symlink",
                EntryKind::File => "file",
            },
            size: entry.size,
        }
    }
}

fn stat(attributes: &Attributes) -> serde_json::Value {
    // The format bits of st_mode (inode(7)).
    let format = attributes.mode & 0o170_000;
    json!({
        "mode": attributes.mode,
        "size": attributes.size,
        "blocks": attributes.blocks,
        "dev": attributes.dev,
        "rdev": attributes.rdev,
        "ino": attributes.ino,
        "nlink": attributes.nlink,
        "uid": attributes.uid,
        "gid": attributes.gid,
        "isDirectory": format == 0o040_000,
        "isSymbolicLink": format == 0o120_000,
        "atimeMs": milliseconds(attributes.atime_ns),
        "mtimeMs": milliseconds(attributes.mtime_ns),
        "ctimeMs": milliseconds(attributes.ctime_ns),
        "birthtimeMs": milliseconds(attributes.birthtime_ns),
    })
}

fn milliseconds(nanoseconds: i64) -> f64 {
    nanoseconds as f64 / 1e6
}
