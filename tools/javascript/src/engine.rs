//! One script in one engine, with a console and three functions over files.

use crate::Ran;
use boa_engine::builtins::promise::PromiseState;
use boa_engine::object::ObjectInitializer;
use boa_engine::object::builtins::{JsArray, JsPromise};
use boa_engine::property::Attribute;
use boa_engine::{
    Context, JsError, JsNativeError, JsResult, JsValue, NativeFunction, Source, js_string,
};
use forerun_tool_kit::text::{self, cut};
use forerun_tool_kit::{Error, Output, Places};
use serde_json::Value;
use std::cell::RefCell;
use std::fs;

/// Bytes of the log, and of the value as text, that are returned.
const TEXT_BYTES_MAX: usize = 64 << 10;
/// Calls within calls; more would overflow the stack of the engine itself.
const RECURSION_MAX: usize = 400;

thread_local! {
    /// What the console printed, and where files lie: functions of the engine are plain
    /// pointers, and an instance has one thread and one call.
    static LOG: RefCell<String> = const { RefCell::new(String::new()) };
    static PLACES: RefCell<Option<Places>> = const { RefCell::new(None) };
}

pub(crate) fn run(code: &str, places: &Places) -> Result<Output<Ran>, Error> {
    PLACES.set(Some(places.clone()));
    let mut context = Context::default();
    context
        .runtime_limits_mut()
        .set_recursion_limit(RECURSION_MAX);
    let result = prepare(&mut context).and_then(|()| evaluate(code, &mut context));
    let log = LOG.take();
    match result {
        Ok(value) => Ok(present(&log, &value, &mut context)),
        Err(error) => {
            let mut text = uncaught(&error, &mut context);
            if !log.is_empty() {
                text.push_str(&format!("\n[log]\n{}", cut(&log, TEXT_BYTES_MAX).0));
            }
            Err(Error::Refused(text))
        }
    }
}

fn evaluate(code: &str, context: &mut Context) -> JsResult<JsValue> {
    let value = context.eval(Source::from_bytes(code))?;
    context.run_jobs()?;
    let Some(promise) = value
        .as_object()
        .and_then(|object| JsPromise::from_object(object.clone()).ok())
    else {
        return Ok(value);
    };
    match promise.state() {
        PromiseState::Fulfilled(value) => Ok(value),
        PromiseState::Rejected(reason) => Err(JsError::from_opaque(reason)),
        PromiseState::Pending => Ok(js_string!("[a promise that is never settled]").into()),
    }
}

fn uncaught(error: &JsError, context: &mut Context) -> String {
    // An error object says its name and message; anything else can be thrown, too.
    let shown = match error.try_native(context) {
        Ok(native) => native.to_string(),
        Err(_) => error.to_string(),
    };
    let (shown, _) = cut(&shown, TEXT_BYTES_MAX);
    format!("uncaught {shown}")
}

fn present(log: &str, value: &JsValue, context: &mut Context) -> Output<Ran> {
    let printed = print(value);
    let json = match value.to_json(context) {
        Ok(json) => json.unwrap_or_default(),
        Err(_) => Value::String(printed.clone()),
    };
    let mut shown = Vec::new();
    let (log, cut_log) = cut(log, TEXT_BYTES_MAX);
    if !log.is_empty() {
        shown.push(log.trim_end_matches('\n').to_owned());
    }
    if cut_log {
        shown.push("[the log was cut]".into());
    }
    let mut kept = json;
    if !value.is_undefined() {
        let (text, cut_value) = cut(&printed, TEXT_BYTES_MAX);
        shown.push(format!("=> {text}"));
        if cut_value || kept.to_string().len() > TEXT_BYTES_MAX {
            shown.push("[the value was cut]".into());
            kept = Value::String(text.to_owned());
        }
    } else if shown.is_empty() {
        shown.push("[no output]".into());
    }
    Output::new(
        shown.join("\n"),
        Ran {
            log: log.to_owned(),
            value: kept,
        },
    )
}

