//! What the tools do.

use crate::network;
use std::fs;
use std::io::Write;
use std::time::{Duration, Instant, SystemTime};

/// Bytes that one call may still move.
const LARGE: usize = 24 << 20;

pub(crate) type Attack = fn() -> String;

pub(crate) const ATTACKS: &[(&str, Attack)] = &[
    ("trap", || {
        fs::write("/workspace/written", "x").expect("writes");
        panic!("on purpose")
    }),
    ("exit", || {
        let _ = fs::write("/workspace/written", "x");
        std::process::exit(3)
    }),
    ("spin", || {
        let mut number = 1_u64;
        loop {
            number = std::hint::black_box(number.wrapping_mul(3));
        }
    }),
    ("recurse", || recurse(0).to_string()),
    ("wait", || {
        let _ = fs::write("/workspace/written", "x");
        std::thread::sleep(Duration::from_secs(1_000_000));
        "woke up".into()
    }),
    ("wait_in_short_sleeps", || {
        loop {
            std::thread::sleep(Duration::from_millis(1));
        }
    }),
    ("allocate", || {
        let _ = fs::write("/workspace/written", "x");
        let mut held = Vec::new();
        loop {
            held.push(std::hint::black_box(vec![1_u8; 1 << 20]));
        }
    }),
    ("print", || {
        // As much as there is time for would take long; this is 64 times the limit.
        let line = [b'x'; 4096];
        let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
        for _ in 0..16_384 {
            out.write_all(&line).expect("printing never fails");
            err.write_all(&line).expect("printing never fails");
        }
        "printed".into()
    }),
    ("print_and_trap", || {
        let line = [b'y'; 1_024];
        for _ in 0..4_096 {
            std::io::stderr()
                .write_all(&line)
                .expect("printing never fails");
        }
        panic!("the last words")
    }),
    ("long_answer", || "z".repeat(4 << 20)),
    ("enormous_answer", || "z".repeat(64 << 20)),
    ("garbage", || "structured output follows".into()),
    ("fill_a_file", || {
        let mut file = fs::File::create("/workspace/large").expect("created");
        let chunk = vec![b'x'; 1 << 20];
        loop {
            if let Err(error) = file.write_all(&chunk) {
                return format!("failed: {error}");
            }
        }
    }),
    ("fill_tmp", || {
        let mut file = fs::File::create("/tmp/large").expect("created");
        let chunk = vec![b'x'; 1 << 20];
        loop {
            if let Err(error) = file.write_all(&chunk) {
                return format!("failed: {error}");
            }
        }
    }),
    ("grow_a_file", || {
        let file = fs::File::create("/workspace/large").expect("created");
        match file.set_len(u64::MAX / 4) {
            Ok(()) => "grown".into(),
            Err(error) => format!("failed: {error}"),
        }
    }),
    ("create_files", || {
        for index in 0_u64.. {
            if let Err(error) = fs::write(format!("/workspace/{index}"), "") {
                return format!("failed: {error}");
            }
        }
        "counted to the end".into()
    }),
    ("open_handles", || {
        let _ = fs::write("/workspace/written", "x");
        let mut held = Vec::new();
        loop {
            match fs::File::open("/workspace") {
                Ok(file) => held.push(file),
                Err(error) => return format!("failed: {error}"),
            }
        }
    }),
    ("random", || {
        let mut bytes = wasip2::random::random::get_random_bytes(16);
        bytes.extend(wasip2::random::insecure::get_insecure_random_bytes(16));
        let (one, two) = wasip2::random::insecure_seed::insecure_seed();
        format!(
            "{bytes:?} {one} {two} {}",
            wasip2::random::random::get_random_u64()
        )
    }),
    ("much_random", || {
        wasip2::random::random::get_random_bytes(1 << 40)
            .len()
            .to_string()
    }),
    ("clock", || {
        let wall = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .expect("after 1970");
        let started = Instant::now();
        std::thread::sleep(Duration::from_millis(5));
        format!("{wall:?} {:?}", started.elapsed())
    }),
    ("touch", || {
        // The time of a new file shows the clock, and is part of no digest.
        fs::write("/workspace/touched", "x").expect("writes");
        let modified = fs::metadata("/workspace/touched").and_then(|meta| meta.modified());
        format!("{modified:?}")
    }),
    ("environment", || {
        format!(
            "{:?} {:?} {:?}",
            std::env::args().collect::<Vec<_>>(),
            std::env::vars().collect::<Vec<_>>(),
            wasip2::cli::environment::initial_cwd()
        )
    }),
    ("read_input", || {
        let mut text = String::new();
        let read = std::io::Read::read_to_string(&mut std::io::stdin(), &mut text);
        format!("{read:?} {text}")
    }),
    ("connect", || {
        match std::net::TcpStream::connect(("127.0.0.1", 22)) {
            Ok(_) => "connected".into(),
            Err(_) => "failed: refused".into(),
        }
    }),
    (
        "look_up",
        || match std::net::ToSocketAddrs::to_socket_addrs("example.com:80") {
            Ok(_) => "found".into(),
            Err(_) => "failed: refused".into(),
        },
    ),
    ("call_without_end", || {
        loop {
            std::hint::black_box(wasip2::clocks::wall_clock::now());
        }
    }),
    ("write_much_without_end", || {
        // Each call keeps the host busy for many ticks of the guest's clock.
        fs::write("/workspace/written", "x").expect("writes");
        let (file, much) = (raw::open("written"), vec![b'x'; LARGE]);
        loop {
            std::hint::black_box(file.write(&much, 0).expect("writes"));
        }
    }),
    ("ask_without_end", || {
        let over = wasip2::clocks::monotonic_clock::subscribe_duration(0);
        loop {
            over.block();
        }
    }),
    ("wait_for_one_thing_a_million_times", || {
        let over = wasip2::clocks::monotonic_clock::subscribe_duration(0);
        let all = vec![&over; 1 << 20];
        wasip2::io::poll::poll(&all).len().to_string()
    }),
    ("wait_for_nothing", || {
        wasip2::io::poll::poll(&[]).len().to_string()
    }),
    ("print_without_end", || {
        let line = [b'x'; 4096];
        loop {
            std::io::stdout()
                .write_all(&line)
                .expect("printing never fails");
        }
    }),
    ("close_output", || {
        for _ in 0..10_000 {
            drop(wasip2::cli::stdout::get_stdout());
            drop(wasip2::cli::stderr::get_stderr());
        }
        writeln!(std::io::stdout(), "still printing").expect("printing never fails");
        "went on".into()
    }),
    ("open_directories", || {
        let (root, mut held) = (raw::workspace(), Vec::new());
        loop {
            held.push(root.read_directory());
        }
    }),
    ("open_timers", || {
        let mut held = Vec::new();
        loop {
            held.push(wasip2::clocks::monotonic_clock::subscribe_duration(1 << 60));
        }
    }),
    ("open_streams", || {
        fs::write("/workspace/written", "x").expect("writes");
        let (file, mut held) = (raw::open("written"), Vec::new());
        loop {
            held.push(file.read_via_stream(0));
        }
    }),
    ("huge_file", || {
        let file = fs::File::create("/workspace/large").expect("created");
        match file.set_len(1 << 60) {
            Ok(()) => "grown".into(),
            Err(error) => format!("failed: {error}"),
        }
    }),
    ("huge_file_by_one_byte", || {
        fs::write("/workspace/written", "x").expect("writes");
        format!("{:?}", raw::open("written").write(b"x", 1 << 60))
    }),
    ("write_at_the_end_of_all", || {
        fs::write("/workspace/written", "x").expect("writes");
        let file = raw::open("written");
        let refused: Vec<_> = [u64::MAX, u64::MAX - 1, 1 << 63, (1 << 63) - 1]
            .into_iter()
            .map(|offset| file.write(b"xy", offset).map_err(|error| error.name()))
            .collect();
        format!("{refused:?}")
    }),
    ("read_all_at_once", || {
        fs::write("/workspace/written", "x").expect("writes");
        let read = raw::open("written").read(u64::MAX, 0);
        format!("{:?}", read.map(|(bytes, _)| bytes.len()))
    }),
    ("copy_a_file_into_itself", || {
        fs::write("/workspace/written", "x".repeat(4096)).expect("writes");
        let file = raw::open("written");
        let from = file.read_via_stream(0).expect("a stream");
        let to = file.append_via_stream().expect("a stream");
        loop {
            if let Err(error) = to.blocking_splice(&from, u64::MAX) {
                return format!("failed: {error}");
            }
        }
    }),
    ("deep_directories", || {
        // Deeper than any path is long: each is opened from the one above it.
        let mut directory = raw::workspace();
        for depth in 0..20_000 {
            let made = directory.create_directory_at("d");
            match made.and_then(|()| raw::open_directory(&directory, "d")) {
                Ok(next) => directory = next,
                Err(error) => return format!("{} at {depth}", error.name()),
            }
        }
        "as deep as can be".into()
    }),
    ("names", || {
        let root = raw::workspace();
        let long = "n".repeat(10_000);
        let names = [
            "a\0b",
            "\0",
            "..",
            "../x",
            "a/../../x",
            "/x",
            "x/",
            "",
            &long,
        ];
        let made: Vec<_> = names
            .iter()
            .map(|name| root.create_directory_at(name).map_err(|error| error.name()))
            .collect();
        format!("{made:?}")
    }),
    ("follow_loops", || {
        let root = raw::workspace();
        root.symlink_at("two/x", "one").expect("made");
        root.symlink_at("one/x", "two").expect("made");
        root.symlink_at("grow/grow", "grow").expect("made");
        let found = ["one", "two/y", "grow", "grow/grow"]
            .map(|path| fs::metadata(format!("/workspace/{path}")).is_ok());
        format!("{found:?}")
    }),
    ("request", network::request),
    ("hold_requests", network::hold_requests),
    ("sockets", network::sockets),
    ("send_a_datagram", || {
        let sent = std::net::UdpSocket::bind("127.0.0.1:0")
            .and_then(|socket| socket.send_to(b"x", "127.0.0.1:53"));
        format!("sent: {}", sent.is_ok())
    }),
    ("listen", || {
        format!(
            "listening: {}",
            std::net::TcpListener::bind("127.0.0.1:0").is_ok()
        )
    }),
    ("read_until_told", || {
        // What a race is run against: `race/secret` is a file of the workspace at times,
        // and outside of it at others.
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..20_000 {
            if let Ok(text) = fs::read_to_string("/workspace/race/secret") {
                seen.insert(text);
            }
            for entry in fs::read_dir("/workspace/race")
                .into_iter()
                .flatten()
                .flatten()
            {
                seen.insert(format!("{:?}", entry.file_name()));
            }
        }
        format!("{seen:?}")
    }),
    ("liar", || {
        fs::write("/workspace/written", "x").expect("writes");
        "I only looked".into()
    }),
    ("honest_liar", || {
        fs::write("/tmp/written", "x").expect("writes");
        "only temporary files".into()
    }),
];

#[expect(unconditional_recursion, reason = "that is the attack")]
fn recurse(depth: u64) -> u64 {
    std::hint::black_box(recurse(std::hint::black_box(depth + 1)) + 1)
}

mod raw {
    //! The system interface itself.

    use wasip2::filesystem::preopens::get_directories;
    use wasip2::filesystem::types::{Descriptor, DescriptorFlags, ErrorCode, OpenFlags, PathFlags};

    pub(super) fn workspace() -> Descriptor {
        get_directories()
            .into_iter()
            .find_map(|(descriptor, name)| (name == "/workspace").then_some(descriptor))
            .expect("it is given")
    }

    pub(super) fn open(path: &str) -> Descriptor {
        let flags = DescriptorFlags::READ | DescriptorFlags::WRITE;
        workspace()
            .open_at(PathFlags::empty(), path, OpenFlags::empty(), flags)
            .expect("opens")
    }

    pub(super) fn open_directory(from: &Descriptor, path: &str) -> Result<Descriptor, ErrorCode> {
        let flags = DescriptorFlags::READ | DescriptorFlags::MUTATE_DIRECTORY;
        from.open_at(PathFlags::empty(), path, OpenFlags::DIRECTORY, flags)
    }
}
