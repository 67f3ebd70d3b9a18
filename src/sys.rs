//! Making JavaScript values by hand, where napi's typed conversions would cost a copy or do not exist.
#![allow(unsafe_code)]

use std::os::fd::IntoRawFd;
use std::ptr;

use napi::bindgen_prelude::{Buffer, JsValuesTupleIntoVec, Result, ToNapiValue};
use napi::{check_status, sys};

use crate::message::{Message, Value};

impl JsValuesTupleIntoVec for Message {
    fn into_vec(self, env: sys::napi_env) -> Result<Vec<sys::napi_value>> {
        self.into_values()
            .into_iter()
            .map(|value| to_js(env, value))
            .collect()
    }
}

impl ToNapiValue for Value {
    unsafe fn to_napi_value(env: sys::napi_env, value: Self) -> Result<sys::napi_value> {
        to_js(env, value)
    }
}

fn to_js(env: sys::napi_env, value: Value) -> Result<sys::napi_value> {
    // SAFETY: `env` is the environment whose thread we are on: napi calls conversions nowhere else.
    unsafe {
        match value {
            Value::Undefined => ToNapiValue::to_napi_value(env, ()),
            Value::Bool(flag) => ToNapiValue::to_napi_value(env, flag),
            Value::Number(number) => ToNapiValue::to_napi_value(env, number),
            Value::Name(name) => ToNapiValue::to_napi_value(env, name),
            Value::Text(bytes) => string(env, &bytes),
            Value::Bytes(bytes) => buffer(env, bytes),
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

/// The largest buffer whose bytes are copied into memory of V8's own. That is freed by the quick collections of the young
/// generation; memory that V8 is lent waits for a full one, which a fast stream would bring about every few dozen megabytes.
const COPIED_BYTES: usize = 256 * 1024;

fn buffer(env: sys::napi_env, bytes: Vec<u8>) -> Result<sys::napi_value> {
    if bytes.len() > COPIED_BYTES {
        // SAFETY: `env` is the environment whose thread we are on.
        return unsafe { ToNapiValue::to_napi_value(env, Buffer::from(bytes)) };
    }
    let (mut value, mut data) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: pointer and length are of one slice, which is copied.
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

/// A string of valid UTF-8. Plain ASCII, as most output is, takes V8's one-byte path, several times as fast.
fn string(env: sys::napi_env, text: &[u8]) -> Result<sys::napi_value> {
    let mut value = ptr::null_mut();
    let (start, length) = (text.as_ptr().cast(), text.len() as isize);
    // SAFETY: pointer and length are of one slice, which V8 copies.
    unsafe {
        if text.is_ascii() {
            check_status!(sys::napi_create_string_latin1(env, start, length, &raw mut value))?;
        } else {
            check_status!(sys::napi_create_string_utf8(env, start, length, &raw mut value))?;
        }
    }
    Ok(value)
}
