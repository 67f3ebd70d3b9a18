//! File calls and connections of the native class.
#![allow(clippy::needless_pass_by_value, reason = "napi hands arguments over by value")]

use std::sync::Arc;

use agent_vm_host::{Abort, DirectoryEntry, OnEntries, ReadRequest, WalkRequest, WriteRequest, copied};
use napi::bindgen_prelude::Uint8Array;
use napi_derive::napi;

use crate::number::{named, whole};
use crate::value::Value;
use crate::vm::{Answer, NativeVm};
use crate::wire;

#[napi]
impl NativeVm {
    /// Resolves to the content from `offset` on, of at most `length` bytes, if that is at most `max_bytes`.
    #[napi(ts_return_type = "Answer<Buffer>")]
    pub fn read_file(
        &self,
        call: f64,
        path: String,
        max_bytes: f64,
        offset: Option<f64>,
        length: Option<f64>,
    ) -> Answer {
        self.ask(call, move |vm| async move {
            let request = ReadRequest {
                path,
                offset: whole(offset.unwrap_or(0.0))?,
                length: length.map(whole).transpose()?,
                most: whole(max_bytes)?,
            };
            vm.read_file(request).await.map(Value::Content)
        })
    }

    /// Writes a whole file. The content is copied before this returns, so that the caller may change it afterwards.
    #[napi(ts_return_type = "Answer<void>")]
    pub fn write_file(
        &self,
        call: f64,
        path: String,
        content: Uint8Array,
        mode: Option<u32>,
        mtime_ms: Option<f64>,
    ) -> Answer {
        let request = WriteRequest {
            path,
            content: copied(&content),
            mode,
            mtime_ms,
        };
        self.ask(call, |vm| async move {
            vm.write_file(request).await.map(|()| Value::Undefined)
        })
    }

    /// Appends to a file. The content is copied, as that of `write_file`.
    #[napi(ts_return_type = "Answer<void>")]
    pub fn append_file(&self, call: f64, path: String, content: Uint8Array, mode: Option<u32>) -> Answer {
        let content = copied(&content);
        self.ask(call, move |vm| async move {
            vm.append_file(path, content, mode)
                .await
                .map(|()| Value::Undefined)
        })
    }

    /// Cuts a file off, or extends it with zeros.
    #[napi(ts_return_type = "Answer<void>")]
    pub fn truncate(&self, call: f64, path: String, length: f64) -> Answer {
        self.ask(call, move |vm| async move {
            vm.truncate(path, whole(length)?).await.map(|()| Value::Undefined)
        })
    }

    /// Changes a file's mode.
    #[napi(ts_return_type = "Answer<void>")]
    pub fn chmod(&self, call: f64, path: String, mode: u32) -> Answer {
        self.ask(call, move |vm| async move {
            vm.chmod(path, mode).await.map(|()| Value::Undefined)
        })
    }

    /// Changes a file's times.
    #[napi(ts_return_type = "Answer<void>")]
    pub fn utimes(&self, call: f64, path: String, atime_ms: f64, mtime_ms: f64) -> Answer {
        self.ask(call, move |vm| async move {
            vm.utimes(path, atime_ms, mtime_ms)
                .await
                .map(|()| Value::Undefined)
        })
    }

    /// Creates a symbolic link at `path`.
    #[napi(ts_return_type = "Answer<void>")]
    pub fn symlink(&self, call: f64, target: String, path: String) -> Answer {
        self.ask(call, |vm| async move {
            vm.symlink(target, path).await.map(|()| Value::Undefined)
        })
    }

    /// Resolves to what a symbolic link contains.
    #[napi(ts_return_type = "Answer<string>")]
    pub fn readlink(&self, call: f64, path: String) -> Answer {
        self.ask(call, |vm| async move {
            vm.readlink(path).await.map(Value::lossy_text)
        })
    }

