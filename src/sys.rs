//! Creates JavaScript values through the C API, where napi's typed conversions would copy or do not exist.
//!
//! Every unsafe function here has the same requirement: `env` is the environment of the calling thread, as napi passes
//! it to conversions.
#![allow(unsafe_code)]

use std::ffi::{c_char, c_void};
use std::mem;
use std::os::fd::IntoRawFd;
use std::ptr;
use std::sync::OnceLock;

use agent_vm_host::Content;
use napi::bindgen_prelude::{Buffer, JsValuesTupleIntoVec, Result, ToNapiValue};
use napi::{check_status, sys};

use crate::value::Value;
use crate::wire::{Message, error_value, too_large};

impl JsValuesTupleIntoVec for Message {
    /// Never fails: napi ends the process if it cannot create the arguments of a threadsafe function.
    fn into_vec(self, env: sys::napi_env) -> Result<Vec<sys::napi_value>> {
        let (instead, call) = (self.instead(), self.call());
        // SAFETY: napi converts a threadsafe function's values on the thread of `env`.
        unsafe {
            let values = all_to_js(env, self.into_values()).or_else(|_| {
                clear_exception(env);
                all_to_js(env, instead(&too_large(), call))
            });
            // If memory does not suffice for a short text either, nothing can be reported.
            Ok(values.unwrap_or_else(|_| {
                clear_exception(env);
                Vec::new()
            }))
        }
    }
}

impl ToNapiValue for Value {
    /// A method's answer or, if that cannot be created, the error.
    unsafe fn to_napi_value(env: sys::napi_env, value: Self) -> Result<sys::napi_value> {
        // SAFETY: the caller guarantees `env`.
        unsafe {
            to_js(env, value).or_else(|_| {
                clear_exception(env);
                to_js(env, Self::List(vec![error_value(&too_large())]))
            })
        }
    }
}

unsafe fn all_to_js(env: sys::napi_env, values: Vec<Value>) -> Result<Vec<sys::napi_value>> {
    // SAFETY: the caller guarantees `env`.
    values
        .into_iter()
        .map(|value| unsafe { to_js(env, value) })
        .collect()
}

/// Clears the exception that a failed call may have left pending.
unsafe fn clear_exception(env: sys::napi_env) {
    let mut exception = ptr::null_mut();
    // SAFETY: the caller guarantees `env`. If no exception is pending, this fails or returns undefined.
    let _none = unsafe { sys::napi_get_and_clear_last_exception(env, &raw mut exception) };
}

unsafe fn to_js(env: sys::napi_env, value: Value) -> Result<sys::napi_value> {
    // SAFETY: the caller guarantees `env`; the array is a value of `env`, created just before.
    unsafe {
        match value {
            Value::Undefined => ToNapiValue::to_napi_value(env, ()),
            Value::Bool(flag) => ToNapiValue::to_napi_value(env, flag),
            Value::Number(number) => ToNapiValue::to_napi_value(env, number),
            Value::Name(name) => ToNapiValue::to_napi_value(env, name),
            Value::Text(bytes) => string(env, &bytes),
            Value::Ascii(bytes) => ascii(env, bytes),
            // The share is held until here; now JavaScript has the bytes.
            Value::Content(Content { bytes, share: _share }) => buffer(env, bytes),
            Value::Bytes(bytes) => buffer(env, bytes),
            Value::Chunk(bytes) => copied_buffer(env, &bytes),
            Value::Descriptor(fd) => ToNapiValue::to_napi_value(env, fd.into_raw_fd()),
            Value::List(values) => {
                let mut array = ptr::null_mut();
                check_status!(sys::napi_create_array_with_length(
                    env,
                    values.len(),
                    &raw mut array
                ))?;
                for (index, value) in values.into_iter().enumerate() {
                    let value = to_js(env, value)?;
                    check_status!(sys::napi_set_element(env, array, index as u32, value))?;
                }
                Ok(array)
            }
        }
    }
}

/// The largest file content that is copied. V8 frees external memory only in a full garbage collection.
const COPIED_BYTES: usize = 256 * 1024;

unsafe fn buffer(env: sys::napi_env, bytes: Vec<u8>) -> Result<sys::napi_value> {
    if bytes.len() > COPIED_BYTES {
        // SAFETY: the caller guarantees `env`.
        return unsafe { ToNapiValue::to_napi_value(env, Buffer::from(bytes)) };
    }
    // SAFETY: the caller guarantees `env`.
    unsafe { copied_buffer(env, &bytes) }
}

/// A buffer in V8's own memory, which the quick collections of the young generation free. With external memory, a fast
/// stream would cause a full collection every few dozen megabytes.
unsafe fn copied_buffer(env: sys::napi_env, bytes: &[u8]) -> Result<sys::napi_value> {
    let (mut value, mut data) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: the caller guarantees `env`; pointer and length are of one slice, which is copied.
    check_status!(unsafe {
        sys::napi_create_buffer_copy(
            env,
            bytes.len(),
            bytes.as_ptr().cast(),
            &raw mut data,
            &raw mut value,
        )
    })?;
    Ok(value)
}

