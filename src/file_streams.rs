//! Copies, and the open files of streams, of the native class.
#![allow(clippy::needless_pass_by_value, reason = "napi hands arguments over by value")]

use agent_vm_host::{CopyRequest, ExistingCopy, OpenRequest, copied};
use napi::bindgen_prelude::Uint8Array;
use napi_derive::napi;

use crate::number::{named, whole};
use crate::value::Value;
use crate::vm::{Answer, NativeVm};

/// Options of a copy.
#[allow(clippy::struct_excessive_bools, reason = "they are those of the public call")]
#[napi(object, object_to_js = false)]
pub struct CopyOptions {
    pub recursive: bool,
    pub force: bool,
    pub error_on_exist: bool,
    pub preserve_timestamps: bool,
}

/// How a file is opened to write.
#[napi(object, object_to_js = false)]
pub struct WriteStreamOptions {
    /// The permissions of a new file; without them the file must exist.
    pub create: Option<u32>,
    pub empty: bool,
    pub exclusive: bool,
    pub append: bool,
}

#[napi]
impl NativeVm {
    /// Copies a file or a tree.
    #[napi(ts_return_type = "Answer<void>")]
    pub fn copy(&self, call: f64, from: String, to: String, options: CopyOptions) -> Answer {
        let request = CopyRequest {
            from,
            to,
            recursive: options.recursive,
            existing: match (options.force, options.error_on_exist) {
                (true, _) => ExistingCopy::Replace,
                (false, false) => ExistingCopy::Keep,
                (false, true) => ExistingCopy::Refuse,
            },
            preserve_timestamps: options.preserve_timestamps,
        };
        self.ask(call, |vm| async move {
            vm.copy(request).await.map(|()| Value::Undefined)
        })
    }

    /// Opens a file to read. Resolves to its number.
    #[napi(ts_return_type = "Answer<number>")]
    pub fn open_to_read(&self, call: f64, path: String) -> Answer {
        self.open_file(call, path, OpenRequest::Read)
    }

    /// Opens a file to write. Resolves to its number.
    #[napi(ts_return_type = "Answer<number>")]
    pub fn open_to_write(&self, call: f64, path: String, options: WriteStreamOptions) -> Answer {
        let request = OpenRequest::Write {
            create: options.create,
            empty: options.empty,
            exclusive: options.exclusive,
            append: options.append,
        };
        self.open_file(call, path, request)
    }

    fn open_file(&self, call: f64, path: String, request: OpenRequest) -> Answer {
        self.ask(call, move |vm| async move {
            let number = vm.open_file(path, request).await?;
            Ok(Value::Number(number as f64))
        })
    }

    /// Resolves to up to `length` bytes of an open file, at most 1 MiB; fewer at the end of the file.
    #[napi(ts_return_type = "Answer<Buffer>")]
    pub fn read_opened(&self, call: f64, file: f64, position: f64, length: u32) -> Answer {
        self.ask(call, move |vm| async move {
            vm.read_opened(named(file), whole(position)?, length)
                .await
                .map(Value::Content)
        })
    }

    /// Writes to an open file: at a position, or after what was written before. The content is copied before this
    /// returns.
    #[napi(ts_return_type = "Answer<void>")]
    pub fn write_opened(&self, call: f64, file: f64, content: Uint8Array, position: Option<f64>) -> Answer {
        let content = copied(&content);
        self.ask(call, move |vm| async move {
            vm.write_opened(named(file), content, position.map(whole).transpose()?)
                .await
                .map(|()| Value::Undefined)
        })
    }

    /// Closes an open file. It is no error if the VM has ended, which closes all files.
    #[napi(ts_return_type = "Answer<void>")]
    pub fn close_opened(&self, _call: f64, file: f64) -> Value {
        self.now(|vm| {
            vm.close_opened(named(file));
            Ok(Value::Undefined)
        })
    }
}
