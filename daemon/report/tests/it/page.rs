//! A picture, parsed, and what can be asked about it.

use roxmltree::{Document, Node};

/// The picture as XML.
pub(crate) fn parse(svg: &str) -> Document<'_> {
    Document::parse(svg).unwrap_or_else(|error| panic!("{error}: {svg}"))
}

/// The groups whose classes begin with these, below an element.
pub(crate) fn groups<'a, 'input>(
    at: Node<'a, 'input>,
    class: &'static str,
) -> Vec<Node<'a, 'input>> {
    let is_wanted = move |node: &Node<'_, '_>| {
        let of_it = node.attribute("class").unwrap_or_default();
        node.has_tag_name(("http://www.w3.org/2000/svg", "g"))
            && (of_it == class || of_it.starts_with(&format!("{class} ")))
    };
    at.descendants().filter(is_wanted).collect()
}

pub(crate) fn lane<'a, 'input>(
    page: &'a Document<'input>,
    class: &'static str,
) -> Option<Node<'a, 'input>> {
    groups(page.root_element(), class).into_iter().next()
}

/// What an element says when one points at it.
pub(crate) fn about<'a>(group: Node<'a, '_>) -> &'a str {
    let title = group
        .children()
        .find(|child| child.tag_name().name() == "title");
    title.and_then(|title| title.text()).unwrap_or_default()
}

/// The texts below an element, without what is said when one points at it.
pub(crate) fn texts<'a>(at: Node<'a, '_>) -> Vec<&'a str> {
    let is_text = |node: &Node<'_, '_>| node.tag_name().name() == "text";
    let texts = at.descendants().filter(is_text);
    texts.map(|text| text.text().unwrap_or_default()).collect()
}

/// x, y, width and height of the box of a bar.
pub(crate) fn place(bar: Node<'_, '_>) -> [f64; 4] {
    let found = bar
        .children()
        .find(|child| child.attribute("class") == Some("box"));
    let found = found.expect("a bar has a box");
    ["x", "y", "width", "height"].map(|name| {
        let value = found.attribute(name).expect("it has a place");
        value.parse().expect("a number")
    })
}

/// How many rows the bars of a lane have.
pub(crate) fn rows(lane: Node<'_, '_>) -> usize {
    let bars = groups(lane, "bar").into_iter();
    let mut tops: Vec<i64> = bars.map(|bar| place(bar)[1] as i64).collect();
    tops.sort_unstable();
    tops.dedup();
    tops.len()
}
