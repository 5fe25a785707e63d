//! Applies a unified diff to one text.
//!
//! Models write patches with wrong line numbers and counts, and lose the space of empty
//! context lines. So counts only tell where a hunk ends, and line numbers only which of
//! several places is meant; context and removed lines must be there exactly.

/// Where a line of a message is cut.
const LINE_CHARS_MAX: usize = 120;

struct Hunk<'a> {
    /// The first line before, from 1, and how many there are, if the header says so.
    start: Option<usize>,
    count: Option<usize>,
    old: Vec<&'a str>,
    new: Vec<&'a str>,
    /// Whether the last line after it ends without a newline, if it says so.
    unended: Option<bool>,
    /// Unchanged lines that it begins with.
    leading: usize,
}

/// The text with all hunks applied, how many there were, and the first line changed.
///
/// # Errors
/// A phrase that says which hunk does not fit and why.
pub(crate) fn apply(text: &str, patch: &str) -> Result<(String, usize, usize), String> {
    let hunks = parse(patch)?;
    let carriage = text.contains("\r\n");
    let mut ended = text.is_empty() || text.ends_with('\n');
    let body = text.strip_suffix('\n').unwrap_or(text);
    let lines: Vec<&str> = if text.is_empty() {
        Vec::new()
    } else {
        body.split('\n')
            .map(|line| line.strip_suffix('\r').unwrap_or(line))
            .collect()
    };
    let mut result: Vec<&str> = Vec::new();
    let mut done = 0;
    let mut shift = 0isize;
    let mut first_line = None;
    for (index, hunk) in hunks.iter().enumerate() {
        let at = find(&lines, hunk, done, shift)
            .map_err(|reason| format!("hunk {} {reason}", index + 1))?;
        if let Some(start) = hunk.start {
            shift = at.cast_signed() - start.saturating_sub(1).cast_signed();
        }
        first_line.get_or_insert(at + hunk.leading + 1);
        result.extend(&lines[done..at]);
        result.extend(&hunk.new);
        done = at + hunk.old.len();
        if done == lines.len() {
            ended = !hunk.unended.unwrap_or(!ended);
        }
    }
    result.extend(&lines[done..]);
    let end = if carriage { "\r\n" } else { "\n" };
    let mut after = result.join(end);
    if ended && !result.is_empty() {
        after.push_str(end);
    }
    Ok((after, hunks.len(), first_line.unwrap_or(1)))
}

/// Where the hunk's lines are, at or after `from`: the only place, or the one nearest to
/// what the header says.
fn find(lines: &[&str], hunk: &Hunk<'_>, from: usize, shift: isize) -> Result<usize, String> {
    let expected = hunk.start.map(|start| {
        // With no line before it, the header names the line to insert after.
        let start = start.saturating_sub(usize::from(!hunk.old.is_empty()));
        start.saturating_add_signed(shift)
    });
    if hunk.old.is_empty() {
        return match expected {
            Some(at) if at >= from && at <= lines.len() => Ok(at),
            None if lines.is_empty() => Ok(0),
            _ => Err("only adds lines: give it some lines of context".into()),
        };
    }
    let places: Vec<usize> = (from..=lines.len().saturating_sub(hunk.old.len()))
        .filter(|&at| lines.get(at..at + hunk.old.len()) == Some(hunk.old.as_slice()))
        .collect();
    match (places.as_slice(), expected) {
        ([], _) => Err(misfit(lines, hunk, from)),
        ([only], _) => Ok(*only),
        (_, Some(expected)) => Ok(places
            .into_iter()
            .min_by_key(|at| at.abs_diff(expected))
            .unwrap_or(from)),
        (_, None) => Err(format!(
            "fits in {} places: give it more context or line numbers",
            places.len()
        )),
    }
}

/// Names the line that keeps the hunk from fitting where most of it does.
fn misfit(lines: &[&str], hunk: &Hunk<'_>, from: usize) -> String {
    let fits = |at: usize| {
        lines[at..]
            .iter()
            .zip(&hunk.old)
            .take_while(|(line, old)| line == old)
            .count()
    };
    let best = (from..lines.len()).rev().max_by_key(|&at| fits(at));
    let Some((at, fitting)) = best.map(|at| (at, fits(at))).filter(|(_, n)| *n > 0) else {
        return format!(
            "does not fit: there is no line {:?} where it could begin",
            cut(hunk.old[0])
        );
    };
    let wanted = cut(hunk.old[fitting]);
    match lines.get(at + fitting) {
        Some(line) => format!(
            "does not fit: line {} is {:?}, not {wanted:?}",
            at + fitting + 1,
            cut(line)
        ),
        None => format!("does not fit: the file ends where {wanted:?} should be"),
    }
}

fn cut(line: &str) -> String {
    line.chars().take(LINE_CHARS_MAX).collect()
}

