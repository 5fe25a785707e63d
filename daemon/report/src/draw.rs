//! Draws a scene: header, lanes, axis, legend, and what is to be said about the log.

use crate::glyph::Glyph;
use crate::layout::{ROWS_MAX, Rows, Scale, characters_in, text_px};
use crate::run::{Run, THINGS_MAX};
use crate::scene::{Bar, Lane, Look, Mark, Scene, outcome};
use crate::svg::{Svg, cut};
use forerun_types::Role;
use std::collections::BTreeSet;

const MARGIN: f64 = 16.0;
/// Where the lanes have their names.
const GUTTER: f64 = 90.0;
const LINE: f64 = 17.0;
const ROW: f64 = 18.0;
const BAR: f64 = 14.0;
const LANE_GAP: f64 = 12.0;
/// What takes no time can be seen all the same.
const BAR_PX_MIN: f64 = 2.0;
/// Half of the place of a sign on a bar.
const SIGN: f64 = 5.5;
/// Half of the place of one that stands for itself.
const MARK: f64 = 7.0;
/// From the middle of a row to the base line of its text.
const BASE: f64 = 4.0;
/// Space at each side of a text in a bar.
const PADDING: f64 = 3.0;
/// A name that is cut to fewer characters says nothing.
const LABEL_CHARS_MIN: usize = 7;
/// What is drawn at the last instant has room.
const END_ROOM: f64 = 24.0;

/// The picture has a background of its own, so that it can be read on any; where the reader
/// prefers dark, it is dark. No colour says anything that a form or a text does not say too,
/// but for how a bar ended, where lightness differs.
const STYLE: &str = "\
.forerun text{font:11px system-ui,'DejaVu Sans',sans-serif;fill:#1f2430}\
.forerun .head{font-size:14px;font-weight:600}\
.forerun .dim{fill:#5a6372}\
.forerun .page{fill:#fff}\
.forerun path{fill:none;stroke-width:1.6;stroke:#5a6372}\
.forerun .grid{stroke:#e4e7ec;stroke-width:1}\
.forerun .rule{stroke:#c6ccd6;stroke-width:1}\
.forerun .back{stroke:#7c3aed;stroke-width:1.2;stroke-dasharray:5 3}\
.forerun .tail{stroke:#8a93a3;stroke-width:1;stroke-dasharray:1.5 2}\
.forerun .badge{fill:#fff;stroke:#c6ccd6;stroke-width:.6}\
.forerun .used .box{fill:#2563a8;stroke:#1d4f87}\
.forerun .dropped .box{fill:#e3e6ea;stroke:#8a93a3;stroke-dasharray:3 2}\
.forerun .failed .box{fill:#b3261e;stroke:#8c1d18}\
.forerun .open .box{fill:#fff3c4;stroke:#b08900}\
.forerun .wait .box{fill:#e6dcfa;stroke:#7c3aed}\
.forerun .used .in,.forerun .failed .in{fill:#fff}\
.forerun .lgood{stroke:#1a7f37}.forerun .lbad{stroke:#c5221f}.forerun .lplain{stroke:#5a6372}\
.forerun .fgood{fill:#1a7f37;stroke:none}.forerun .fbad{fill:#c5221f;stroke:none}\
.forerun .fplain{fill:#5a6372;stroke:none}.forerun .fperson{fill:#7c3aed;stroke:none}\
@media (prefers-color-scheme:dark){\
.forerun text{fill:#e3e6ea}.forerun .dim{fill:#9aa4b2}.forerun .page{fill:#14171c}\
.forerun path{stroke:#9aa4b2}.forerun .grid{stroke:#262b33}.forerun .rule{stroke:#3b424d}\
.forerun .back{stroke:#b497f5}.forerun .tail{stroke:#7d8794}\
.forerun .badge{fill:#14171c;stroke:#3b424d}\
.forerun .used .box{fill:#5b9bdf;stroke:#8fbdee}.forerun .dropped .box{fill:#2a3038;stroke:#7d8794}\
.forerun .failed .box{fill:#f2776e;stroke:#f8aaa4}.forerun .open .box{fill:#4d4113;stroke:#d1ae2f}\
.forerun .wait .box{fill:#3a2d5c;stroke:#b497f5}\
.forerun .used .in,.forerun .failed .in{fill:#0b0e12}\
.forerun .lgood{stroke:#4cc36a}.forerun .lbad{stroke:#ff7b72}.forerun .lplain{stroke:#9aa4b2}\
.forerun .fgood{fill:#4cc36a;stroke:none}.forerun .fbad{fill:#ff7b72;stroke:none}\
.forerun .fplain{fill:#9aa4b2;stroke:none}.forerun .fperson{fill:#b497f5;stroke:none}}";

