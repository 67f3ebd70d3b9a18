//! Tar archives of directories of the VM, in pieces, of the native class.
#![allow(clippy::needless_pass_by_value, reason = "napi hands arguments over by value")]

use agent_vm_host::{ArchiveRequest, Error, TransferLimits, copied};
use napi::bindgen_prelude::Uint8Array;
use napi_derive::napi;

use crate::directories::{TransferOptions, described};
use crate::number::{named, whole};
use crate::value::Value;
use crate::vm::{Answer, NativeVm};

#[napi]
impl NativeVm {
    /// Begins to make an archive of a directory, or to write one into it. Returns its number.
    #[napi(ts_return_type = "Answer<number>")]
    pub fn open_archive(&self, call: f64, path: String, write: bool, options: TransferOptions) -> Answer {
        self.ask(call, move |vm| async move {
            let request = request(path, options)?;
            let number = if write {
                vm.open_archive_to_write(request).await?
            } else {
                vm.open_archive_to_read(request).await?
            };
            Ok(Value::Number(number as f64))
        })
    }

    /// Resolves to the next piece of an archive, which is empty at the end.
    #[napi(ts_return_type = "Answer<Buffer>")]
    pub fn read_archive(&self, call: f64, archive: f64) -> Answer {
        self.ask(call, move |vm| async move {
            vm.read_archive(named(archive)).await.map(Value::Bytes)
        })
    }

    /// Sends the next piece of an archive; it is copied before this returns. Resolves when there is room for one more.
    #[napi(ts_return_type = "Answer<void>")]
    pub fn write_archive(&self, call: f64, archive: f64, piece: Uint8Array) -> Answer {
        let piece = copied(&piece);
        self.ask(call, move |vm| async move {
            vm.write_archive(named(archive), piece)
                .await
                .map(|()| Value::Undefined)
        })
    }

    /// Ends an archive that is sent. Resolves when everything is written.
    #[napi(ts_return_type = "Answer<void>")]
    pub fn end_archive(&self, call: f64, archive: f64) -> Answer {
        self.ask(call, move |vm| async move {
            vm.end_archive(named(archive)).await.map(|()| Value::Undefined)
        })
    }

    /// How much of an archive is read or written, as JSON.
    #[napi(ts_return_type = "Answer<Json<TransferTotals>>")]
    pub fn archive_totals(&self, _call: f64, archive: f64) -> Value {
        self.now(|vm| Ok(Value::json(&described(vm.archive_totals(named(archive))?))))
    }

    /// Closes an archive. It is no error if the VM has ended, which closes all.
    #[napi(ts_return_type = "Answer<void>")]
    pub fn close_archive(&self, _call: f64, archive: f64) -> Value {
        self.now(|vm| {
            vm.close_archive(named(archive));
            Ok(Value::Undefined)
        })
    }
}

pub fn request(path: String, options: TransferOptions) -> Result<ArchiveRequest, Error> {
    Ok(ArchiveRequest {
        path,
        exclude: options.exclude,
        limits: TransferLimits {
            bytes: whole(options.max_bytes)?,
            entries: whole(options.max_entries)?,
        },
    })
}