fn parse(patch: &str) -> Result<Vec<Hunk<'_>>, String> {
    let mut hunks: Vec<Hunk<'_>> = Vec::new();
    let lines: Vec<&str> = patch
        .strip_suffix('\n')
        .unwrap_or(patch)
        .split('\n')
        .map(|line| line.strip_suffix('\r').unwrap_or(line))
        .collect();
    let mut last = ' ';
    for (index, &line) in lines.iter().enumerate() {
        if line.starts_with("@@") {
            let (start, count) = header(line);
            hunks.push(Hunk {
                start,
                count,
                old: Vec::new(),
                new: Vec::new(),
                unended: None,
                leading: 0,
            });
            continue;
        }
        let Some(hunk) = hunks.last_mut() else {
            continue;
        };
        let next = lines.get(index + 1).copied().unwrap_or_default();
        if line.starts_with("diff --git ") || (line.starts_with("--- ") && next.starts_with("+++ "))
        {
            return Err("the patch is for several files: give one call for each".into());
        }
        let complete = hunk.count.is_some_and(|count| hunk.old.len() >= count);
        match line.split_at_checked(1).unwrap_or_default() {
            ("", _) if complete => {}
            ("" | " ", rest) => {
                hunk.leading +=
                    usize::from(hunk.leading == hunk.old.len() && hunk.old.len() == hunk.new.len());
                hunk.old.push(rest);
                hunk.new.push(rest);
                last = ' ';
            }
            ("-", rest) => {
                hunk.old.push(rest);
                last = '-';
            }
            ("+", rest) => {
                hunk.new.push(rest);
                last = '+';
            }
            ("\\", _) => hunk.unended = Some(last != '-'),
            _ => {
                return Err(format!(
                    "line {} of the patch begins with none of ' ', '-', '+', '@@': {:?}",
                    index + 1,
                    cut(line)
                ));
            }
        }
    }
    if hunks.is_empty() {
        return Err("the patch has no hunk; each begins with a line `@@ -1,2 +1,3 @@`".into());
    }
    if let Some(empty) = hunks.iter().position(|hunk| hunk.old == hunk.new) {
        return Err(format!("hunk {} changes nothing", empty + 1));
    }
    Ok(hunks)
}

/// The first line and the number of lines before, of `@@ -start,count +… @@`.
fn header(line: &str) -> (Option<usize>, Option<usize>) {
    let Some(range) = line
        .split_whitespace()
        .find_map(|part| part.strip_prefix('-'))
    else {
        return (None, None);
    };
    let (start, count) = range.split_once(',').unwrap_or((range, "1"));
    match (start.parse(), count.parse()) {
        (Ok(start), Ok(count)) => (Some(start), Some(count)),
        _ => (None, None),
    }
}

#[cfg(test)]
mod tests {
    use super::apply;

    fn patched(text: &str, patch: &str) -> String {
        apply(text, patch).expect("applies").0
    }

    fn error(text: &str, patch: &str) -> String {
        apply(text, patch).expect_err("refused")
    }

    #[test]
    fn wrong_numbers_and_counts_are_forgiven_where_the_context_is_right() {
        let text = "a\nb\nc\n";
        for header in [
            "@@ -2 +2 @@",
            "@@ -40,9 +7,1 @@",
            "@@ @@",
            "@@ -2,1 +2,1 @@ fn f()",
        ] {
            assert_eq!(
                patched(text, &format!("{header}\n-b\n+B\n")),
                "a\nB\nc\n",
                "{header}"
            );
        }
        assert_eq!(
            patched("a\n\nb\n", "@@ -1,3 +1,3 @@\n a\n\n-b\n+c\n\n"),
            "a\n\nc\n"
        );
    }

    #[test]
    fn of_several_places_the_nearest_to_the_numbers_is_meant() {
        let text = "x\ny\nx\ny\nx\n";
        assert_eq!(patched(text, "@@ -3 +3 @@\n-x\n+z\n"), "x\ny\nz\ny\nx\n");
        assert!(error(text, "@@ @@\n-x\n+z\n").contains("fits in 3 places"));
        // What an earlier hunk was off by, a later one is off by, too.
        let long = "a\nk\nk\nk\nb\n";
        let patch = "@@ -2,1 +2,1 @@\n-a\n+A\n@@ -4,1 +4,1 @@\n-k\n+K\n";
        assert_eq!(patched(long, patch), "A\nk\nK\nk\nb\n");
    }

    #[test]
    fn the_end_of_the_file_keeps_or_changes_its_newline_as_the_patch_says() {
        assert_eq!(patched("a\nb", "@@ -2 +2 @@\n-b\n+c\n"), "a\nc");
        assert_eq!(
            patched("a", "@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+b\n"),
            "b\n"
        );
        assert_eq!(
            patched("a\n", "@@ -1 +1 @@\n-a\n+b\n\\ No newline at end of file\n"),
            "b"
        );
        assert_eq!(patched("a\r\nb\r\n", "@@ -2 +2 @@\n-b\n+c\n"), "a\r\nc\r\n");
    }

    #[test]
    fn lines_are_inserted_and_files_filled_and_emptied() {
        assert_eq!(patched("a\nb\n", "@@ -1,0 +2 @@\n+x\n"), "a\nx\nb\n");
        assert_eq!(patched("", "@@ -0,0 +1,2 @@\n+x\n+y\n"), "x\ny\n");
        assert_eq!(patched("a\n", "@@ -1 +0,0 @@\n-a\n"), "");
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let misfit = error("a\nb\n", "@@ -1,2 +1,2 @@\n a\n-c\n+d\n");
        assert_eq!(misfit, "hunk 1 does not fit: line 2 is \"b\", not \"c\"");
        assert!(error("a\n", "@@ -1 +1 @@\n-x\n+y\n").contains("no line \"x\""));
        assert!(error("a\n", "@@ -1,2 +1 @@\n-a\n-b\n").contains("the file ends"));
        assert!(error("a\n", "-a\n+b\n").contains("no hunk"));
        assert!(error("a\n", "@@ -1 +1 @@\n a\n").contains("changes nothing"));
        assert!(error("a\n", "@@ -1 +1 @@\n-a\n+b\n*** End\n").contains("line 4 of the patch"));
        let two = "@@ -1 +1 @@\n-a\n+b\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n";
        assert!(error("a\n", two).contains("several files"));
    }

    #[test]
    fn the_first_changed_line_comes_after_the_context() {
        let (_, hunks, line) =
            apply("a\nb\nc\n", "@@ -1,3 +1,3 @@\n a\n b\n-c\n+d\n").expect("applies");
        assert_eq!((hunks, line), (1, 3));
    }
}