/// The picture of a run.
pub(crate) fn svg(session: &str, run: &Run) -> String {
    let scene = Scene::new(run);
    let durations = durations(&scene);
    let scale = Scale::new(MARGIN + GUTTER, scene.first, scene.last, durations);
    let width = scale.left + scale.width + END_ROOM + MARGIN;
    let head = head(session, run);
    let top = MARGIN + LINE * head.len() as f64 + LANE_GAP;
    let plan = Plan::new(&scene, &scale, top);
    let legend = Legend::new(&scene, &plan, width - 2.0 * MARGIN);
    let notes = notes(run, &plan);
    let legend_top = plan.bottom + 2.0 * LINE + LANE_GAP;
    let notes_top = legend_top + LINE * legend.lines as f64 + LANE_GAP / 2.0;
    let height = notes_top + LINE * notes.len() as f64 + MARGIN;

    let mut svg = Svg::new(width, height, &head.join("; "), STYLE);
    svg.rect("page", [0.0, 0.0, width, height]);
    for (number, line) in head.iter().enumerate() {
        let class = if number == 0 { "head" } else { "dim" };
        let y = MARGIN + LINE * (number as f64 + 0.7);
        // The first line's letters are larger.
        let room = characters_in((width - 2.0 * MARGIN) / if number == 0 { 1.3 } else { 1.0 });
        svg.text(class, MARGIN, y, &cut(line, room));
    }
    axis(&mut svg, &scale, top, plan.bottom);
    for band in &plan.bands {
        lane(&mut svg, &scene, &scale, band, width);
    }
    for at in &scene.backtracks {
        let x = scale.x(*at);
        svg.line("back", [x, top, x, plan.bottom]);
    }
    legend.draw(&mut svg, legend_top);
    for (number, note) in notes.iter().enumerate() {
        let y = notes_top + LINE * (number as f64 + 0.7);
        svg.text("dim", MARGIN, y, note);
    }
    svg.finish()
}

/// How long calls took; where there was none, executions.
fn durations(scene: &Scene) -> Vec<u64> {
    let of = |lanes: [Lane; 2]| -> Vec<u64> {
        let bars = scene.bars.iter().filter(|bar| lanes.contains(&bar.lane));
        bars.map(|bar| bar.to.0 - bar.from.0).collect()
    };
    let calls = of([Lane::Approximation, Lane::Target]);
    match calls.is_empty() {
        false => calls,
        true => of([Lane::Executions, Lane::Effects]),
    }
}

/// What was run, and what came of it.
fn head(session: &str, run: &Run) -> Vec<String> {
    let calls = |role, name: &str| {
        let of_role = run.calls.values().filter(|call| call.role == role);
        many(of_role.count() as u64, name)
    };
    let (at, outcome) = outcome(run);
    let totals = &run.totals;
    let (task, settings) = match &run.opened {
        Some(opened) => (
            match opened.task.trim() {
                "" => "a run without a task".to_owned(),
                task => task.to_owned(),
            },
            format!(", policy {}, depth {}", opened.policy, opened.depth),
        ),
        None => ("a run".to_owned(), String::new()),
    };
    vec![
        task,
        format!("{session}{settings}; {outcome}"),
        format!(
            "{} verified, {} in {:.2} s; {} of {} matched, {} corrected",
            many(totals.verified.into(), "step"),
            many(totals.committed.into(), "commit"),
            at.as_secs_f64(),
            totals.matched,
            many(totals.proposed.into(), "proposal"),
            totals.corrected,
        ),
        format!(
            "{}, {}, {}; {} squashed; {}",
            calls(Role::Target, "target call"),
            calls(Role::Approximation, "approximation call"),
            many(run.executions.len() as u64, "execution"),
            many(totals.nodes_squashed.into(), "node"),
            many(run.effects.len() as u64, "effect"),
        ),
    ]
}

fn many(count: u64, one: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {one}{ending}")
}

/// What the reader has to know of the log and the picture.
fn notes(run: &Run, plan: &Plan<'_>) -> Vec<String> {
    let mut notes = Vec::new();
    if run.events == 0 {
        notes.push("The log has no events.".to_owned());
    }
    let missing = run.last_sequence.saturating_sub(run.events);
    if missing > 0 {
        let missing = many(missing, "event");
        notes.push(format!(
            "The log is not whole, nor is the picture: {missing} missing."
        ));
    }
    if run.left_out > 0 {
        let events = many(run.left_out, "event");
        notes.push(format!(
            "Left out: {events}; a picture has at most {THINGS_MAX} things."
        ));
    }
    if plan.left_out > 0 {
        let bars = many(plan.left_out as u64, "bar");
        notes.push(format!(
            "Left out: {bars}; a lane has at most {ROWS_MAX} rows."
        ));
    }
    notes
}

