//! The `forerun` program: the command line in front of the daemon, and the daemon itself
//! (`forerun serve`).
//!
//! stdout carries data, stderr everything else. Exit codes are listed in `failure`.

mod args;
mod commands;
mod example;
mod failure;
mod output;
mod render;
mod style;

use args::{Cli, Command};
use clap::Parser;
use failure::{Exit, Failure};
use output::Output;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors; everything else is EX_USAGE.
            let _ = error.print();
            return if error.use_stderr() {
                ExitCode::from(Exit::Usage as u8)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    if matches!(cli.command, Command::CompileComponent) {
        return commands::compile();
    }
    let json = cli.global.json;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let result = match runtime {
        Ok(runtime) => {
            let result = runtime.block_on(run(cli));
            // The work is done; a read of stdin that nobody needs any more would be waited for.
            runtime.shutdown_background();
            result
        }
        Err(error) => Err(Failure::io("the runtime could not be started", &error)),
    };
    let result = match result {
        Ok(_) if output::write_failed() => Err(Failure::new(
            Exit::Io,
            "IO",
            "the output could not be written",
        )),
        result => result,
    };
    match result {
        Ok(code) => code,
        Err(failure) => failure.report(json),
    }
}

async fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let Cli { global, command } = cli;
    let output = Output::new(global.json);
    match command {
        Command::Serve(args) => commands::serve(&global, args).await?,
        Command::Run(args) => return commands::run(&global, output, args).await,
        Command::Exec(args) => return commands::exec(&global, output, args).await,
        Command::Agent(args) => commands::agent(&global, output, args).await?,
        Command::Watch(args) => commands::watch(&global, output, &args).await?,
        Command::Session(command) => commands::session(&global, output, command).await?,
        Command::Log(command) => commands::log(&global, output, command).await?,
        Command::Tool(command) => return commands::tool(&global, output, command).await,
        Command::Mcp(args) => Box::pin(commands::mcp(&global, output, args)).await?,
        Command::Policy(command) => commands::policy(&global, output, command).await?,
        Command::CompileComponent => {}
        Command::Simulate(command) => commands::simulate(output, command)?,
        Command::Status => commands::status(&global, output).await?,
        Command::Shutdown => commands::shutdown(&global, output).await?,
        Command::Socket { start } => commands::socket(&global, output, start).await?,
        Command::Doctor { dir } => commands::doctor(&global, output, &dir).await?,
        interrupt => commands::interrupt(&global, output, interrupt).await?,
    }
    Ok(ExitCode::SUCCESS)
}
