//! Bars, as SVG: a panel for each group, two beside each other.

use std::fmt::Write as _;

use crate::measured::{Group, Row};
use crate::page::time;
use crate::questions::{Kind, kind};

const PANEL: f64 = 560.0;
const GAP: f64 = 24.0;
const MARGIN: f64 = 20.0;
const LEFT: f64 = 214.0;
const BAR: f64 = 218.0;
const LINE: f64 = 22.0;
const HEAD: f64 = 40.0;
/// Bars that are longer than so many times ours are cut, so that ours can be seen.
const CUT: f64 = 6.0;

/// A file name made of `text`.
pub(crate) fn file_name(text: &str) -> String {
    let clean = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    format!("{}.svg", text.chars().map(clean).collect::<String>())
}

/// A picture of several groups, each with what stands above it. Panels without rows are left out.
pub(crate) fn svg(title: &str, panels: &[(&str, &Group)]) -> String {
    let panels: Vec<_> = panels
        .iter()
        .filter(|(_, group)| !group.rows.is_empty())
        .collect();
    let columns = panels.len().min(2);
    let mut body = String::new();
    let mut y = MARGIN + 34.0;
    for line in panels.chunks(2) {
        let mut height: f64 = 0.0;
        for (column, (name, group)) in line.iter().enumerate() {
            #[expect(clippy::cast_precision_loss, reason = "two columns")]
            let x = MARGIN + column as f64 * (PANEL + GAP);
            height = height.max(panel(&mut body, x, y, name, group));
        }
        y += height + GAP;
    }
    #[expect(clippy::cast_precision_loss, reason = "two columns")]
    let width = 2.0 * MARGIN + columns as f64 * PANEL + (columns.max(1) - 1) as f64 * GAP;
    legend(&mut body, y + 4.0);
    let height = y + 26.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" viewBox=\"0 0 {width:.0} \
         {height:.0}\" font-family=\"-apple-system, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif\" font-size=\"12.5\" \
         fill=\"#1e293b\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n<text x=\"{MARGIN}\" \
         y=\"{:.0}\" font-size=\"19\" font-weight=\"600\">{}</text>\n{body}</svg>\n",
        MARGIN + 14.0,
        escaped(title)
    )
}

fn legend(svg: &mut String, y: f64) {
    let mut x = MARGIN;
    for (kind, text) in [
        (Kind::Ours, "dexter-cache"),
        (Kind::Variant, "dexter-cache, used in another way"),
        (Kind::Other, "another crate"),
        (Kind::Floor, "less than a cache: a floor, a bare client"),
    ] {
        let _ = write!(
            svg,
            "<rect x=\"{x}\" y=\"{:.1}\" width=\"12\" height=\"12\" rx=\"2\" {}/>\n<text x=\"{}\" y=\"{:.1}\" \
             font-size=\"11.5\" fill=\"#64748b\">{text}</text>\n",
            y - 2.0,
            paint(kind),
            x + 18.0,
            y + 8.0
        );
        #[expect(clippy::cast_precision_loss, reason = "a few words")]
        let length = text.len() as f64;
        x += 44.0 + length * 5.8;
    }
}

/// Draws one group, and returns its height.
fn panel(svg: &mut String, x: f64, y: f64, name: &str, group: &Group) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a few rows")]
    let height = HEAD + LINE * group.rows.len() as f64 + 12.0;
    let _ = write!(
        svg,
        "<rect x=\"{x}\" y=\"{y}\" width=\"{PANEL}\" height=\"{height}\" rx=\"8\" fill=\"#f8fafc\" \
         stroke=\"#e2e8f0\"/>\n<text x=\"{}\" y=\"{}\" font-weight=\"600\" font-size=\"13.5\">{}</text>\n",
        x + 14.0,
        y + 25.0,
        escaped(name)
    );
    let ours = group.ours().map(|row| row.median);
    let longest = group.rows.iter().map(|row| row.median).fold(0.0, f64::max);
    // No cut where little would be gained, or where all are as slow.
    let end = ours.map_or(longest, |ours| {
        if longest > 1.3 * CUT * ours {
            CUT * ours
        } else {
            longest
        }
    });
    for (place, row) in group.rows.iter().enumerate() {
        #[expect(clippy::cast_precision_loss, reason = "a few rows")]
        let y = y + HEAD + place as f64 * LINE;
        bar(svg, x, y, row, ours, end);
    }
    height
}

fn bar(svg: &mut String, x: f64, y: f64, row: &Row, ours: Option<f64>, end: f64) {
    let kind = kind(&row.name);
    let cut = row.median > end;
    let length = (row.median.min(end) / end * BAR).max(1.5);
    let (from, text) = (x + LEFT, y + LINE / 2.0 + 4.5);
    let weight = if kind == Kind::Ours {
        " font-weight=\"600\""
    } else {
        ""
    };
    let _ = write!(
        svg,
        "<text x=\"{:.1}\" y=\"{text:.1}\" text-anchor=\"end\"{weight}>{}</text>\n<rect x=\"{from:.1}\" y=\"{:.1}\" \
         width=\"{length:.1}\" height=\"{:.1}\" rx=\"2\" {}/>\n",
        from - 8.0,
        escaped(&row.name),
        y + 3.0,
        LINE - 6.0,
        paint(kind)
    );
    let mut after = from + length;
    if cut {
        // Two white strokes: it goes on.
        for left in [18.0, 12.0] {
            let _ = writeln!(
                svg,
                "<path d=\"M{:.1} {:.1} l6 -{:.1}\" stroke=\"#f8fafc\" stroke-width=\"2.5\"/>",
                from + length - left,
                y + LINE - 1.0,
                LINE - 2.0
            );
        }
    } else {
        let place = |nanos: f64| from + nanos.min(end * 1.04) / end * BAR;
        after = after.max(place(row.high));
        let _ = writeln!(
            svg,
            "<path d=\"M{:.1} {mid:.1} H{:.1}\" stroke=\"#0f172a\" stroke-width=\"1.2\" opacity=\"0.65\"/>",
            place(row.low),
            place(row.high),
            mid = y + LINE / 2.0
        );
    }
    let ratio = match ours {
        Some(ours) if kind != Kind::Ours => {
            format!(
                "<tspan fill=\"#64748b\">  {:.2} ×</tspan>",
                row.median / ours
            )
        }
        _ => String::new(),
    };
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{text:.1}\" xml:space=\"preserve\"{weight}>{}{ratio}</text>",
        after + 7.0,
        time(row.median)
    );
}

fn paint(kind: Kind) -> &'static str {
    match kind {
        Kind::Ours => "fill=\"#ea580c\"",
        Kind::Variant => "fill=\"#fdba74\"",
        Kind::Other => "fill=\"#94a3b8\"",
        Kind::Floor => "fill=\"#ffffff\" stroke=\"#94a3b8\" stroke-dasharray=\"3 2\"",
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
