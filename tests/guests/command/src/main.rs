//! A program for tests of `forerun exec`: each argument is one thing to do.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program prints"
)]

use std::io::{Read, Write};
use std::{env, fs, io, process};

fn main() -> io::Result<()> {
    for argument in env::args().skip(1) {
        let (what, of) = argument.split_once('=').unwrap_or((&argument, ""));
        match what {
            "say" => println!("{of}"),
            "complain" => eprintln!("{of}"),
            "env" => println!("{of}={:?}", env::var(of).ok()),
            "vars" => println!("{}", env::vars().count()),
            "cat" => print!("{}", fs::read_to_string(of)?),
            "list" => {
                let mut names: Vec<_> = fs::read_dir(of)?
                    .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
                    .collect::<io::Result<_>>()?;
                names.sort();
                println!("{}", names.join(" "));
            }
            "write" => {
                let (path, text) = of.split_once(':').unwrap_or((of, ""));
                fs::write(path, text)?;
            }
            "remove" => fs::remove_file(of)?,
            "echo" => {
                // As it comes, so that the other side need not end its input first.
                let mut piece = [0; 64];
                loop {
                    let read = io::stdin().read(&mut piece)?;
                    if read == 0 {
                        break;
                    }
                    io::stdout().write_all(&piece[..read])?;
                    io::stdout().flush()?;
                }
            }
            "flood" => {
                let line = [b'x'; 1024];
                for _ in 0..of.parse::<u64>().unwrap_or_default() {
                    io::stdout().write_all(&line)?;
                }
            }
            "spin" => loop {
                std::hint::spin_loop();
            },
            "panic" => panic!("{of}"),
            "exit" => process::exit(of.parse().unwrap_or(255)),
            _ => {
                eprintln!("unknown: {argument}");
                process::exit(64);
            }
        }
    }
    Ok(())
}
