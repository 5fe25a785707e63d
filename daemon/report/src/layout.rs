//! Where things go: time along the picture, rows below each other.

use forerun_types::Time;

/// A long run has a wide picture, so that a short call has room for its step's number, of three
/// digits, and a sign.
const CALL_PX: f64 = 36.0;
const WIDTH_PX_MIN: f64 = 800.0;
/// Stops a run of thousands of steps from having a picture that no program opens.
const WIDTH_PX_MAX: f64 = 30_000.0;
/// The least time that a picture shows: an empty run has an axis, too.
const SPAN_US_MIN: u64 = 1_000;
/// How far apart ticks of the axis are, at the least.
const TICK_PX_MIN: f64 = 80.0;
/// Most rows of a lane; stops a thousand calls at once from having a thousand rows.
pub(crate) const ROWS_MAX: usize = 48;
/// The mean width of a character of the picture's text, rounded up.
const CHARACTER_PX: f64 = 6.2;

/// Session time, as it is laid out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    from: u64,
    span: u64,
    /// Where the picture of it begins, and how wide it is.
    pub(crate) left: f64,
    pub(crate) width: f64,
}

impl Scale {
    /// From the first to the last instant, so wide that most of the `durations` can be seen.
    pub(crate) fn new(left: f64, first: Time, last: Time, mut durations: Vec<u64>) -> Scale {
        let span = last.0.saturating_sub(first.0).max(SPAN_US_MIN);
        // The first event of a session is a little after its beginning.
        let (from, span) = match first.0 <= span / 20 {
            true => (0, span.saturating_add(first.0)),
            false => (first.0, span),
        };
        durations.retain(|duration| *duration > 0);
        durations.sort_unstable();
        // Those of the approximation agent are short, and about half of them.
        let usual = durations.get(durations.len() / 4).copied().unwrap_or(span);
        let width = CALL_PX * span as f64 / usual as f64;
        Scale {
            from,
            span,
            left,
            width: width.clamp(WIDTH_PX_MIN, WIDTH_PX_MAX),
        }
    }

    /// Where an instant is; what is outside is at the edge.
    pub(crate) fn x(&self, at: Time) -> f64 {
        let since = at.0.saturating_sub(self.from).min(self.span);
        self.left + self.width * since as f64 / self.span as f64
    }

    /// The ticks of the axis, in seconds.
    pub(crate) fn ticks(&self) -> Vec<(Time, String)> {
        let step = tick_us(self.span as f64 * TICK_PX_MIN / self.width);
        let digits = (0..6).find(|digits| step.is_multiple_of(10u64.pow(6 - digits)));
        let digits = digits.unwrap_or(6) as usize;
        let first = self.from.div_ceil(step).checked_mul(step);
        let last = self.from.saturating_add(self.span);
        let next = |at: &u64| at.checked_add(step);
        std::iter::successors(first, next)
            .take_while(|at| *at <= last)
            .map(|at| (Time(at), format!("{:.digits$}", at as f64 / 1e6)))
            .collect()
    }
}

/// The least of 1, 2, 5, 10, 20, 50 and so on that is not below.
fn tick_us(least: f64) -> u64 {
    let mut unit: u64 = 1;
    loop {
        for factor in [1, 2, 5] {
            let tick = unit.saturating_mul(factor);
            if tick as f64 >= least || tick == u64::MAX {
                return tick;
            }
        }
        unit = unit.saturating_mul(10);
    }
}

/// Rows that are filled from left to right.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    ends: Vec<f64>,
}

impl Rows {
    /// The first row that is free from `from` on, taken until `to`. Where things come by their
    /// beginnings, there are as many rows as things overlap. `None` if there are too many.
    pub(crate) fn place(&mut self, from: f64, to: f64) -> Option<usize> {
        let free = self.ends.iter().position(|end| *end <= from);
        let row = free.unwrap_or(self.ends.len());
        if row == ROWS_MAX {
            return None;
        }
        match self.ends.get_mut(row) {
            Some(end) => *end = to,
            None => self.ends.push(to),
        }
        Some(row)
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }
}

/// About how wide a text is. Letters of other scripts are wide, or are taken to be.
pub(crate) fn text_px(text: &str) -> f64 {
    let units = |character: char| if character.is_ascii() { 1.0 } else { 2.0 };
    text.chars().map(units).sum::<f64>() * CHARACTER_PX
}

/// How many characters fit for certain.
pub(crate) fn characters_in(width: f64) -> usize {
    (width / CHARACTER_PX) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_seconds() {
        let scale = Scale::new(0.0, Time(0), Time(4_260_000), vec![]);
        let labels: Vec<_> = scale.ticks().into_iter().map(|(_, label)| label).collect();
        assert_eq!(
            labels,
            [
                "0.0", "0.5", "1.0", "1.5", "2.0", "2.5", "3.0", "3.5", "4.0"
            ]
        );
        let long = Scale::new(0.0, Time(0), Time(7_200_000_000), vec![]);
        assert_eq!(long.ticks()[1].1, "1000");
    }

    #[test]
    fn every_time_has_a_scale_with_few_ticks() {
        for (first, last) in [
            (0, 0),
            (0, u64::MAX),
            (u64::MAX, u64::MAX),
            (u64::MAX - 5, u64::MAX),
            (7, 8),
            (9, 2),
        ] {
            for durations in [vec![], vec![1], vec![u64::MAX]] {
                let scale = Scale::new(10.0, Time(first), Time(last), durations);
                assert!(scale.ticks().len() <= (WIDTH_PX_MAX / TICK_PX_MIN) as usize + 1);
                assert!(scale.x(Time(u64::MAX)) <= 10.0 + WIDTH_PX_MAX);
                assert!(scale.x(Time(0)) >= 10.0);
            }
        }
    }

    #[test]
    fn as_many_rows_as_things_overlap() {
        let mut rows = Rows::default();
        let places: Vec<_> = [(0.0, 4.0), (1.0, 2.0), (2.0, 6.0), (4.0, 5.0)]
            .iter()
            .map(|(from, to)| rows.place(*from, *to))
            .collect();
        assert_eq!(places, [Some(0), Some(1), Some(1), Some(0)]);
        assert_eq!(rows.len(), 2);
        for _ in 2..ROWS_MAX {
            assert!(rows.place(0.0, 9.0).is_some());
        }
        assert_eq!(rows.place(0.0, 9.0), None);
    }
}
