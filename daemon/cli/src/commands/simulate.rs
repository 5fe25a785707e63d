//! `forerun simulate`: the planner in virtual time. Needs no daemon, and reads and writes
//! nothing but the files that it is given.

use crate::args::{PredictArgs, ReplayArgs, Results, SimulateCommand, WindowArg};
use crate::commands::with_causes;
use crate::failure::{Exit, Failure};
use crate::output::Output;
use forerun_planner::Window;
use forerun_simulate::compare::Compare;
use forerun_simulate::paper::{FIGURES, Paper};
use forerun_simulate::predict::{self, Split};
use forerun_simulate::preset::Preset;
use forerun_simulate::replay::{self, Replay};
use forerun_simulate::study::Study;
use forerun_simulate::table::Table;
use forerun_simulate::trace::{self, Episode};
use std::io::Read;
use std::path::Path;

/// Most bytes of a trace; stops a file that is none, or a device, from filling the memory.
const TRACE_BYTES_MAX: u64 = 256 << 20;

/// `forerun simulate …`
pub(crate) fn simulate(output: Output, command: SimulateCommand) -> Result<(), Failure> {
    match command {
        SimulateCommand::Paper {
            figures,
            seeds,
            window,
            out,
            results,
        } => {
            let paper = Paper {
                seeds: seeds.range(),
                window: window.into(),
            };
            let wanted = |figure: &&u8| figures.is_empty() || figures.contains(figure);
            let figures: Vec<u8> = FIGURES.iter().filter(wanted).copied().collect();
            papers(output, &paper, &figures, out.as_deref(), results)
        }
        SimulateCommand::Replay(args) => replays(output, &args),
        SimulateCommand::Predict(args) => predictions(output, &args),
        SimulateCommand::Compare {
            taus,
            steps,
            seeds,
            results,
        } => {
            let compare = Compare {
                seeds: seeds.range(),
                steps,
                taus,
            };
            print(output, results, &compare.table(), true);
            Ok(())
        }
    }
}

fn papers(
    output: Output,
    paper: &Paper,
    figures: &[u8],
    out: Option<&Path>,
    results: Results,
) -> Result<(), Failure> {
    if let Some(dir) = out {
        std::fs::create_dir_all(dir).map_err(|error| not_written(dir, &error))?;
    }
    let mut is_first = true;
    for study in figures.iter().filter_map(|figure| paper.figure(*figure)) {
        if output.json || results.csv {
            print(output, results, &study.table(), is_first);
        } else {
            for measure in 0..study.measures.len() {
                output.line(&study.overview(measure));
            }
        }
        is_first = false;
        if let Some(dir) = out {
            write(output, dir, &study)?;
        }
        if output.reader_is_gone() {
            break;
        }
    }
    Ok(())
}

/// One CSV file for a study, and one plot for each of its measures.
fn write(output: Output, dir: &Path, study: &Study) -> Result<(), Failure> {
    let mut files = vec![(format!("{}.csv", study.id), study.table().csv())];
    for (number, measure) in study.measures.iter().enumerate() {
        let svg = study
            .svg(number)
            .map_err(|error| Failure::new(Exit::Software, "PLOT", error.to_string()))?;
        files.push((format!("{}-{}.svg", study.id, measure.column), svg));
    }
    for (name, content) in files {
        let path = dir.join(name);
        std::fs::write(&path, content).map_err(|error| not_written(&path, &error))?;
        output.note(&format!("written: {}", path.display()));
    }
    Ok(())
}

fn replays(output: Output, args: &ReplayArgs) -> Result<(), Failure> {
    let mut episodes = Vec::new();
    for path in &args.files {
        let found = runs(path)?;
        if found.iter().all(|episode| !episode.is_proposed()) {
            let path = path.display();
            output.note(&format!(
                "{path}: nothing was proposed in it, so that nothing runs ahead"
            ));
        }
        episodes.extend(found);
    }
    let arm = |config| Replay {
        config,
        target_seconds: args.target_seconds,
    };
    let preset = args.preset;
    let mut config = preset.config();
    if let Some(depth) = args.depth {
        config.depth = depth;
    }
    let arms = [
        ("off", arm(Preset::Off.config())),
        (preset.name(), arm(config)),
    ];
    let table = replay::compare(&episodes, &arms);
    print(output, args.results, &table, true);
    Ok(())
}

fn predictions(output: Output, args: &PredictArgs) -> Result<(), Failure> {
    let mut episodes = Vec::new();
    for path in &args.files {
        episodes.extend(runs(path)?);
    }
    let split = match args.folds {
        Some(parts) => Split::Folds {
            parts: parts as usize,
            seed: args.seed,
        },
        None if args.in_order => Split::Order,
        None => Split::Tasks,
    };
    let [hits, by_confidence] = predict::tables(&episodes, split);
    let table = match args.confidence {
        true => by_confidence,
        false => hits,
    };
    print(output, args.results, &table, true);
    Ok(())
}

/// The runs that a trace records; at least one.
fn runs(path: &Path) -> Result<Vec<Episode>, Failure> {
    let text = read(path)?;
    let found = trace::parse(&text).map_err(|error| {
        let message = format!("{}: {}", path.display(), with_causes(&error));
        Failure::new(Exit::Data, &error.code().to_uppercase(), message)
    })?;
    if found.is_empty() {
        let message = format!("{}: there is no run in it", path.display());
        return Err(Failure::new(Exit::Data, "TRACE_EMPTY", message));
    }
    Ok(found)
}

/// A table as it is wanted. `head`: whether the names of its columns belong to its CSV.
fn print(output: Output, results: Results, table: &Table, head: bool) {
    if output.json {
        table.objects().for_each(|row| output.value(&row));
    } else if results.csv {
        let csv = table.csv();
        csv.lines()
            .skip(usize::from(!head))
            .for_each(|line| output.line(line));
    } else {
        output.line(table.markdown().trim_end());
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    let not_read = |error: std::io::Error| {
        let exit = match error.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::IsADirectory => Exit::NoInput,
            std::io::ErrorKind::InvalidData => Exit::Data,
            _ => Exit::Io,
        };
        Failure::new(
            exit,
            "TRACE_UNREADABLE",
            format!("{}: {error}", path.display()),
        )
    };
    let file = std::fs::File::open(path).map_err(not_read)?;
    let mut text = String::new();
    let read = file
        .take(TRACE_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(not_read)?;
    if read as u64 > TRACE_BYTES_MAX {
        let message = format!("{}: more than {TRACE_BYTES_MAX} bytes", path.display());
        return Err(Failure::new(Exit::Data, "TRACE_LIMIT", message));
    }
    Ok(text)
}

fn not_written(path: &Path, error: &std::io::Error) -> Failure {
    Failure::io(&format!("{} can not be written", path.display()), error)
}

impl From<WindowArg> for Window {
    fn from(window: WindowArg) -> Self {
        match window {
            WindowArg::Sliding => Window::Sliding,
            WindowArg::Barrier => Window::Barrier,
        }
    }
}
