//! Copies of trees between the host and the VM, of the native class.
#![allow(clippy::needless_pass_by_value, reason = "napi hands arguments over by value")]

use std::sync::Arc;

use agent_vm_host::{Abort, Error, Exclude, OnProgress, Totals, TransferLimits, TransferRequest};
use napi_derive::napi;
use serde_json::json;

use crate::number::{named, whole};
use crate::value::Value;
use crate::vm::{Answer, NativeVm, known};

/// What a transfer copies.
#[napi(object, object_to_js = false)]
pub struct TransferOptions {
    pub exclude: Vec<String>,
    pub max_bytes: f64,
    pub max_entries: f64,
    /// Whether totals are sent meanwhile.
    pub progress: bool,
}

#[napi]
impl NativeVm {
    /// Copies the content of a host directory into one of the VM. Sends totals in pieces, if asked to, and resolves to the
    /// last ones as JSON. With `abortable`, `abort` can end the call until `forget`.
    #[napi(ts_return_type = "Answer<Json<TransferTotals>>")]
    pub fn upload_directory(
        &self,
        call: f64,
        abortable: bool,
        host_path: String,
        path: String,
        options: TransferOptions,
    ) -> Answer {
        self.transfer(call, abortable, host_path, path, options, true)
    }

    /// Copies the content of a directory of the VM into one of the host, in the same way.
    #[napi(ts_return_type = "Answer<Json<TransferTotals>>")]
    pub fn download_directory(
        &self,
        call: f64,
        abortable: bool,
        path: String,
        host_path: String,
        options: TransferOptions,
    ) -> Answer {
        self.transfer(call, abortable, host_path, path, options, false)
    }

    fn transfer(
        &self,
        call: f64,
        abortable: bool,
        host_path: String,
        path: String,
        options: TransferOptions,
        up: bool,
    ) -> Answer {
        let on_progress = options.progress.then(|| self.totals(call));
        let request = match request(host_path, path, options) {
            Ok(request) => request,
            Err(error) => return Some(known(Err(error))),
        };
        let abort = Abort::default();
        if abortable {
            self.slot.remember(named(call), abort.clone());
        }
        let answer = self.ask(call, move |vm| async move {
            let totals = if up {
                vm.upload_directory(request, on_progress, &abort).await?
            } else {
                vm.download_directory(request, on_progress, &abort).await?
            };
            Ok(Value::json(&described(totals)))
        });
        if answer.is_some() {
            self.forget(call);
        }
        answer
    }

    fn totals(&self, call: f64) -> OnProgress {
        let send_piece = self.bridge.pieces(call);
        Arc::new(move |totals, credit| send_piece(json!([described(totals)]).to_string(), credit))
    }
}

fn request(host_path: String, path: String, options: TransferOptions) -> Result<TransferRequest, Error> {
    Ok(TransferRequest {
        host_path,
        path,
        exclude: Exclude::new(&options.exclude)?,
        limits: TransferLimits {
            bytes: whole(options.max_bytes)?,
            entries: whole(options.max_entries)?,
        },
    })
}

pub fn described(totals: Totals) -> serde_json::Value {
    let Totals {
        files,
        directories,
        links,
        bytes,
        skipped,
    } = totals;
    json!({ "files": files, "directories": directories, "links": links, "bytes": bytes, "skipped": skipped })
}