/// Where a lane and its bars are.
struct Band<'a> {
    lane: Lane,
    top: f64,
    /// Rows of marks; those of bars are below.
    mark_rows: usize,
    bars: Vec<(&'a Bar, usize)>,
}

/// Where everything is along the height.
struct Plan<'a> {
    bands: Vec<Band<'a>>,
    bottom: f64,
    left_out: usize,
}

impl<'a> Plan<'a> {
    fn new(scene: &'a Scene, scale: &Scale, top: f64) -> Plan<'a> {
        let mut plan = Plan {
            bands: Vec::new(),
            bottom: top,
            left_out: 0,
        };
        for lane in Lane::ALL {
            let of_lane = scene.marks.iter().filter(|mark| mark.lane == lane);
            let mark_rows = of_lane.map(|mark| mark.row + 1).max().unwrap_or(0);
            let mut rows = Rows::default();
            let mut bars = Vec::new();
            for bar in scene.bars.iter().filter(|bar| bar.lane == lane) {
                let (from, to) = ends(bar, scale);
                let to = bar.tail.map_or(to, |tail| scale.x(tail).max(to));
                match rows.place(from, to) {
                    Some(row) => bars.push((bar, row)),
                    None => plan.left_out += 1,
                }
            }
            if mark_rows + rows.len() == 0 {
                continue;
            }
            plan.bands.push(Band {
                lane,
                top: plan.bottom,
                mark_rows,
                bars,
            });
            plan.bottom += ROW * (mark_rows + rows.len()) as f64 + LANE_GAP;
        }
        plan
    }
}

/// Where a bar begins and ends.
fn ends(bar: &Bar, scale: &Scale) -> (f64, f64) {
    let from = scale.x(bar.from);
    (from, scale.x(bar.to).max(from + BAR_PX_MIN))
}

fn axis(svg: &mut Svg, scale: &Scale, top: f64, bottom: f64) {
    svg.open("axis");
    for (at, label) in scale.ticks() {
        let x = scale.x(at);
        svg.line("grid", [x, top, x, bottom]);
        svg.text("dim", x - text_px(&label) / 2.0, bottom + LINE, &label);
    }
    let right = scale.left + scale.width;
    svg.line("rule", [scale.left, bottom, right, bottom]);
    svg.text("dim", right + PADDING, bottom + LINE, "s");
    svg.close();
}

fn lane(svg: &mut Svg, scene: &Scene, scale: &Scale, band: &Band<'_>, width: f64) {
    let (name, title) = band.lane.names();
    svg.open(&format!("lane {name}"));
    let above = band.top - LANE_GAP / 2.0;
    svg.line("grid", [MARGIN, above, width - MARGIN, above]);
    svg.text("", MARGIN, middle(band.top, 0) + BASE, title);
    for (bar, row) in &band.bars {
        draw_bar(svg, bar, scale, middle(band.top, band.mark_rows + row));
    }
    for row in 0..band.mark_rows {
        let marks = scene.marks.iter();
        let marks: Vec<&Mark> = marks
            .filter(|mark| mark.lane == band.lane && mark.row == row)
            .collect();
        draw_marks(svg, &marks, scale, middle(band.top, row));
    }
    svg.close();
}

/// The middle of a row.
fn middle(top: f64, row: usize) -> f64 {
    top + ROW * (row as f64 + 0.5)
}

fn draw_bar(svg: &mut Svg, bar: &Bar, scale: &Scale, y: f64) {
    let (from, to) = ends(bar, scale);
    svg.open_about(&format!("bar {}", bar.look.class()), &bar.about);
    let tail = bar.tail.map(|tail| scale.x(tail)).filter(|tail| *tail > to);
    if let Some(tail) = tail {
        // Below the text that may stand there.
        let below = y + BAR / 2.0 - 0.5;
        svg.line("tail", [to, below, tail, below]);
    }
    svg.rect("box", [from, y - BAR / 2.0, to - from, BAR]);
    // A sign at an end stands before it.
    let sign_x = |at| {
        let x = scale.x(at);
        let at_end = x >= tail.unwrap_or(to);
        if at_end {
            (x - SIGN).max(from + SIGN)
        } else {
            x
        }
    };
    let sign_room = 2.0 * SIGN * bar.signs.len().min(1) as f64;
    let inside = to - from - 2.0 * PADDING;
    let inside = if tail.is_none() {
        inside - sign_room
    } else {
        inside
    };
    if let Some(label) = fitting(bar, inside) {
        svg.text("in", from + PADDING, y + BASE, &label);
    } else if let Some(label) = tail.and_then(|tail| {
        let room = tail - to - 2.0 * PADDING - sign_room;
        fitting(bar, room)
    }) {
        svg.text("out", to + PADDING, y + BASE, &label);
    }
    for (at, glyph) in &bar.signs {
        let x = sign_x(*at);
        svg.rect("badge", [x - SIGN, y - SIGN, 2.0 * SIGN, 2.0 * SIGN]);
        svg.glyph(*glyph, x, y);
    }
    svg.close();
}

/// As much of a bar's label as there is room for.
fn fitting(bar: &Bar, room: f64) -> Option<String> {
    if text_px(&bar.label) <= room {
        return Some(bar.label.clone()).filter(|label| !label.is_empty());
    }
    let short = Some(bar.short.clone()).filter(|short| !short.is_empty() && text_px(short) <= room);
    let characters = characters_in(room.max(0.0));
    let cut = Some(cut(&bar.label, characters));
    let cut = cut.filter(|cut| characters >= LABEL_CHARS_MIN && text_px(cut) <= room);
    cut.or(short)
}

fn draw_marks(svg: &mut Svg, marks: &[&Mark], scale: &Scale, y: f64) {
    // Where the next sign is, for each of them.
    let mut nexts = Vec::with_capacity(marks.len());
    let (mut after, mut here) = (f64::INFINITY, f64::INFINITY);
    for x in marks.iter().rev().map(|mark| scale.x(mark.at)) {
        if x < here {
            (after, here) = (here, x);
        }
        nexts.push(after);
    }
    // Where the last label ended.
    let mut free = f64::NEG_INFINITY;
    for (mark, next) in marks.iter().zip(nexts.into_iter().rev()) {
        let x = scale.x(mark.at);
        svg.open_about("mark", &mark.about);
        svg.glyph(mark.glyph, x, y);
        let label_x = x + MARK;
        let end = label_x + text_px(&mark.label);
        let is_free = label_x >= free && end <= next - MARK;
        if is_free && !mark.label.is_empty() {
            svg.text("dim", label_x, y + BASE, &mark.label);
            free = end;
        }
        svg.close();
    }
}

/// What the forms and colours of this picture mean.
struct Legend {
    /// Line, place in it, and what it explains.
    entries: Vec<(usize, f64, Entry)>,
    lines: usize,
}

#[derive(Clone, Copy)]
enum Entry {
    Look(Look),
    Glyph(Glyph),
}

impl Legend {
    fn new(scene: &Scene, plan: &Plan<'_>, width: f64) -> Legend {
        let bars = plan.bands.iter().flat_map(|band| &band.bars);
        let looks: BTreeSet<Look> = bars.clone().map(|(bar, _)| bar.look).collect();
        let signs = bars.flat_map(|(bar, _)| bar.signs.iter().map(|(_, glyph)| *glyph));
        let glyphs: BTreeSet<Glyph> = scene
            .marks
            .iter()
            .map(|mark| mark.glyph)
            .chain(signs)
            .collect();
        let looks = Look::ALL.into_iter().filter(|look| looks.contains(look));
        let glyphs = Glyph::ALL
            .into_iter()
            .filter(|glyph| glyphs.contains(glyph));
        let all = looks.map(Entry::Look).chain(glyphs.map(Entry::Glyph));
        let (mut line, mut x, mut entries) = (0, 0.0, Vec::new());
        for entry in all {
            let wide = 2.0 * MARK + text_px(entry.meaning()) + 3.0 * PADDING + MARK;
            if x > 0.0 && x + wide > width {
                (line, x) = (line + 1, 0.0);
            }
            entries.push((line, x, entry));
            x += wide;
        }
        Legend {
            lines: if entries.is_empty() { 0 } else { line + 1 },
            entries,
        }
    }

    fn draw(&self, svg: &mut Svg, top: f64) {
        svg.open("legend");
        for (line, x, entry) in &self.entries {
            let y = top + LINE * (*line as f64 + 0.5);
            let x = MARGIN + x;
            match entry {
                Entry::Look(look) => {
                    svg.open(&format!("key {}", look.class()));
                    svg.rect("box", [x, y - 5.0, 2.0 * MARK - 2.0, 10.0]);
                    svg.close();
                }
                Entry::Glyph(glyph) => svg.glyph(*glyph, x + MARK, y),
            }
            svg.text("dim", x + 2.0 * MARK + PADDING, y + BASE, entry.meaning());
        }
        svg.close();
    }
}

impl Entry {
    fn meaning(&self) -> &'static str {
        match self {
            Entry::Look(look) => look.meaning(),
            Entry::Glyph(glyph) => glyph.meaning(),
        }
    }
}
