//! The small signs of the picture: what happened at an instant.

/// What a sign says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Glyph {
    Proposed,
    Matched,
    Corrected,
    Uncontested,
    Squashed,
    Verified,
    Committed,
    Sent,
    Suggested,
    Decided,
    Backtracked,
    Undone,
    Refused,
    End,
}

impl Glyph {
    /// All of them, as the legend has them.
    pub(crate) const ALL: [Glyph; 14] = [
        Glyph::Proposed,
        Glyph::Matched,
        Glyph::Corrected,
        Glyph::Uncontested,
        Glyph::Squashed,
        Glyph::Verified,
        Glyph::Committed,
        Glyph::Sent,
        Glyph::Suggested,
        Glyph::Decided,
        Glyph::Backtracked,
        Glyph::Undone,
        Glyph::Refused,
        Glyph::End,
    ];

    /// What the legend says of it.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Glyph::Proposed => "proposed",
            Glyph::Matched => "matched",
            Glyph::Corrected => "corrected",
            Glyph::Uncontested => "decided, nothing was proposed",
            Glyph::Squashed => "squashed",
            Glyph::Verified => "verified",
            Glyph::Committed => "committed",
            Glyph::Sent => "sent",
            Glyph::Suggested => "suggested",
            Glyph::Decided => "decided by the person",
            Glyph::Backtracked => "went back",
            Glyph::Undone => "undone or redone",
            Glyph::Refused => "refused",
            Glyph::End => "end",
        }
    }

    /// Its colour: a class of the style sheet. Lines have `l…`, filled ones `f…`.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Glyph::Matched => "lgood",
            Glyph::Corrected | Glyph::Squashed => "lbad",
            Glyph::Proposed | Glyph::Refused | Glyph::Backtracked | Glyph::End => "lplain",
            Glyph::Verified | Glyph::Committed => "fgood",
            Glyph::Uncontested => "fplain",
            Glyph::Sent | Glyph::Suggested | Glyph::Decided => "fperson",
            Glyph::Undone => "fbad",
        }
    }

    /// Its outline around the origin, five units to each side at the most.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Glyph::Proposed | Glyph::Verified => "M-3 0A3 3 0 1 0 3 0A3 3 0 1 0-3 0Z",
            Glyph::Matched => "M-4 0L-1 3L4-4",
            Glyph::Corrected => "M-4-4L4 4M4-4L-4 4",
            Glyph::Uncontested => "M-3-3H3V3H-3Z",
            Glyph::Squashed => "M-4-4H4L0 4Z",
            Glyph::Committed => "M0-5L4 0L0 5L-4 0Z",
            Glyph::Sent => "M-4 4L0-4L4 4Z",
            Glyph::Suggested => "M-5-4H5V2H0L-3 5V2H-5Z",
            Glyph::Decided => "M0-5L5-1L3 4H-3L-5-1Z",
            Glyph::Backtracked => "M0-4L-5 0L0 4M5-4L0 0L5 4",
            Glyph::Undone => "M4-4L-4 0L4 4Z",
            Glyph::Refused => "M-4 0A4 4 0 1 0 4 0A4 4 0 1 0-4 0ZM-3 3L3-3",
            Glyph::End => "M-3 5V-5H4L2-2L4 1H-3",
        }
    }
}
