//! File calls and connections of the native class.
#![allow(clippy::needless_pass_by_value, reason = "napi hands arguments over by value")]

use agent_vm_host::{Attributes, Entry, EntryKind, Walk, copied};
use napi::bindgen_prelude::Uint8Array;
use napi_derive::napi;
use serde_json::json;

use crate::message::Value;
use crate::vm::{Answer, NativeVm};

#[napi]
impl NativeVm {
    /// Settles with the content.
    #[napi]
    pub fn read_file(&self, call: f64, path: String) -> Answer {
        self.ask(
            call,
            |vm| async move { vm.read_file(path).await.map(Value::Bytes) },
        )
    }

    /// Writes a file whole. The content is copied before this returns, so that it may be changed then.
    #[napi]
    pub fn write_file(&self, call: f64, path: String, content: Uint8Array) -> Answer {
        let content = copied(&content);
        self.ask(call, |vm| async move {
            vm.write_file(path, content).await.map(|()| Value::Undefined)
        })
    }

    /// Makes a folder.
    #[napi]
    pub fn mkdir(&self, call: f64, path: String, recursive: bool) -> Answer {
        self.ask(call, move |vm| async move {
            vm.mkdir(path, recursive).await.map(|()| Value::Undefined)
        })
    }

    /// Settles with names, as JSON.
    #[napi]
    pub fn readdir(&self, call: f64, path: String) -> Answer {
        self.ask(call, |vm| async move {
            vm.readdir(path).await.map(|names| Value::json(&names.into()))
        })
    }

    /// Settles with entries, as JSON.
    #[napi]
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
        self.ask(call, |vm| async move {
            let entries: Vec<_> = vm.walk(walk).await?.iter().map(entry).collect();
            Ok(Value::json(&entries.into()))
        })
    }

    /// Settles with attributes, as JSON.
    #[napi]
    pub fn stat(&self, call: f64, path: String) -> Answer {
        self.ask(call, |vm| async move {
            vm.stat(path)
                .await
                .map(|attributes| Value::json(&stat(&attributes)))
        })
    }

    /// Settles with whether it is there.
    #[napi]
    pub fn exists(&self, call: f64, path: String) -> Answer {
        self.ask(call, |vm| async move { vm.exists(path).await.map(Value::Bool) })
    }

    /// Renames.
    #[napi]
    pub fn rename(&self, call: f64, from: String, to: String) -> Answer {
        self.ask(call, |vm| async move {
            vm.rename(from, to).await.map(|()| Value::Undefined)
        })
    }

    /// Removes.
    #[napi]
    pub fn remove(&self, call: f64, path: String, recursive: bool) -> Answer {
        self.ask(call, move |vm| async move {
            vm.delete(path, recursive).await.map(|()| Value::Undefined)
        })
    }

    /// Settles with the descriptor of a connected socket, which the caller owns.
    #[napi]
    pub fn connect(&self, call: f64, port: u16) -> Answer {
        self.ask(call, move |vm| async move {
            vm.connect(port).await.map(Value::Descriptor)
        })
    }
}

fn entry(entry: &Entry) -> serde_json::Value {
    let kind = match entry.kind {
        EntryKind::Directory => "directory",
        EntryKind::Symlink => "symlink",
        EntryKind::File => "file",
    };
    json!({ "path": entry.name, "type": kind, "size": entry.size })
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
