//! Raw calls, one a line: `[name =] call on argument…`, and a transcript with what each
//! returned, one line each.
//!
//! `.` is the workspace and `tmp` the directory for temporary files. An argument in
//! quotes is a JSON string (blanks as `\u0020`), `@256x` is `x` 256 times, `-` is a set
//! of flags with nothing in it. What is different on every host (order of a listing, how
//! much a stream takes at once, the size of a directory) is left out or sorted.

use std::collections::BTreeMap;
use wasip2::clocks::wall_clock::Datetime;
use wasip2::filesystem::preopens::get_directories;
use wasip2::filesystem::types::{
    Advice, Descriptor, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntryStream,
    ErrorCode, MetadataHashValue, NewTimestamp, OpenFlags, PathFlags, filesystem_error_code,
};
use wasip2::io::streams::{InputStream, OutputStream, StreamError};

/// Bytes that are shown as text; of more, the length and a sum are.
const SHOWN_BYTES: usize = 80;

/// What a name of the script stands for.
enum Value {
    Descriptor(Descriptor),
    Directory(DirectoryEntryStream),
    Input(InputStream),
    Output(OutputStream),
    Hash(MetadataHashValue),
}

/// What a call came to: a line, and a value to keep.
type Outcome = Result<(String, Option<Value>), String>;

pub(crate) fn run(script: &str) -> String {
    let mut values = BTreeMap::new();
    for (descriptor, name) in get_directories() {
        let known = match name.as_str() {
            "/workspace" => ".",
            "/tmp" => "tmp",
            _ => continue,
        };
        values.insert(known.to_owned(), Value::Descriptor(descriptor));
    }
    let lines: Vec<String> = script
        .lines()
        .map(|line| run_line(&mut values, line))
        .collect();
    lines.join("\n")
}

fn run_line(values: &mut BTreeMap<String, Value>, line: &str) -> String {
    let (name, call) = match line.split_once(" = ") {
        Some((name, call)) => (Some(name.trim()), call),
        None => (None, line),
    };
    let words: Vec<String> = call.split_whitespace().map(word).collect();
    if words.first().is_some_and(|first| first == "drop") {
        return match values.remove(words.get(1).map_or("", String::as_str)) {
            Some(_) => "ok".into(),
            None => "no such name".into(),
        };
    }
    match (Call { values, words }).make() {
        Ok((text, value)) => {
            if let (Some(name), Some(value)) = (name, value) {
                values.insert(name.to_owned(), value);
            }
            if text.is_empty() {
                "ok".into()
            } else {
                format!("ok {text}")
            }
        }
        Err(error) => error,
    }
}

fn word(word: &str) -> String {
    if word.starts_with('"') {
        return serde_json::from_str(word).unwrap_or_else(|error| panic!("{word}: {error}"));
    }
    if let Some(repeated) = word.strip_prefix('@') {
        let text = repeated.trim_start_matches(|c: char| c.is_ascii_digit());
        let times = repeated[..repeated.len() - text.len()].parse().unwrap_or(1);
        return text.repeat(times);
    }
    word.to_owned()
}

struct Call<'a> {
    values: &'a BTreeMap<String, Value>,
    words: Vec<String>,
}

