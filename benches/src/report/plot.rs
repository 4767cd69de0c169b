//! One bar for each row, as SVG.

use std::fmt::Write as _;

use crate::measured::{Group, OURS};
use crate::page::time;

const LEFT: f64 = 230.0;
const WIDTH: f64 = 420.0;
const LINE: f64 = 26.0;

/// The name of a group's picture.
pub(crate) fn file_name(group: &Group) -> String {
    let clean = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    format!("{}.svg", group.name.chars().map(clean).collect::<String>())
}

/// The picture: bars from zero, the fastest at the top, the confidence interval as a line.
pub(crate) fn svg(group: &Group) -> String {
    let longest = group.rows.iter().map(|row| row.high).fold(1.0, f64::max);
    let scale = |nanos: f64| nanos / longest * WIDTH;
    #[expect(clippy::cast_precision_loss, reason = "a few rows")]
    let height = LINE * (group.rows.len() as f64 + 1.5);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"760\" height=\"{height}\" font-family=\"sans-serif\" \
         font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<text x=\"8\" y=\"18\" \
         font-weight=\"bold\">{}</text>\n",
        escaped(&group.name)
    );
    let mut y = LINE;
    for row in &group.rows {
        let colour = if row.name == OURS {
            "#d97706"
        } else {
            "#94a3b8"
        };
        let (middle, text) = (y + LINE / 2.0, y + LINE / 2.0 + 4.0);
        let _ = write!(
            svg,
            "<text x=\"{:.0}\" y=\"{text}\" text-anchor=\"end\">{}</text>\n\
             <rect x=\"{LEFT}\" y=\"{}\" width=\"{:.1}\" height=\"{}\" fill=\"{colour}\"/>\n\
             <line x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{middle}\" y2=\"{middle}\" stroke=\"black\"/>\n\
             <text x=\"{:.1}\" y=\"{text}\">{}</text>\n",
            LEFT - 8.0,
            escaped(&row.name),
            y + 4.0,
            scale(row.median),
            LINE - 8.0,
            LEFT + scale(row.low),
            LEFT + scale(row.high),
            LEFT + scale(row.high) + 8.0,
            time(row.median)
        );
        y += LINE;
    }
    svg.push_str("</svg>\n");
    svg
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
