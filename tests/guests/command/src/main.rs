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
            "post" => println!("{}", post(of)?),
            "try" => println!("{:?}", post(of).map_err(|error| error.kind())),
            // A host, and a path that need be none.
            "ask" => {
                let (authority, path) = of.split_once(' ').unwrap_or((of, "/"));
                println!("{}", send(authority, path)?);
            }
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

/// Sends an empty POST; the status of the response.
fn post(url: &str) -> io::Result<u16> {
    let rest = url.strip_prefix("http://").unwrap_or(url);
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    send(authority, path)
}

#[cfg(target_arch = "wasm32")]
fn send(authority: &str, path: &str) -> io::Result<u16> {
    use wasip2::http::outgoing_handler;
    use wasip2::http::types::{Fields, Method, OutgoingRequest, Scheme};
    let failed = |what: String| io::Error::other(format!("POST {authority}{path}: {what}"));
    let request = OutgoingRequest::new(Fields::new());
    let set = request
        .set_method(&Method::Post)
        .and_then(|()| request.set_scheme(Some(&Scheme::Http)))
        .and_then(|()| request.set_authority(Some(authority)))
        .and_then(|()| request.set_path_with_query(Some(path)));
    set.map_err(|()| failed("it is not valid".into()))?;
    let future = outgoing_handler::handle(request, None);
    let future = future.map_err(|code| failed(code.to_string()))?;
    future.subscribe().block();
    match future.get() {
        Some(Ok(Ok(response))) => Ok(response.status()),
        Some(Ok(Err(code))) => Err(failed(code.to_string())),
        Some(Err(())) | None => Err(failed("there is no response".into())),
    }
}

#[cfg(not(target_arch = "wasm32"))]
fn send(_: &str, _: &str) -> io::Result<u16> {
    Err(io::Error::other("only in a sandbox"))
}
