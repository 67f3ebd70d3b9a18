//! Tar archives of directories of the host, in pieces, of the native class. They need no VM.
#![allow(clippy::needless_pass_by_value, reason = "napi hands arguments over by value")]

use agent_vm_host::{LocalArchives, copied};
use napi::bindgen_prelude::Uint8Array;
use napi_derive::napi;

use crate::archives::request;
use crate::directories::{TransferOptions, described};
use crate::number::named;
use crate::value::Value;
use crate::vm::{Answer, HostResult, NativeVm, known};

#[napi]
impl NativeVm {
    /// Begins to make an archive of a directory of the host, or to write one into it. Returns its number.
    #[napi(ts_return_type = "Answer<number>")]
    pub fn open_local_archive(
        &self,
        call: f64,
        path: String,
        write: bool,
        options: TransferOptions,
    ) -> Answer {
        self.locally(call, move |local| async move {
            let request = request(path, options)?;
            let number = if write {
                local.open_to_write(request).await?
            } else {
                local.open_to_read(request).await?
            };
            Ok(Value::Number(number as f64))
        })
    }

    /// Resolves to the next piece of such an archive, which is empty at the end.
    #[napi(ts_return_type = "Answer<Buffer>")]
    pub fn read_local_archive(&self, call: f64, archive: f64) -> Answer {
        self.locally(call, move |local| async move {
            local.read(named(archive)).await.map(Value::Bytes)
        })
    }

    /// Sends the next piece of such an archive; it is copied before this returns. Resolves when there is room for one more.
    #[napi(ts_return_type = "Answer<void>")]
    pub fn write_local_archive(&self, call: f64, archive: f64, piece: Uint8Array) -> Answer {
        let piece = copied(&piece);
        self.locally(call, move |local| async move {
            let written = local.write(named(archive), piece).await;
            written.map(|()| Value::Undefined)
        })
    }

    /// Ends such an archive that is sent. Resolves when everything is written.
    #[napi(ts_return_type = "Answer<void>")]
    pub fn end_local_archive(&self, call: f64, archive: f64) -> Answer {
        self.locally(call, move |local| async move {
            local.end(named(archive)).await.map(|()| Value::Undefined)
        })
    }

    /// How much of such an archive is read or written, as JSON.
    #[napi(ts_return_type = "Answer<Json<TransferTotals>>")]
    pub fn local_archive_totals(&self, _call: f64, archive: f64) -> Value {
        let totals = self.local.totals(named(archive));
        known(totals.map(|totals| Value::json(&described(totals))))
    }

    /// Closes such an archive. Resolves when nothing is read or written any more.
    #[napi(ts_return_type = "Answer<void>")]
    pub fn stop_local_archive(&self, call: f64, archive: f64) -> Answer {
        self.locally(call, move |local| async move {
            local.stop(named(archive)).await;
            Ok(Value::Undefined)
        })
    }

    fn locally<F>(&self, call: f64, question: impl FnOnce(LocalArchives) -> F) -> Answer
    where
        F: Future<Output = HostResult<Value>> + Send + 'static,
    {
        self.later(call, question(self.local.clone()))
    }
}
