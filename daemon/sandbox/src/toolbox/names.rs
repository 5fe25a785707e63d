//! What to say when a tool does not exist: which ones were perhaps meant.

/// Names that are suggested.
const SUGGESTED_MAX: usize = 3;
/// Bytes of a wrong name that are repeated and compared.
const SHOWN_BYTES: usize = 64;

/// The message for an unknown tool.
pub(crate) fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let shown: String = name.chars().take(SHOWN_BYTES).collect();
    let known: Vec<&str> = known.collect();
    let mut close: Vec<(usize, &str)> = known
        .iter()
        .map(|candidate| (distance(&shown, candidate), *candidate))
        .filter(|(distance, candidate)| {
            *distance <= candidate.len().max(shown.len()) / 3
                || candidate.split('_').any(|part| part == shown)
                || shown.split(['_', '-']).any(|part| part == *candidate)
        })
        .collect();
    close.sort_unstable();
    let close: Vec<&str> = close
        .into_iter()
        .take(SUGGESTED_MAX)
        .map(|(_, candidate)| candidate)
        .collect();
    if close.is_empty() {
        format!(
            "there is no tool {shown:?}; the tools are: {}",
            known.join(", ")
        )
    } else {
        format!(
            "there is no tool {shown:?}; did you mean {}?",
            close.join(" or ")
        )
    }
}

/// Levenshtein's distance, ignoring case.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.to_lowercase().chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 4] = ["grep", "list_dir", "read_file", "write_file"];

    fn message(name: &str) -> String {
        unknown(name, KNOWN.into_iter())
    }

    #[test]
    fn a_slip_is_recognised() {
        assert_eq!(
            message("raed_file"),
            "there is no tool \"raed_file\"; did you mean read_file?"
        );
        assert!(message("ReadFile").contains("did you mean read_file?"));
        assert!(message("list").contains("did you mean list_dir?"));
    }

    #[test]
    fn otherwise_all_tools_are_named() {
        assert_eq!(
            message("frobnicate"),
            "there is no tool \"frobnicate\"; the tools are: grep, list_dir, read_file, write_file"
        );
        assert!(message(&"x".repeat(10_000)).len() < 200);
    }

    #[test]
    fn the_distance_counts_edits() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("Same", "sAME"), 0);
    }
}
