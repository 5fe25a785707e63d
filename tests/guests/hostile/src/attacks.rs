//! What the tools do.

use std::fs;
use std::io::Write;
use std::time::{Duration, Instant, SystemTime};

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