/// As a console prints it: texts as they are, everything else as source.
fn print(value: &JsValue) -> String {
    match value.as_string() {
        Some(text) => text.to_std_string_lossy(),
        None => value.display().to_string(),
    }
}

fn prepare(context: &mut Context) -> JsResult<()> {
    let mut console = ObjectInitializer::new(context);
    for name in ["log", "info", "warn", "error", "debug"] {
        console.function(NativeFunction::from_fn_ptr(log), js_string!(name), 0);
    }
    let console = console.build();
    context.register_global_property(js_string!("console"), console, Attribute::all())?;
    for (name, arguments, function) in [
        ("readFile", 1, NativeFunction::from_fn_ptr(read_file)),
        ("writeFile", 2, NativeFunction::from_fn_ptr(write_file)),
        ("listDir", 1, NativeFunction::from_fn_ptr(list_dir)),
    ] {
        context.register_global_callable(js_string!(name), arguments, function)?;
    }
    Ok(())
}

#[expect(clippy::unnecessary_wraps, reason = "the engine's signature")]
fn log(_: &JsValue, arguments: &[JsValue], _: &mut Context) -> JsResult<JsValue> {
    let line: Vec<String> = arguments.iter().map(print).collect();
    LOG.with_borrow_mut(|log| {
        // Enough to show that it was cut; stops a loop that prints from using up memory.
        if log.len() <= TEXT_BYTES_MAX {
            log.push_str(&line.join(" "));
            log.push('\n');
        }
    });
    Ok(JsValue::undefined())
}

/// Runs a function over files; what fails is an exception of the script.
fn with_places<T>(run: impl FnOnce(&Places) -> Result<T, Error>) -> JsResult<T> {
    PLACES.with_borrow(|places| {
        places
            .as_ref()
            .ok_or_else(|| Error::Refused("there are no files".into()))
            .and_then(run)
            .map_err(|error| {
                JsNativeError::error()
                    .with_message(error.to_string())
                    .into()
            })
    })
}

fn text_argument(arguments: &[JsValue], index: usize, name: &str) -> JsResult<String> {
    match arguments.get(index).and_then(JsValue::as_string) {
        Some(text) => Ok(text.to_std_string_lossy()),
        None => Err(JsNativeError::typ()
            .with_message(format!("argument {} ({name}) must be a string", index + 1))
            .into()),
    }
}

fn read_file(_: &JsValue, arguments: &[JsValue], _: &mut Context) -> JsResult<JsValue> {
    let path = text_argument(arguments, 0, "path")?;
    let text = with_places(|places| text::read(&places.find(&path)?))?;
    Ok(js_string!(text).into())
}

fn write_file(_: &JsValue, arguments: &[JsValue], _: &mut Context) -> JsResult<JsValue> {
    let path = text_argument(arguments, 0, "path")?;
    let text = text_argument(arguments, 1, "text")?;
    with_places(|places| {
        let place = places.find_within(&path)?;
        place.make_parents()?;
        fs::write(&place.path, text).map_err(Error::io("write", &place.shown))
    })?;
    Ok(JsValue::undefined())
}

fn list_dir(_: &JsValue, arguments: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    let path = match arguments.first() {
        Some(_) => text_argument(arguments, 0, "path")?,
        None => ".".into(),
    };
    let names = with_places(|places| {
        let place = places.find(&path)?;
        let mut names = Vec::new();
        for entry in fs::read_dir(&place.path).map_err(Error::io("list", &place.shown))? {
            let entry = entry.map_err(Error::io("list", &place.shown))?;
            let Ok(mut name) = entry.file_name().into_string() else {
                continue;
            };
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                name.push('/');
            }
            names.push(name);
        }
        names.sort_unstable();
        Ok(names)
    })?;
    let names = names.into_iter().map(|name| js_string!(name).into());
    Ok(JsArray::from_iter(names, context).into())
}
