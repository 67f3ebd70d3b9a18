//! File calls and connections of the native class.
#![allow(clippy::needless_pass_by_value, reason = "napi hands arguments over by value")]

use std::sync::Arc;

use agent_vm_host::{Abort, DirectoryEntry, OnEntries, WalkRequest, copied};
use napi::bindgen_prelude::Uint8Array;
use napi_derive::napi;

use crate::value::Value;
use crate::vm::{Answer, NativeVm};
use crate::wire;

#[napi]
impl NativeVm {
    /// Resolves to the content, if the file has at most `max_bytes`.
    #[napi(ts_return_type = "Answer<Buffer>")]
    pub fn read_file(&self, call: f64, path: String, max_bytes: f64) -> Answer {
        self.ask(call, move |vm| async move {
            vm.read_file(path, max_bytes as u64).await.map(Value::Content)
        })
    }

    /// Writes a whole file. The content is copied before this returns, so that the caller may change it afterwards.
    #[napi(ts_return_type = "Answer<void>")]
    pub fn write_file(&self, call: f64, path: String, content: Uint8Array) -> Answer {
        let content = copied(&content);
        self.ask(call, |vm| async move {
            vm.write_file(path, content).await.map(|()| Value::Undefined)
        })
    }

    /// Creates a directory.
    #[napi(ts_return_type = "Answer<void>")]
    pub fn mkdir(&self, call: f64, path: String, recursive: bool) -> Answer {
        self.ask(call, move |vm| async move {
            vm.mkdir(path, recursive).await.map(|()| Value::Undefined)
        })
    }

    /// Sends the names in pieces, each a JSON array, and then resolves.
    #[napi(ts_return_type = "Answer<void>")]
    pub fn readdir(&self, call: f64, path: String) -> Answer {
        let on_entries = self.in_pieces(call, wire::names);
        self.ask(call, |vm| async move {
            vm.readdir(path, on_entries).await.map(|()| Value::Undefined)
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

    /// Resolves to the attributes, as JSON.
    #[napi(ts_return_type = "Answer<Json<VmStat>>")]
    pub fn stat(&self, call: f64, path: String) -> Answer {
        self.ask(call, |vm| async move {
            vm.stat(path).await.map(|attributes| wire::stat(&attributes))
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