/// V8's maximum string length, in UTF-16 units. V8 also limits UTF-8 input to this many bytes, even if it has fewer
/// units.
const MOST_UNITS: usize = (1 << 29) - 24;

/// A string from valid UTF-8 that is too long for V8 to decode.
unsafe fn wide_string(env: sys::napi_env, text: &[u8]) -> Result<sys::napi_value> {
    let text = str::from_utf8(text).map_err(|error| napi::Error::from_reason(error.to_string()))?;
    let units: Vec<u16> = text.encode_utf16().collect();
    let mut value = ptr::null_mut();
    // SAFETY: the caller guarantees `env`; pointer and length are of one vector, which V8 copies.
    check_status!(unsafe {
        sys::napi_create_string_utf16(env, units.as_ptr(), units.len() as isize, &raw mut value)
    })?;
    Ok(value)
}

/// A string from valid UTF-8. Plain ASCII uses V8's one-byte path, which is several times as fast.
unsafe fn string(env: sys::napi_env, text: &[u8]) -> Result<sys::napi_value> {
    if text.is_ascii() {
        // SAFETY: the caller guarantees `env`.
        return unsafe { one_byte_string(env, text) };
    }
    if text.len() > MOST_UNITS {
        // SAFETY: the caller guarantees `env`.
        return unsafe { wide_string(env, text) };
    }
    let mut value = ptr::null_mut();
    // SAFETY: the caller guarantees `env`; pointer and length are of one slice of UTF-8, which V8 copies.
    check_status!(unsafe {
        sys::napi_create_string_utf8(env, text.as_ptr().cast(), text.len() as isize, &raw mut value)
    })?;
    Ok(value)
}

unsafe fn one_byte_string(env: sys::napi_env, text: &[u8]) -> Result<sys::napi_value> {
    let mut value = ptr::null_mut();
    // SAFETY: the caller guarantees `env`; pointer and length are of one slice, which V8 copies.
    check_status!(unsafe {
        sys::napi_create_string_latin1(env, text.as_ptr().cast(), text.len() as isize, &raw mut value)
    })?;
    Ok(value)
}

/// The shortest text that is passed as external memory. Copying a shorter one costs less than tracking it.
const LENT_TEXT: usize = 1024 * 1024;

/// `node_api_create_external_string_latin1`: exported by every Node.js from 20.4 on, and part of Node-API version 10.
type CreateExternalString = unsafe extern "C" fn(
    env: sys::napi_env,
    text: *mut c_char,
    length: usize,
    finalize: sys::napi_finalize,
    hint: *mut c_void,
    value: *mut sys::napi_value,
    copied: *mut bool,
) -> sys::napi_status;

fn create_external_string() -> Option<CreateExternalString> {
    static FOUND: OnceLock<Option<CreateExternalString>> = OnceLock::new();
    *FOUND.get_or_init(|| {
        // SAFETY: the name is a C string; if Node.js exports it, it is a function of that signature.
        unsafe {
            let found = libc::dlsym(
                libc::RTLD_DEFAULT,
                c"node_api_create_external_string_latin1".as_ptr(),
            );
            mem::transmute::<*mut c_void, Option<CreateExternalString>>(found)
        }
    })
}

/// A string from ASCII text. V8 reads a long text where it is, and frees it when the string is collected.
unsafe fn ascii(env: sys::napi_env, text: Vec<u8>) -> Result<sys::napi_value> {
    let create = match create_external_string() {
        Some(create) if text.len() >= LENT_TEXT => create,
        // SAFETY: the caller guarantees `env`.
        _ => return unsafe { one_byte_string(env, &text) },
    };
    let mut value = ptr::null_mut();
    let mut copied = false;
    let lent = Box::into_raw(Box::new(text));
    // SAFETY: the caller guarantees `env`; the vector lives, unchanged, until Node.js calls `free_text` once. It is not
    // documented whether Node.js also calls `free_text` when creating the string fails, so the vector is not freed here
    // in that case.
    check_status!(unsafe {
        let (start, length) = ((*lent).as_mut_ptr(), (*lent).len());
        create(
            env,
            start.cast(),
            length,
            Some(free_text),
            lent.cast(),
            &raw mut value,
            &raw mut copied,
        )
    })?;
    Ok(value)
}

unsafe extern "C" fn free_text(_env: sys::napi_env, _text: *mut c_void, lent: *mut c_void) {
    // SAFETY: `ascii` has given up the ownership.
    drop(unsafe { Box::from_raw(lent.cast::<Vec<u8>>()) });
}