impl Call<'_> {
    fn make(&self) -> Outcome {
        match self.values.get(self.text(1)) {
            Some(Value::Descriptor(on)) => self.on_descriptor(on),
            Some(Value::Directory(on)) => self.on_directory(on),
            Some(Value::Input(on)) => self.on_input(on),
            Some(Value::Output(on)) => self.on_output(on),
            Some(Value::Hash(one)) => match self.values.get(self.text(2)) {
                Some(Value::Hash(other)) => {
                    let equal = (one.lower, one.upper) == (other.lower, other.upper);
                    done(if equal { "equal" } else { "different" })
                }
                _ => Err("no such name".into()),
            },
            None => Err("no such name".into()),
        }
    }

    fn on_descriptor(&self, on: &Descriptor) -> Outcome {
        match self.text(0) {
            "read-via-stream" => kept(on.read_via_stream(self.number(2)), Value::Input),
            "write-via-stream" => kept(on.write_via_stream(self.number(2)), Value::Output),
            "append-via-stream" => kept(on.append_via_stream(), Value::Output),
            "advise" => unit(on.advise(self.number(2), self.number(3), advice(self.text(4)))),
            "sync-data" => unit(on.sync_data()),
            "sync" => unit(on.sync()),
            "get-flags" => on.get_flags().map_err(code).and_then(|f| done(&flags(f))),
            "get-type" => on.get_type().map_err(code).and_then(|t| done(kind(t))),
            "set-size" => unit(on.set_size(self.number(2))),
            "set-times" => unit(on.set_times(time(self.text(2)), time(self.text(3)))),
            "read" => {
                let (bytes, end) = on.read(self.number(2), self.number(3)).map_err(code)?;
                done(&format!(
                    "{}{}",
                    show(&bytes),
                    if end { " end" } else { "" }
                ))
            }
            "write" => {
                let written = on.write(self.text(2).as_bytes(), self.number(3));
                done(&written.map_err(code)?.to_string())
            }
            "read-directory" => kept(on.read_directory(), Value::Directory),
            "create-directory-at" => unit(on.create_directory_at(self.text(2))),
            "stat" => done(&stat(&on.stat().map_err(code)?)),
            "stat-at" => {
                let found = on.stat_at(self.path_flags(2), self.text(3));
                done(&stat(&found.map_err(code)?))
            }
            "times" => done(&times(&on.stat().map_err(code)?)),
            "times-at" => {
                let found = on.stat_at(self.path_flags(2), self.text(3));
                done(&times(&found.map_err(code)?))
            }
            "set-times-at" => unit(on.set_times_at(
                self.path_flags(2),
                self.text(3),
                time(self.text(4)),
                time(self.text(5)),
            )),
            "link-at" => unit(on.link_at(
                self.path_flags(2),
                self.text(3),
                self.descriptor(4)?,
                self.text(5),
            )),
            "open-at" => {
                let opened = on.open_at(
                    self.path_flags(2),
                    self.text(3),
                    open_flags(self.text(4)),
                    descriptor_flags(self.text(5)),
                );
                kept(opened, Value::Descriptor)
            }
            "readlink-at" => done(&format!(
                "{:?}",
                on.readlink_at(self.text(2)).map_err(code)?
            )),
            "remove-directory-at" => unit(on.remove_directory_at(self.text(2))),
            "rename-at" => unit(on.rename_at(self.text(2), self.descriptor(3)?, self.text(4))),
            "symlink-at" => unit(on.symlink_at(self.text(2), self.text(3))),
            "unlink-file-at" => unit(on.unlink_file_at(self.text(2))),
            "is-same-object" => {
                let same = on.is_same_object(self.descriptor(2)?);
                done(if same { "same" } else { "another" })
            }
            "metadata-hash" => kept(on.metadata_hash(), Value::Hash),
            "metadata-hash-at" => kept(
                on.metadata_hash_at(self.path_flags(2), self.text(3)),
                Value::Hash,
            ),
            other => Err(format!("no call {other} on a descriptor")),
        }
    }

    fn on_directory(&self, on: &DirectoryEntryStream) -> Outcome {
        match self.text(0) {
            "read-directory-entry" => match on.read_directory_entry().map_err(code)? {
                Some(_) => done("an entry"),
                None => done("none"),
            },
            "entries" => {
                let mut entries = Vec::new();
                while let Some(entry) = on.read_directory_entry().map_err(code)? {
                    entries.push(format!("{:?} {}", entry.name, kind(entry.type_)));
                }
                entries.sort();
                done(&entries.join(", "))
            }
            other => Err(format!("no call {other} on a directory stream")),
        }
    }

    fn on_input(&self, on: &InputStream) -> Outcome {
        match self.text(0) {
            "read" => bytes(on.read(self.number(2))),
            "blocking-read" => bytes(on.blocking_read(self.number(2))),
            "skip" => count(on.skip(self.number(2))),
            "blocking-skip" => count(on.blocking_skip(self.number(2))),
            "block" => {
                on.subscribe().block();
                done("")
            }
            "rest" => {
                let mut all = Vec::new();
                loop {
                    match on.blocking_read(1 << 16) {
                        Ok(more) => all.extend(more),
                        Err(StreamError::Closed) => break,
                        Err(error) => return Err(stream_error(error)),
                    }
                }
                done(&show(&all))
            }
            other => Err(format!("no call {other} on an input stream")),
        }
    }

    fn on_output(&self, on: &OutputStream) -> Outcome {
        let done_with = |result: Result<(), StreamError>| match result {
            Ok(()) => done(""),
            Err(error) => Err(stream_error(error)),
        };
        match self.text(0) {
            "check-write" => match on.check_write() {
                Ok(0) => done("not now"),
                Ok(_) => done("some"),
                Err(error) => Err(stream_error(error)),
            },
            "write" => done_with(on.write(self.text(2).as_bytes())),
            "blocking-write-and-flush" => {
                done_with(on.blocking_write_and_flush(self.text(2).as_bytes()))
            }
            "flush" => done_with(on.flush()),
            "blocking-flush" => done_with(on.blocking_flush()),
            "write-zeroes" => done_with(on.write_zeroes(self.number(2))),
            "blocking-write-zeroes-and-flush" => {
                done_with(on.blocking_write_zeroes_and_flush(self.number(2)))
            }
            "splice" => count(on.splice(self.input(2)?, self.number(3))),
            "blocking-splice" => count(on.blocking_splice(self.input(2)?, self.number(3))),
            "block" => {
                on.subscribe().block();
                done("")
            }
            other => Err(format!("no call {other} on an output stream")),
        }
    }

    fn text(&self, index: usize) -> &str {
        self.words.get(index).map_or("", String::as_str)
    }

    fn number(&self, index: usize) -> u64 {
        match self.text(index) {
            "max" => u64::MAX,
            text => text.parse().unwrap_or_default(),
        }
    }

    fn path_flags(&self, index: usize) -> PathFlags {
        match self.text(index) {
            "follow" => PathFlags::SYMLINK_FOLLOW,
            _ => PathFlags::empty(),
        }
    }

    fn descriptor(&self, index: usize) -> Result<&Descriptor, String> {
        match self.values.get(self.text(index)) {
            Some(Value::Descriptor(descriptor)) => Ok(descriptor),
            _ => Err("no such name".into()),
        }
    }

    fn input(&self, index: usize) -> Result<&InputStream, String> {
        match self.values.get(self.text(index)) {
            Some(Value::Input(input)) => Ok(input),
            _ => Err("no such name".into()),
        }
    }
}

