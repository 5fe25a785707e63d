//! Writes SVG, and nothing else does: every text goes through [`escaped`].

use crate::glyph::Glyph;
use std::fmt::{Display, Write};

/// The elements of a picture, in the order in which they were drawn.
#[derive(Debug, Default)]
pub(crate) struct Svg {
    out: String,
}

impl Svg {
    /// A picture of this size with a name and a style sheet of ours.
    pub(crate) fn new(width: f64, height: f64, name: &str, style: &str) -> Svg {
        let mut svg = Svg::default();
        svg.write(format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"forerun\" role=\"img\" \
             width=\"{width:.0}\" height=\"{height:.0}\" viewBox=\"0 0 {width:.0} {height:.0}\">\n\
             <title>{}</title>\n<style>{style}</style>\n",
            escaped(name)
        ));
        svg
    }

    /// Opens a group; what is drawn until [`Svg::close`] belongs to it.
    pub(crate) fn open(&mut self, class: &str) {
        self.write(format_args!("<g class=\"{class}\">"));
    }

    /// The same, with a text that is shown when one points at it.
    pub(crate) fn open_about(&mut self, class: &str, about: &str) {
        self.open(class);
        self.write(format_args!("<title>{}</title>", escaped(about)));
    }

    pub(crate) fn close(&mut self) {
        self.out.push_str("</g>\n");
    }

    pub(crate) fn rect(&mut self, class: &str, [x, y, width, height]: [f64; 4]) {
        self.write(format_args!(
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>"
        ));
    }

    pub(crate) fn line(&mut self, class: &str, [x1, y1, x2, y2]: [f64; 4]) {
        self.write(format_args!(
            "<path class=\"{class}\" d=\"M{x1:.1} {y1:.1}L{x2:.1} {y2:.1}\"/>"
        ));
    }

    pub(crate) fn glyph(&mut self, glyph: Glyph, x: f64, y: f64) {
        self.write(format_args!(
            "<path class=\"{}\" transform=\"translate({x:.1} {y:.1})\" d=\"{}\"/>",
            glyph.class(),
            glyph.path()
        ));
    }

    pub(crate) fn text(&mut self, class: &str, x: f64, y: f64, text: &str) {
        self.write(format_args!(
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>",
            escaped(text)
        ));
    }

    /// The whole of it.
    pub(crate) fn finish(mut self) -> String {
        self.out.push_str("</svg>\n");
        self.out
    }

    fn write(&mut self, what: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = self.out.write_fmt(what);
    }
}

/// Text as it may stand in an element: without markup, and without what XML forbids.
fn escaped(text: &str) -> impl Display {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            character if is_unfit(character) => out.push(' '),
            character => out.push(character),
        }
    }
    out
}

/// The first line's worth of a text of somebody else: at most `max` characters, none of
/// which breaks, hides or reorders a line.
pub(crate) fn cut(text: &str, max: usize) -> String {
    let mut characters = text.chars();
    let fit = |character| match is_unfit(character) {
        true => ' ',
        false => character,
    };
    let mut out: String = characters.by_ref().take(max).map(fit).collect();
    if characters.next().is_some() {
        out.pop();
        out.push('…');
    }
    out
}

/// Control characters; what changes the direction of a text, or has no width; and what is
/// no character of XML 1.0.
fn is_unfit(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fffe}'
                | '\u{ffff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_can_not_end_its_element() {
        assert_eq!(
            escaped("</text><script>\"&\0\u{202e}").to_string(),
            "&lt;/text&gt;&lt;script&gt;&quot;&amp;  "
        );
    }

    #[test]
    fn a_cut_text_says_that_it_is_cut() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdefg", 6), "abcde…");
        assert_eq!(cut("a\nb", 6), "a b");
        assert_eq!(cut("ab", 0), "…");
    }
}
