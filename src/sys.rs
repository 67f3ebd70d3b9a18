//! Making JavaScript values by hand, where napi's typed conversions would cost a copy or do not exist.
//!
//! Every unsafe function here has the same condition: `env` is the environment of the calling thread, as napi hands it to
//! conversions.
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
    /// Never fails: napi ends the process where a threadsafe function's values cannot be made.
    fn into_vec(self, env: sys::napi_env) -> Result<Vec<sys::napi_value>> {
        let (instead, call) = (self.instead(), self.call());
        // SAFETY: napi converts a threadsafe function's values on the thread of `env`.
        unsafe {
            let values = all_to_js(env, self.into_values()).or_else(|_| {
                clear_exception(env);
                all_to_js(env, instead(&too_large(), call))
            });
            // Without memory for a short text either, nothing can be reported.
            Ok(values.unwrap_or_else(|_| {
                clear_exception(env);
                Vec::new()
            }))
        }
    }
}

impl ToNapiValue for Value {
    /// The answer of a method: where it cannot be made, its error is.
    unsafe fn to_napi_value(env: sys::napi_env, value: Self) -> Result<sys::napi_value> {
        // SAFETY: the caller's promise about `env`.
        unsafe {
            to_js(env, value).or_else(|_| {
                clear_exception(env);
                to_js(env, Self::List(vec![error_value(&too_large())]))
            })
        }
    }
}

unsafe fn all_to_js(env: sys::napi_env, values: Vec<Value>) -> Result<Vec<sys::napi_value>> {
    // SAFETY: the caller's promise about `env`.
    values
        .into_iter()
        .map(|value| unsafe { to_js(env, value) })
        .collect()
}

/// Forgets the exception that a failed call may have left.
unsafe fn clear_exception(env: sys::napi_env) {
    let mut exception = ptr::null_mut();
    // SAFETY: the caller's promise about `env`. Where no exception is pending, this fails or gives undefined.
    let _none = unsafe { sys::napi_get_and_clear_last_exception(env, &raw mut exception) };
}

unsafe fn to_js(env: sys::napi_env, value: Value) -> Result<sys::napi_value> {
    // SAFETY: the caller's promise about `env`; the array is a value of `env`, made just before.
    unsafe {
        match value {
            Value::Undefined => ToNapiValue::to_napi_value(env, ()),
            Value::Bool(flag) => ToNapiValue::to_napi_value(env, flag),
            Value::Number(number) => ToNapiValue::to_napi_value(env, number),
            Value::Name(name) => ToNapiValue::to_napi_value(env, name),
            Value::Text(bytes) => string(env, &bytes),
            Value::Ascii(bytes) => ascii(env, bytes),
            // The share is held until here, and JavaScript has the bytes.
            Value::Content(Content { bytes, share: _share }) => buffer(env, bytes),
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

/// The largest file whose bytes are copied. Memory that V8 is lent waits for a full collection to be given back.
const COPIED_BYTES: usize = 256 * 1024;

unsafe fn buffer(env: sys::napi_env, bytes: Vec<u8>) -> Result<sys::napi_value> {
    if bytes.len() > COPIED_BYTES {
        // SAFETY: the caller's promise about `env`.
        return unsafe { ToNapiValue::to_napi_value(env, Buffer::from(bytes)) };
    }
    // SAFETY: the caller's promise about `env`.
    unsafe { copied_buffer(env, &bytes) }
}

/// A buffer of V8's own, which the quick collections of the young generation free. A fast stream in memory that V8 is lent
/// would bring about a full one every few dozen megabytes.
unsafe fn copied_buffer(env: sys::napi_env, bytes: &[u8]) -> Result<sys::napi_value> {
    let (mut value, mut data) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: the caller's promise about `env`; pointer and length are of one slice, which is copied.
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

/// The longest string of V8's, in units of UTF-16. It takes UTF-8 of as many bytes, though that may be fewer units.
const MOST_UNITS: usize = (1 << 29) - 24;

/// A string of valid UTF-8 that is too long for V8 to decode itself.
unsafe fn wide_string(env: sys::napi_env, text: &[u8]) -> Result<sys::napi_value> {
    let text = str::from_utf8(text).map_err(|error| napi::Error::from_reason(error.to_string()))?;
    let units: Vec<u16> = text.encode_utf16().collect();
    let mut value = ptr::null_mut();
    // SAFETY: the caller's promise about `env`; pointer and length are of one vector, which V8 copies.
    check_status!(unsafe {
        sys::napi_create_string_utf16(env, units.as_ptr(), units.len() as isize, &raw mut value)
    })?;
    Ok(value)
}

/// A string of valid UTF-8. Plain ASCII takes V8's one-byte path, several times as fast.
unsafe fn string(env: sys::napi_env, text: &[u8]) -> Result<sys::napi_value> {
    if text.is_ascii() {
        // SAFETY: the caller's promise about `env`.
        return unsafe { one_byte_string(env, text) };
    }
    if text.len() > MOST_UNITS {
        // SAFETY: the caller's promise about `env`.
        return unsafe { wide_string(env, text) };
    }
    let mut value = ptr::null_mut();
    // SAFETY: the caller's promise about `env`; pointer and length are of one slice of UTF-8, which V8 copies.
    check_status!(unsafe {
        sys::napi_create_string_utf8(env, text.as_ptr().cast(), text.len() as isize, &raw mut value)
    })?;
    Ok(value)
}

unsafe fn one_byte_string(env: sys::napi_env, text: &[u8]) -> Result<sys::napi_value> {
    let mut value = ptr::null_mut();
    // SAFETY: the caller's promise about `env`; pointer and length are of one slice, which V8 copies.
    check_status!(unsafe {
        sys::napi_create_string_latin1(env, text.as_ptr().cast(), text.len() as isize, &raw mut value)
    })?;
    Ok(value)
}

/// The shortest string whose bytes V8 is lent. Shorter ones are sooner copied than kept track of.
const LENT_TEXT: usize = 1024 * 1024;

/// `node_api_create_external_string_latin1`: in every Node.js from 20.4 on, and part of Node-API version 10.
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
        // SAFETY: a C string; where Node.js exports the name, it is a function of that signature.
        unsafe {
            let found = libc::dlsym(
                libc::RTLD_DEFAULT,
                c"node_api_create_external_string_latin1".as_ptr(),
            );
            mem::transmute::<*mut c_void, Option<CreateExternalString>>(found)
        }
    })
}

/// A string of ASCII: a long one is V8's to read where it is, and freed when V8 has no more use for it.
unsafe fn ascii(env: sys::napi_env, text: Vec<u8>) -> Result<sys::napi_value> {
    let create = match create_external_string() {
        Some(create) if text.len() >= LENT_TEXT => create,
        // SAFETY: the caller's promise about `env`.
        _ => return unsafe { one_byte_string(env, &text) },
    };
    let mut value = ptr::null_mut();
    let mut copied = false;
    let lent = Box::into_raw(Box::new(text));
    // SAFETY: the caller's promise about `env`; the vector lives, unchanged, until Node.js has `free_text` take it back, once.
    // Whether Node.js also does so for a string that it failed to make is not documented, so the vector is not freed here then.
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
    // SAFETY: `ascii` has given it away.
    drop(unsafe { Box::from_raw(lent.cast::<Vec<u8>>()) });
}