fn done(text: &str) -> Outcome {
    Ok((text.to_owned(), None))
}

fn unit(result: Result<(), ErrorCode>) -> Outcome {
    result.map_err(code).and_then(|()| done(""))
}

fn kept<T>(result: Result<T, ErrorCode>, value: impl FnOnce(T) -> Value) -> Outcome {
    let kept = result.map_err(code)?;
    Ok((String::new(), Some(value(kept))))
}

fn bytes(result: Result<Vec<u8>, StreamError>) -> Outcome {
    match result {
        Ok(bytes) => done(&show(&bytes)),
        Err(error) => Err(stream_error(error)),
    }
}

fn count(result: Result<u64, StreamError>) -> Outcome {
    match result {
        Ok(count) => done(&count.to_string()),
        Err(error) => Err(stream_error(error)),
    }
}

fn code(code: ErrorCode) -> String {
    format!("error {}", code.name())
}

fn stream_error(error: StreamError) -> String {
    match error {
        StreamError::Closed => "closed".into(),
        StreamError::LastOperationFailed(error) => match filesystem_error_code(&error) {
            Some(code) => format!("failed {}", code.name()),
            None => "failed".into(),
        },
    }
}

fn show(bytes: &[u8]) -> String {
    if bytes.len() <= SHOWN_BYTES {
        return format!("{:?}", String::from_utf8_lossy(bytes));
    }
    let sum = bytes.iter().fold(0_u64, |sum, &byte| {
        sum.wrapping_mul(31).wrapping_add(byte.into())
    });
    format!("{} bytes, sum {sum:x}", bytes.len())
}