    /// Resolves to the absolute path without symbolic links.
    #[napi(ts_return_type = "Answer<string>")]
    pub fn realpath(&self, call: f64, path: String) -> Answer {
        self.ask(call, |vm| async move {
            vm.realpath(path).await.map(Value::lossy_text)
        })
    }

    /// Creates a directory.
    #[napi(ts_return_type = "Answer<void>")]
    pub fn mkdir(&self, call: f64, path: String, mode: u32, recursive: bool) -> Answer {
        self.ask(call, move |vm| async move {
            vm.mkdir(path, mode, recursive).await.map(|()| Value::Undefined)
        })
    }

    /// Sends the names in pieces, each a JSON array, and then resolves.
    #[napi(ts_return_type = "Answer<void>")]
    pub fn readdir(&self, call: f64, path: String) -> Answer {
        let on_entries = self.in_pieces(call, wire::names);
        self.ask(call, |vm| async move {
            vm.readdir(path, false, on_entries)
                .await
                .map(|()| Value::Undefined)
        })
    }

    /// Sends names and types in pieces, each a JSON array of `[name, type]`, and then resolves.
    #[napi(ts_return_type = "Answer<void>")]
    pub fn readdir_entries(&self, call: f64, path: String) -> Answer {
        let on_entries = self.in_pieces(call, wire::typed_names);
        self.ask(call, |vm| async move {
            vm.readdir(path, true, on_entries)
                .await
                .map(|()| Value::Undefined)
        })
    }

    /// Sends the entries in pieces, each a JSON array, and then resolves.
    #[napi(ts_return_type = "Answer<void>")]
    pub fn readdir_recursive(
        &self,
        call: f64,
        path: String,
        max_depth: Option<u32>,
        exclude: Vec<String>,
    ) -> Answer {
        let walk = WalkRequest {
            path,
            max_depth,
            exclude: exclude.into_iter().collect(),
        };
        let on_entries = self.in_pieces(call, wire::listed_entries);
        self.ask(call, |vm| async move {
            vm.walk(walk, on_entries).await.map(|()| Value::Undefined)
        })
    }

    fn in_pieces(&self, call: f64, describe: fn(&[DirectoryEntry]) -> String) -> OnEntries {
        let send_piece = self.bridge.pieces(call);
        Arc::new(move |entries, credit| send_piece(describe(&entries), credit))
    }

    /// Resolves to the attributes, as JSON; to those of a symbolic link itself, if `follow` is false.
    #[napi(ts_return_type = "Answer<Json<VmStat>>")]
    pub fn stat(&self, call: f64, path: String, follow: bool) -> Answer {
        self.ask(call, move |vm| async move {
            vm.stat(path, follow)
                .await
                .map(|attributes| wire::stat(&attributes))
        })
    }

    /// Resolves to whether the path exists.
    #[napi(ts_return_type = "Answer<boolean>")]
    pub fn exists(&self, call: f64, path: String) -> Answer {
        self.ask(call, |vm| async move { vm.exists(path).await.map(Value::Bool) })
    }

    /// Renames or moves a file or directory.
    #[napi(ts_return_type = "Answer<void>")]
    pub fn rename(&self, call: f64, from: String, to: String) -> Answer {
        self.ask(call, |vm| async move {
            vm.rename(from, to).await.map(|()| Value::Undefined)
        })
    }

    /// Removes a file or directory.
    #[napi(ts_return_type = "Answer<void>")]
    pub fn remove(&self, call: f64, path: String, recursive: bool) -> Answer {
        self.ask(call, move |vm| async move {
            vm.delete(path, recursive).await.map(|()| Value::Undefined)
        })
    }

    /// Resolves to the descriptor of a connected socket, which the caller owns. With `abortable`, `abort` can end the
    /// call until `forget`.
    #[napi(ts_return_type = "Answer<number>")]
    pub fn connect(&self, call: f64, port: u16, abortable: bool) -> Answer {
        let abort = Abort::default();
        if abortable {
            self.slot.remember(named(call), abort.clone());
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
