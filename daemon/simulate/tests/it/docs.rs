//! The tables of the pages are what the code prints. With `UPDATE_DOCS=1` they are written
//! anew.

use crate::predict::AIRLINE;
use forerun_planner::Window;
use forerun_simulate::compare::Compare;
use forerun_simulate::paper::Paper;
use forerun_simulate::predict::{Split, tables};
use forerun_simulate::preset::{self, Preset};
use forerun_simulate::table::Table;
use forerun_simulate::trace;
use std::path::{Path, PathBuf};

/// The same as `forerun simulate paper` has without flags.
const SEEDS: u64 = 100;

fn page(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn overview(figure: u8) -> String {
    let paper = Paper {
        seeds: 0..SEEDS,
        window: Window::Barrier,
    };
    let study = paper.figure(figure).expect("one of the figures");
    let texts = (0..study.measures.len()).map(|measure| study.overview(measure));
    format!("```text\n{}```\n", texts.collect::<Vec<_>>().join("\n"))
}

fn markdown(table: &Table) -> String {
    table.markdown()
}

#[test]
fn the_tables_of_the_page_are_what_the_code_prints() {
    let airline = trace::parse(AIRLINE).expect("a trace");
    let [hits, _] = tables(&airline, Split::Tasks);
    let [in_order, by_confidence] = tables(&airline, Split::Order);
    let sections = [
        ("figure-9", overview(9)),
        ("figure-11", overview(11)),
        ("figure-12", overview(12)),
        ("figure-20", overview(20)),
        ("acceptance", markdown(&Compare::documented().acceptance())),
        ("predicted", markdown(&hits)),
        ("by-confidence", markdown(&by_confidence)),
        ("in-order", markdown(&in_order)),
    ];
    compare("README.md", &sections);
}

#[test]
fn the_page_of_presets_has_their_settings_and_a_section_for_each() {
    let path = "../planner/PRESETS.md";
    compare(path, &[("settings", markdown(&preset::table()))]);
    let text = std::fs::read_to_string(page(path)).expect("the page");
    for preset in Preset::ALL {
        assert!(text.contains(&format!("\n## `{preset}`\n")), "{preset}");
    }
    // It says that this one is not there.
    assert!("spec-cache".parse::<Preset>().is_err());
    assert!(text.contains("\n## `spec-cache`\n"));
}

/// Whether each section of a page is what it should be.
fn compare(path: &str, sections: &[(&str, String)]) {
    let mut text = std::fs::read_to_string(page(path)).expect("the page");
    for (name, content) in sections {
        let (begin, end) = (
            format!("<!-- begin {name} -->\n"),
            format!("<!-- end {name} -->"),
        );
        let from = text.find(&begin).expect("the section begins") + begin.len();
        let to = text.find(&end).expect("the section ends");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            text.replace_range(from..to, content);
        } else {
            assert_eq!(&text[from..to], content, "{name}: UPDATE_DOCS=1 writes it");
        }
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(page(path), text).expect("written");
    }
}
