//! Colours, where they help: on a terminal, and not with `NO_COLOR`.

/// How text is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Style {
    colours: bool,
}

impl Style {
    /// Colours if the stream is a terminal and `NO_COLOR` (no-color.org) is not set.
    pub(crate) fn of(stream: &impl std::io::IsTerminal) -> Style {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Style {
            colours: stream.is_terminal() && !refused,
        }
    }

    /// What is beside the point.
    pub(crate) fn dim(self, text: &str) -> String {
        self.paint(text, "2")
    }

    /// What went well.
    pub(crate) fn good(self, text: &str) -> String {
        self.paint(text, "32")
    }

    /// What went wrong, or was taken back.
    pub(crate) fn bad(self, text: &str) -> String {
        self.paint(text, "31")
    }

    /// What asks for attention.
    pub(crate) fn warn(self, text: &str) -> String {
        self.paint(text, "33")
    }

    /// A heading.
    pub(crate) fn strong(self, text: &str) -> String {
        self.paint(text, "1")
    }

    fn paint(self, text: &str, code: &str) -> String {
        if self.colours {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// As [`visible`], of a text with lines.
pub(crate) fn visible_lines(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(visible).collect();
    lines.join("\n")
}

/// Text of somebody else as a terminal may have it: what would move the cursor, change
/// the window or reorder the line is shown as its code.
pub(crate) fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        let reorders = matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if reorders || (character.is_control() && character != '\t') {
            out.extend(character.escape_unicode());
        } else {
            out.push(character);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_and_reordering_do_not_reach_the_terminal() {
        assert_eq!(visible("a\tb é"), "a\tb é");
        assert_eq!(visible("\u{1b}[2J\r"), "\\u{1b}[2J\\u{d}");
        assert_eq!(visible("\u{202e}x"), "\\u{202e}x");
    }
}