fn kind(kind: DescriptorType) -> &'static str {
    match kind {
        DescriptorType::Directory => "directory",
        DescriptorType::RegularFile => "file",
        DescriptorType::SymbolicLink => "link",
        _ => "other",
    }
}

fn stat(stat: &DescriptorStat) -> String {
    match stat.type_ {
        DescriptorType::Directory => "directory".into(),
        other => format!(
            "{} size {} links {}",
            kind(other),
            stat.size,
            stat.link_count
        ),
    }
}

fn times(stat: &DescriptorStat) -> String {
    let show = |time: Option<Datetime>| {
        time.map_or("none".into(), |time| {
            format!("{}.{:09}", time.seconds, time.nanoseconds)
        })
    };
    format!(
        "{} {}",
        show(stat.data_access_timestamp),
        show(stat.data_modification_timestamp)
    )
}

/// `-`, `now`, or `seconds.nanoseconds`.
fn time(text: &str) -> NewTimestamp {
    match text.split_once('.') {
        Some((seconds, nanoseconds)) => NewTimestamp::Timestamp(Datetime {
            seconds: match seconds {
                "max" => u64::MAX,
                seconds => seconds.parse().unwrap_or_default(),
            },
            nanoseconds: nanoseconds.parse().unwrap_or_default(),
        }),
        None if text == "now" => NewTimestamp::Now,
        None => NewTimestamp::NoChange,
    }
}

fn advice(text: &str) -> Advice {
    match text {
        "sequential" => Advice::Sequential,
        "random" => Advice::Random,
        "will-need" => Advice::WillNeed,
        "dont-need" => Advice::DontNeed,
        "no-reuse" => Advice::NoReuse,
        _ => Advice::Normal,
    }
}

fn open_flags(text: &str) -> OpenFlags {
    text.split('+').fold(OpenFlags::empty(), |flags, flag| {
        flags
            | match flag {
                "create" => OpenFlags::CREATE,
                "directory" => OpenFlags::DIRECTORY,
                "exclusive" => OpenFlags::EXCLUSIVE,
                "truncate" => OpenFlags::TRUNCATE,
                _ => OpenFlags::empty(),
            }
    })
}

const FLAGS: [(&str, DescriptorFlags); 6] = [
    ("read", DescriptorFlags::READ),
    ("write", DescriptorFlags::WRITE),
    ("file-sync", DescriptorFlags::FILE_INTEGRITY_SYNC),
    ("data-sync", DescriptorFlags::DATA_INTEGRITY_SYNC),
    ("requested-sync", DescriptorFlags::REQUESTED_WRITE_SYNC),
    ("mutate", DescriptorFlags::MUTATE_DIRECTORY),
];

fn descriptor_flags(text: &str) -> DescriptorFlags {
    FLAGS
        .iter()
        .filter(|(name, _)| text.split('+').any(|flag| flag == *name))
        .fold(DescriptorFlags::empty(), |flags, (_, flag)| flags | *flag)
}

fn flags(flags: DescriptorFlags) -> String {
    let names: Vec<&str> = FLAGS
        .iter()
        .filter(|(_, flag)| flags.contains(*flag))
        .map(|(name, _)| *name)
        .collect();
    names.join("+")
}
